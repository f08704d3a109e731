"""OS(lambda), optimistic search: a node's value is computed from the better returns below it (Liu et al. 2024,
section 4.1).

For a node s, U_d(s) holds a return for every simulation that went through s and ended d levels below it: the rewards
on the way and the discounted value at its end (eq. 5); U_0(s) holds the node's own value. Of each U_d(s) only the best
share 1 - rho is used (eq. 6). The node's value is their mean, in which a return from depth d has the weight lambda^d
(eq. 7). With rho = 0 and lambda = 1 that is the mean of all returns, which is mctx's backup.

Only the backup differs from mctx: selection reads the values through the Q-values, as usual. MAZero's score, which is
clipped and scaled over the whole tree, is not used.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import mctx

from tandem.core import Array, pytree

ROOT, NO_PARENT = mctx.Tree.ROOT_INDEX, mctx.Tree.NO_PARENT


@pytree
class Returns:
    """U(s) of every node of B trees; column j is simulation j, column 0 the evaluation of the root."""

    value: Array  # [B, M, M]
    depth: Array  # [B, M, M] int32 levels from the node to the simulation's end, -1 if it did not pass the node


def make_loop(rho: float, decay: float) -> Callable:
    """Return a loop for mctx (`loop_fn`) after each of whose simulations the values are those of OS(lambda)."""

    def loop(first: int, end: int, simulate: Callable, state):
        _, tree = state

        def step(i: Array, both):
            (key, before), returns = both
            key, tree = simulate(i, (key, before))
            leaf = _leaf(before, tree, returns, i + 1)
            backup = partial(_backup, partial(estimate, rho=rho, decay=decay), i + 1)
            node_values, children_values, returns = jax.vmap(backup)(
                leaf,
                tree.parents,
                tree.action_from_parent,
                tree.children_rewards,
                tree.children_discounts,
                tree.node_values,
                tree.children_values,
                returns,
            )
            return (key, tree.replace(node_values=node_values, children_values=children_values)), returns

        return jax.lax.fori_loop(first, end, step, (state, _begin(tree)))[0]

    return loop


def estimate(value: Array, depth: Array, *, rho: float, decay: float) -> Array:
    """Return the value [] of a node from its returns [M] and their depths [M], -1 where there is none."""
    place = jnp.arange(depth.shape[0])
    together = (depth[:, None] == depth[None]) & (depth[None] >= 0)
    ties = (value[None] == value[:, None]) & (place[None] < place[:, None])
    rank = jnp.sum(together & ((value[None] > value[:, None]) | ties), axis=1)
    kept = jnp.ceil((1.0 - rho) * jnp.sum(together, axis=1) - 1e-4)  # minus a possible rounding error
    taken = (depth >= 0) & (rank < jnp.maximum(kept, 1.0))
    weight = jnp.where(taken, decay ** jnp.maximum(depth, 0).astype(value.dtype), 0.0)
    return jnp.sum(weight * value) / jnp.sum(weight)


def _begin(tree: mctx.Tree) -> Returns:
    batch, num_nodes = tree.node_values.shape
    empty = jnp.full((batch, num_nodes, num_nodes), -1, jnp.int32)
    value = jnp.zeros(empty.shape, tree.node_values.dtype).at[:, ROOT, 0].set(tree.raw_values[:, ROOT])
    return Returns(value=value, depth=empty.at[:, ROOT, 0].set(0))


def _leaf(before: mctx.Tree, tree: mctx.Tree, returns: Returns, new: Array) -> Array:
    """Return where the simulation ended [B]: in a new node, or, at the greatest depth, once more in an old one."""
    passed = tree.node_visits != before.node_visits
    deepest = jnp.argmax(jnp.where(passed, returns.depth[:, ROOT], -2), axis=-1)
    return jnp.where(tree.node_visits[:, new] > 0, new, deepest)


def _backup(
    estimate: Callable,
    column: Array,
    leaf: Array,
    parents: Array,
    actions: Array,
    rewards: Array,
    discounts: Array,
    node_values: Array,
    children_values: Array,
    returns: Returns,
) -> tuple[Array, Array, Returns]:
    """Return one tree's values of nodes [M] and of children [M, A], and its returns, after one more simulation."""

    def step(loop):
        node, gain, depth, node_values, children_values, returns = loop
        value = returns.value.at[node, column].set(gain)
        depths = returns.depth.at[node, column].set(depth)
        worth = estimate(value[node], depths[node])
        parent, action = parents[node], actions[node]
        above = jnp.where(node == ROOT, parents.shape[0], parent)  # out of bounds: nothing is above the root
        children_values = children_values.at[above, action].set(worth, mode="drop")
        gain = rewards[parent, action] + discounts[parent, action] * gain
        return (
            parent,
            gain,
            depth + 1,
            node_values.at[node].set(worth),
            children_values,
            Returns(value=value, depth=depths),
        )

    loop = (leaf.astype(jnp.int32), node_values[leaf], jnp.int32(0), node_values, children_values, returns)
    return jax.lax.while_loop(lambda loop: loop[0] != NO_PARENT, step, loop)[3:]
