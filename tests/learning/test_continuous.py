"""Continuous actions are learned from scratch in seconds: a team's numbers come to add
up to a target that it is shown.
"""

import pytest

from tests.reference import sum_game
from tests.reference.small_runs import last, small_on_policy_run, without_signal

GAME = sum_game.Config()


@pytest.mark.parametrize("name", ["mappo", "mappo, recurrent", "mappo_ns", "mappo_distil"])
def test_the_sum_game_is_solved(name):
    metrics = last(small_on_policy_run(name, GAME, make=sum_game.make), 1)
    assert metrics["eval/policy/return"] > -0.05  # 0 is best, and playing nothing earns -2.25


def test_with_rewards_drawn_by_lot_it_is_not():
    assert (
        last(small_on_policy_run("mappo", GAME, make=sum_game.make, change=without_signal), 1)["eval/policy/return"]
        < -0.5
    )
