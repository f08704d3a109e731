"""Every on-policy algorithm learns the two-step game from scratch in seconds, and nothing
where there is nothing to learn.
"""

import pytest

from tandem.envs.matrix_game import Config
from tests.reference.small_runs import ON_POLICY, last, small_on_policy_run, without_signal

TWO_STEP = Config(scenario="two_step")  # 7 for the safe choice, 8 for the one that needs both


@pytest.mark.parametrize("name", ON_POLICY)
def test_the_two_step_game_is_solved(name):
    metrics = last(small_on_policy_run(name, TWO_STEP), 1)
    assert metrics["eval/policy/return"] == 8.0 and metrics["eval/policy/optimal"] == 1.0
    assert metrics["train/optimal"] > 0.5
    assert not any(metric.startswith("eval/search") for metric in metrics)


def test_with_rewards_drawn_by_lot_it_is_not():
    assert last(small_on_policy_run("mappo", TWO_STEP, change=without_signal), 1)["eval/policy/optimal"] < 0.5
