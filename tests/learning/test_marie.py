"""A team learns the two-step game in what its model imagines, and nothing where rewards or the model say nothing."""

import itertools

import jax
import numpy as np

from tandem.envs.matrix_game import Config
from tandem.records import checkpoint, checkpoint_folder
from tests.reference.dream_runs import small_dream_run
from tests.reference.small_runs import last, without_signal

TWO_STEP = Config(scenario="two_step")  # 7 for the safe choice, 8 for the one that needs both


def test_the_two_step_game_is_solved_in_dreams():
    metrics = last(small_dream_run(TWO_STEP), 1)
    assert metrics["eval/policy/return"] == 8.0 and metrics["eval/policy/optimal"] == 1.0
    assert metrics["imagine/reward_error"] < 0.1 and metrics["imagine/end_recall"] > 0.9
    assert abs(metrics["imagine/return"] - metrics["train/return"]) < 4.0


def test_the_two_step_game_is_solved_in_dreams_of_recurrent_dynamics():
    metrics = last(small_dream_run(TWO_STEP, dynamics="rssm"), 1)
    assert metrics["eval/policy/return"] == 8.0 and metrics["eval/policy/optimal"] == 1.0
    assert metrics["imagine/reward_error"] < 0.1 and metrics["imagine/end_recall"] > 0.9


def test_a_run_that_goes_on_from_its_middle_ends_bit_by_bit_as_one_that_never_stopped(tmp_path):
    run, path = small_dream_run(TWO_STEP), tmp_path / "1"
    for _, state in itertools.islice(run(1), 1):
        arrays, keys = checkpoint.split(state)
    checkpoint.write(path, jax.tree.map(np.array, arrays), checkpoint_folder.Meta(1, 1, None, {}, keys))
    ends = [list(run(1, start))[-1][1].learner for start in (None, checkpoint.read(path, run.shapes()))]
    for one, other in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_array_equal(one, other)


def test_with_rewards_drawn_by_lot_it_is_not():
    assert last(small_dream_run(TWO_STEP, change=without_signal), 1)["eval/policy/optimal"] < 0.5


def test_with_a_model_that_never_learns_it_is_not():
    assert last(small_dream_run(TWO_STEP, model_learning_rate=0.0), 1)["eval/policy/optimal"] < 0.5
