"""Priorities, weights and what new rows get; alignment is tested for both replays in test_sequences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.data import prioritised, sum_tree
from tests.data.rows import block, example

NUM_ENVS, LENGTH, SLOTS = 3, 4, 17
CONFIG = prioritised.Config(
    capacity=NUM_ENVS * SLOTS, batch_size=64, min_size=1, alpha=0.7, beta_start=0.3, beta_end=0.9, priority_floor=0.01
)
REPLAY = prioritised.make(CONFIG, NUM_ENVS, LENGTH)
ADD, SAMPLE, SET = jax.jit(REPLAY.store.add), jax.jit(REPLAY.source.sample), jax.jit(REPLAY.source.set_priorities)
STORED = np.concatenate([env * SLOTS + np.arange(6) for env in range(NUM_ENVS)])  # of 9 rows, 6 begin a sequence


@pytest.fixture(scope="module")
def state():
    return ADD(REPLAY.store.init(example()), block(NUM_ENVS, 0, 9))


def leaves(state) -> np.ndarray:
    return np.asarray(sum_tree.leaves(state.sum_tree_state, jnp.arange(NUM_ENVS * SLOTS)))


def stored(priority):
    """Return what a priority becomes in the tree."""
    return (np.asarray(priority, np.float64) + CONFIG.priority_floor) ** CONFIG.alpha


def test_sequences_are_drawn_in_proportion_to_priority_to_the_alpha(state):
    priorities = np.random.default_rng(0).exponential(size=18).astype(np.float32)
    state = SET(state, jnp.asarray(STORED), jnp.asarray(priorities))
    keys = jax.random.split(jax.random.key(0), 1000)
    drawn = jax.jit(jax.vmap(lambda key: REPLAY.source.sample(state, key, jnp.float32(0.0)).index))(keys)
    counts = np.bincount(np.asarray(drawn).ravel(), minlength=NUM_ENVS * SLOTS)
    share = np.zeros(NUM_ENVS * SLOTS)
    share[STORED] = stored(priorities) / stored(priorities).sum()
    # Seven standard deviations of independent draws, 18 sequences: a false alarm in 1e10.
    assert np.all(np.abs(counts - 64000 * share) <= 7 * np.sqrt(64000 * share * (1 - share)))


@pytest.mark.parametrize(("progress", "beta"), [(0.0, 0.3), (0.5, 0.6), (1.0, 0.9)])
def test_weights_undo_the_bias_in_the_measure_of_beta(state, progress: float, beta: float):
    priorities = np.random.default_rng(1).exponential(size=18)
    state = SET(state, jnp.asarray(STORED), jnp.asarray(priorities, jnp.float32))
    batch = SAMPLE(state, jax.random.key(1), jnp.float32(progress))
    values = dict(zip(STORED.tolist(), stored(priorities), strict=True))
    probability = np.array([values[i] for i in np.asarray(batch.index).tolist()]) / sum(values.values())
    weight = (len(STORED) * probability) ** -beta
    np.testing.assert_allclose(batch.weight, weight / weight.max(), rtol=1e-4)
    np.testing.assert_allclose(batch.priority, probability * sum(values.values()), rtol=1e-5)


def test_new_sequences_get_the_largest_priority(state):
    assert np.all(leaves(state)[STORED] == 1.0)  # before any is known
    small = SET(state, jnp.asarray(STORED), jnp.full(18, 0.002).at[5].set(0.02))
    grown = leaves(ADD(small, block(NUM_ENVS, 9, 2)))
    new = np.concatenate([env * SLOTS + np.arange(6, 8) for env in range(NUM_ENVS)])
    np.testing.assert_allclose(grown[new], stored(0.02), rtol=1e-5)
    np.testing.assert_array_equal(grown[STORED], leaves(small)[STORED])
    rest = np.setdiff1d(np.arange(NUM_ENVS * SLOTS), np.concatenate([STORED, new]))
    assert np.all(grown[rest] == 0)


def test_the_largest_priority_is_forgotten_in_time(state):
    state = SET(state, jnp.asarray(STORED), jnp.full(18, 0.5).at[2].set(900.0))
    calm = jax.jit(
        lambda state: jax.lax.fori_loop(0, 9000, lambda _, s: SET(s, jnp.asarray(STORED), jnp.full(18, 0.5)), state)
    )
    np.testing.assert_allclose(leaves(ADD(calm(state), block(NUM_ENVS, 9, 1)))[6], stored(0.5), rtol=1e-5)


def test_of_repeated_sequences_the_largest_priority_counts(state):
    index, priorities = jnp.array([2, 19, 2, 2, 19]), jnp.array([0.3, 5.0, 0.9, 0.1, 2.0])
    values = leaves(SET(state, index, priorities))
    np.testing.assert_allclose(values[[2, 19]], stored([0.9, 5.0]), rtol=1e-5)
    np.testing.assert_array_equal(values, leaves(SET(state, index[::-1], priorities[::-1])))


def test_what_is_not_finite_leaves_the_old_priority_and_what_is_absurd_is_cut(state):
    priorities = jnp.array([jnp.nan, jnp.inf, -jnp.inf, -3.0, 1e30, 0.0])
    after = SET(SET(state, jnp.arange(6), jnp.full(6, 0.4)), jnp.arange(6), priorities)
    np.testing.assert_allclose(leaves(after)[:6], stored([0.4, 0.4, 0.4, 0.0, 1e6, 0.0]), rtol=1e-5)
    assert np.all(np.isfinite(after.sum_tree_state.nodes)) and np.isfinite(after.sum_tree_state.max_recorded_priority)
    batch = SAMPLE(after, jax.random.key(0), jnp.float32(1.0))
    assert np.all(np.isfinite(batch.weight)) and np.all(batch.weight > 0)


def test_priorities_of_sequences_that_are_no_more_are_dropped(state):
    gone = jnp.array([6, 16, 23])  # incomplete, unwritten, incomplete
    np.testing.assert_array_equal(leaves(SET(state, gone, jnp.full(3, 9.0))), leaves(state))


def test_the_same_key_draws_the_same_batch(state):
    first, second = (SAMPLE(state, jax.random.key(5), jnp.float32(0.5)) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)
