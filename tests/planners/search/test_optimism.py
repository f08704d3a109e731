"""OS(lambda): the plain mean at rho = 0 and lambda = 1, and otherwise what the equations say, by a slow walk over the
tree.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.planners.search.optimism import estimate, make_loop
from tests.reference.compiled import quick_jit

B, A, SIMULATIONS = 5, 3, 40
M = SIMULATIONS + 1


def kept(returns: list[float], rho: float) -> list[float]:
    """Return the best share 1 - rho of one depth's returns, one at least."""
    return sorted(returns, reverse=True)[: max(1, int(np.ceil(len(returns) * (1 - rho) - 1e-9)))]


def optimistic(by_depth: dict[int, list[float]], rho: float, decay: float) -> float:
    """Return equation 7 of returns grouped by depth."""
    best = {depth: kept(returns, rho) for depth, returns in by_depth.items()}
    total = sum(decay**depth * sum(returns) for depth, returns in best.items())
    return total / sum(decay**depth * len(returns) for depth, returns in best.items())


@lru_cache(maxsize=None)
def compiled(rho: float, decay: float):
    return quick_jit(lambda value, depth: estimate(value, depth, rho=rho, decay=decay))


@settings(max_examples=50, deadline=None)
@given(st.data(), st.sampled_from([(0.0, 1.0), (0.75, 0.8), (0.25, 0.8), (0.9, 0.0)]))
def test_a_nodes_value_is_the_weighted_mean_of_the_best_of_each_depth(data, setting):
    size = 9
    depth = data.draw(st.lists(st.integers(-1, 3), min_size=size, max_size=size).filter(lambda d: 0 in d))
    value = data.draw(st.lists(st.integers(-20, 20).map(float), min_size=size, max_size=size))  # ties happen
    by_depth: dict[int, list[float]] = {}
    for d, x in zip(depth, value, strict=True):
        if d >= 0:
            by_depth.setdefault(d, []).append(x)
    got = compiled(*setting)(jnp.array(value), jnp.array(depth, jnp.int32))
    np.testing.assert_allclose(got, optimistic(by_depth, *setting), rtol=1e-5, atol=1e-5)


@lru_cache(maxsize=None)
def searched(rho: float | None, decay: float | None, max_depth: int | None) -> mctx.Tree:
    """Return the trees of a search in a world of random numbers; rho None is mctx's own backup."""
    table = jax.random.normal(jax.random.key(0), (7, A, 2))

    def recurrent_fn(params, key, action, embedding):
        reward, value = (table[embedding % 7, action, i] for i in range(2))
        following = 3 * embedding + action + 1
        output = mctx.RecurrentFnOutput(
            reward=reward, discount=jnp.full(B, 0.9), prior_logits=jnp.zeros((B, A)) + reward[:, None], value=value
        )
        return output, following % 1000

    def search(key):
        root = mctx.RootFnOutput(prior_logits=jnp.zeros((B, A)), value=jnp.arange(float(B)), embedding=jnp.arange(B))
        loop = jax.lax.fori_loop if rho is None else make_loop(rho, decay)
        output = mctx.muzero_policy(None, key, root, recurrent_fn, SIMULATIONS, max_depth=max_depth, loop_fn=loop)
        return output.search_tree

    return jax.tree.map(np.array, quick_jit(search)(jax.random.key(1)))


@pytest.mark.parametrize("max_depth", [None, 2])  # at the greatest depth old leaves are evaluated again
def test_with_rho_zero_and_lambda_one_the_search_is_mctxs_own(max_depth):
    plain, ours = searched(None, None, max_depth), searched(0.0, 1.0, max_depth)
    np.testing.assert_array_equal(ours.children_visits, plain.children_visits)
    np.testing.assert_allclose(ours.node_values, plain.node_values, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.children_values, plain.children_values, rtol=1e-4, atol=1e-4)
    assert (plain.node_visits > 1).sum() > 2 * B


def test_every_node_of_an_optimistic_search_holds_the_value_of_the_equations():
    tree = searched(0.4, 0.7, None)
    assert (searched(None, None, None).children_visits != tree.children_visits).any()  # and the search heeds it
    for b in range(B):
        for node in range(M):
            np.testing.assert_allclose(
                tree.node_values[b, node], optimistic(below(tree, b, node), 0.4, 0.7), rtol=1e-3, atol=1e-3
            )
        children = [(node, tree.parents[b, node], tree.action_from_parent[b, node]) for node in range(1, M)]
        for node, parent, action in children:
            assert tree.children_values[b, parent, action] == tree.node_values[b, node]


def below(tree: mctx.Tree, b: int, node: int) -> dict[int, list[float]]:
    """Return U_d of a node (eq. 5) by following every node up to it."""
    found: dict[int, list[float]] = {}
    for end in range(M):
        gain, depth, at = float(tree.raw_values[b, end]), 0, end
        while at != node and at != 0:
            parent, action = tree.parents[b, at], tree.action_from_parent[b, at]
            gain = tree.children_rewards[b, parent, action] + tree.children_discounts[b, parent, action] * gain
            depth, at = depth + 1, parent
        if at == node:
            found.setdefault(depth, []).append(gain)
    return found
