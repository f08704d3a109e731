"""The sum tree's own writing and descent; a false alarm of the statistical test is rarer than one in a million."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flashbax.buffers.sum_tree import init

from tandem.data.sum_tree import leaves, sample, write

CAPACITY = 37
WRITE, SAMPLE = jax.jit(write), jax.jit(sample, static_argnums=2)


def check_sums(tree) -> None:
    nodes = np.asarray(tree.nodes)
    np.testing.assert_array_equal(nodes[: len(nodes) // 2], nodes[1::2] + nodes[2::2])


def test_parents_are_the_sums_of_their_children_after_many_writes():
    tree, plain, rng = init(CAPACITY), np.zeros(CAPACITY, np.float32), np.random.default_rng(0)
    for _ in range(60):
        index = rng.integers(0, CAPACITY, 23)
        values = (rng.exponential(size=23) ** 4).astype(np.float32)
        tree = WRITE(tree, jnp.asarray(index), jnp.asarray(values))
        for where in set(index.tolist()):
            plain[where] = values[index == where].max()
    np.testing.assert_array_equal(leaves(tree, jnp.arange(CAPACITY)), plain)
    check_sums(tree)
    tree = WRITE(tree, jnp.arange(CAPACITY), jnp.zeros(CAPACITY))
    assert not np.any(tree.nodes)


@pytest.mark.parametrize("positive", [[0], [36], [5, 6], [31, 32], [0, 36]])
def test_only_positive_leaves_are_drawn(positive: list[int]):
    tree = WRITE(init(CAPACITY), jnp.array(positive), jnp.full(len(positive), 0.1))
    drawn, values = SAMPLE(tree, jax.random.key(0), 999)
    assert set(np.asarray(drawn).tolist()) == set(positive)
    np.testing.assert_array_equal(values, np.float32(0.1))


def test_a_draw_at_the_very_end_stays_on_a_positive_leaf(monkeypatch: pytest.MonkeyPatch):
    tree = WRITE(init(CAPACITY), jnp.arange(11), jnp.full(11, 0.3))
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.ones(shape))  # rounding can get there
    drawn, values = sample(tree, jax.random.key(0), 256)
    assert drawn[-1] == 10 and np.all(np.asarray(values) > 0)


def test_leaves_are_drawn_in_proportion_to_their_values():
    values = np.random.default_rng(1).exponential(size=CAPACITY).astype(np.float32)
    values[[3, 20]] = 0.0
    tree = WRITE(init(CAPACITY), jnp.arange(CAPACITY), jnp.asarray(values))
    drawn = jax.jit(jax.vmap(lambda key: sample(tree, key, 5)[0]))(jax.random.split(jax.random.key(2), 8000))
    counts = np.bincount(np.asarray(drawn).ravel(), minlength=CAPACITY)
    share = values / values.sum()
    deviation = np.sqrt(counts.sum() * share * (1 - share))  # independent draws; stratified ones scatter less
    # Seven standard deviations: 37 leaves, two sides, 1e-10 in all.
    assert np.all(np.abs(counts - counts.sum() * share) <= 7 * deviation)


def test_a_batch_is_spread_over_equal_shares():
    tree = WRITE(init(CAPACITY), jnp.arange(30), jnp.ones(30))
    drawn, _ = SAMPLE(tree, jax.random.key(3), 10)
    np.testing.assert_array_equal(np.asarray(drawn) // 3, np.arange(10))


def test_an_empty_tree_gives_leaf_zero():
    drawn, values = SAMPLE(init(CAPACITY), jax.random.key(0), 7)
    assert not np.any(drawn) and not np.any(values)
