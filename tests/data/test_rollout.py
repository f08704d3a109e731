"""The replay of one rollout: it hands out what it was given, whole and in order, and keeps nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.data import rollout
from tests.data.rows import assert_same, block, example

NUM_ENVS, LENGTH = 3, 5


def test_a_rollout_comes_back_whole_and_is_gone_after_its_update():
    replay = rollout.make(rollout.Config(), NUM_ENVS, 0)
    state = replay.store.init(example())
    for start in (0, 7):
        state = replay.store.add(state, block(NUM_ENVS, start, LENGTH))
        assert replay.source.ready(state)
        batch = replay.source.sample(state, jax.random.key(0), jnp.zeros(()))
        assert_same(batch.traj, block(NUM_ENVS, start, LENGTH))
        np.testing.assert_array_equal(batch.index, range(NUM_ENVS))
        np.testing.assert_array_equal(batch.weight, np.ones(NUM_ENVS))
        state = replay.source.set_priorities(state, batch.index, batch.weight)
        assert jax.tree.leaves(state) == []


def test_where_an_episode_was_given_up_the_row_before_the_next_is_truncated():
    replay = rollout.make(rollout.Config(), NUM_ENVS, 0)
    rows = block(NUM_ENVS, 1, LENGTH)
    never = np.zeros((NUM_ENVS, LENGTH), bool)
    first, ended, cut = never.copy(), never.copy(), never.copy()
    first[0, 2] = first[1, 3] = first[2, 0] = True
    ended[1, 2] = cut[2, LENGTH - 1] = True
    batch = replay.source.sample(
        rows.replace(first=first, terminated=ended, truncated=cut), jax.random.key(0), jnp.zeros(())
    )
    cut[0, 1] = True  # the one that had not ended
    assert_same(batch.traj, rows.replace(first=first, terminated=ended, truncated=cut))


def test_rows_of_another_number_of_environments_are_refused():
    replay = rollout.make(rollout.Config(), NUM_ENVS, 0)
    with pytest.raises(AssertionError):
        replay.store.add((), block(NUM_ENVS + 1, 0, LENGTH))


def test_a_learner_of_older_sequences_is_refused():
    with pytest.raises(ValueError, match="needs sequences of 4 steps"):
        rollout.make(rollout.Config(), NUM_ENVS, 4)
