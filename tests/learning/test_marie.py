"""A team learns the two-step game in what its model imagines, and nothing where rewards, actions or the model say
nothing.
"""

import jax
import numpy as np
import pytest

from tandem.envs.matrix_game import Config
from tandem.records import checkpoint, checkpoint_folder
from tests.reference.dream_runs import CONTROLS, small_dream_run, under

TWO_STEP = Config(scenario="two_step")  # 7 for the safe choice, 8 for the one that needs both


@pytest.fixture(scope="module")
def run():
    return small_dream_run(TWO_STEP)


@pytest.fixture(scope="module")
def solved(run, tmp_path_factory):
    """A whole run: its last metrics, its last learner, and the checkpoint of its middle."""
    path, states = tmp_path_factory.mktemp("middle") / "1", run(1)
    arrays, keys = checkpoint.split(next(states)[1])
    checkpoint.write(path, jax.tree.map(np.array, arrays), checkpoint_folder.Meta(1, 1, None, {}, keys))
    report, state = list(states)[-1]
    return report.metrics, state.learner, path


def test_the_two_step_game_is_solved_in_dreams(solved):
    metrics = solved[0]
    assert metrics["eval/policy/return"] == 8.0 and metrics["eval/policy/optimal"] == 1.0
    assert metrics["imagine/reward_error"] < 0.1 and metrics["imagine/end_recall"] > 0.9
    assert abs(metrics["imagine/return"] - metrics["train/return"]) < 4.0


def test_a_run_that_goes_on_from_its_middle_ends_bit_by_bit_as_one_that_never_stopped(run, solved):
    _, learner, path = solved
    again = list(run(1, checkpoint.read(path, run.shapes())))[-1][1].learner
    for one, other in zip(*map(jax.tree.leaves, (learner, again)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("control", CONTROLS[1:])
def test_it_is_not_where_nothing_can_be_learned(run, control):
    report, _ = list(run(1, under(run, 1, control)))[-1]
    assert report.metrics["eval/policy/optimal"] < 0.5
