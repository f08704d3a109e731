"""Every planner learns a game from scratch in seconds, and nothing is learned where there is nothing to learn."""

import pytest

from tandem.envs.matrix_game import Config
from tests.reference.small_runs import last, separable, small_run, without_signal

CLIMBING = Config(relabel=True)  # else ties, which go to action 0, are the optimum


@pytest.mark.parametrize("planner", ["plies", "joint"])
def test_coordinated_search_learns_the_climbing_game(planner):
    run = small_run(planner, CLIMBING)
    for seed in (1, 2):
        metrics = last(run, seed)
        assert metrics["eval/search/optimal"] == 1.0
        assert metrics["eval/search/return"] == 11.0


def test_a_policy_that_attends_to_commitments_learns_to_play_without_search_one_agent_after_another():
    metrics = last(small_run("plies", CLIMBING, head="attention", also="autoregressive"), 1)
    assert metrics["eval/search/optimal"] > 0.9 and metrics["eval/autoregressive/optimal"] > 0.9


def test_independent_search_learns_where_nobody_needs_the_other():
    run = small_run("independent", CLIMBING, change=separable)
    assert [last(run, seed)["eval/search/return"] for seed in (1, 2)] == [10.0, 10.0]


def test_without_a_signal_nothing_is_learned():
    # By chance one seed in nine ends on the optimum, six seeds all do once in half a million.
    run = small_run("joint", CLIMBING, change=without_signal)
    assert min(last(run, seed)["eval/search/optimal"] for seed in range(6)) < 0.5
