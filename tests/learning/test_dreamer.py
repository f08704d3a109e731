"""A team learns the two-step game in what recurrent dynamics imagine; the controls are those of test_marie."""

import pytest

from tandem.envs.matrix_game import Config
from tests.reference.dream_runs import small_dream_run
from tests.reference.small_runs import last

pytestmark = pytest.mark.usefixtures("quick_compiling")
TWO_STEP = Config(scenario="two_step")  # 7 for the safe choice, 8 for the one that needs both


def test_the_two_step_game_is_solved_in_dreams_of_recurrent_dynamics():
    metrics = last(small_dream_run(TWO_STEP, t_max=5120, dynamics="rssm"), 1)
    assert metrics["eval/policy/return"] == 8.0 and metrics["eval/policy/optimal"] == 1.0
    assert metrics["imagine/reward_error"] < 0.1 and metrics["imagine/end_recall"] > 0.9
