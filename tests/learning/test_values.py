"""Value decomposition plays what each of its families can represent, and nothing is learned where there is no signal.

The two-step game pays 7 for the safe choice and 8 for the one that needs both (Rashid et al. 2018, section 6.1 and
appendix B). Under random play a sum of the agents' values, and each agent's own, value the second choice at less than
7; a monotonic mixer can tell. All is greedy play of the last parameters, and exact.
"""

import pytest

from tandem.envs.matrix_game import Config
from tests.reference.small_runs import last, without_signal
from tests.reference.value_runs import value_run

TWO_STEP = Config(scenario="two_step")
# Each agent's good move pays whatever the other plays but once: a monotone game with a penalty, whose optimum is 8.
PENALISED = Config(payoff=((8, 2, -3), (1, 0, -5), (-4, -6, -12)), relabel=True)


@pytest.mark.parametrize("name, expected", [("iql", 7.0), ("vdn", 7.0), ("qmix", 8.0), ("pqn_vdn", 7.0)])
def test_the_two_step_game_is_played_as_well_as_the_family_can(name, expected):
    assert last(value_run(name, TWO_STEP), 1)["eval/policy/return"] == expected


@pytest.mark.parametrize("name, settings", [
    ("vdn", {"replay": "prioritised", "t_max": 8192}), ("pqn_vdn", {"t_max": 8192}),
])  # fmt: skip
def test_a_game_with_penalties_is_solved_where_nobody_needs_the_other(name, settings):
    assert last(value_run(name, PENALISED, **settings), 1)["eval/policy/return"] == 8.0


def test_a_sum_cannot_climb_from_what_is_played_by_lot():
    # The rows' and columns' means decide: the best sum is the pair of third moves, which pays 5 where 11 would do.
    assert last(value_run("vdn", Config(), t_max=8192), 1)["eval/policy/return"] == 5.0


def test_with_rewards_drawn_by_lot_nothing_is_learned():
    run = value_run("vdn", PENALISED, t_max=8192, replay="prioritised", change=without_signal)
    assert [last(run, seed)["eval/policy/return"] for seed in (1, 2, 3)] != [8.0, 8.0, 8.0]
