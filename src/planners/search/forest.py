"""Trees to which whole branches are added at once: their nodes, and the nodes' values."""

import jax
import jax.numpy as jnp
import mctx

from tandem.core import Array, PyTree, pytree

ROOT, NONE = mctx.Tree.ROOT_INDEX, mctx.Tree.UNVISITED


@pytree
class Forest:
    """B trees of M = S N + 1 nodes: simulation i adds the nodes 1 + i N to (i + 1) N, as many of them as it needs."""

    tree: mctx.Tree  # without embeddings
    state: Array  # [B, M] int32 which state a node belongs to
    ply: Array  # [B, M] int32 position in the order of the agent to move
    steps: Array  # [B, M] int32 joint steps from the root
    action: Array  # [B, M, N] int32 the committed actions; other entries are not read
    plan: PyTree  # [B, M, ...]
    latent: Array  # [B, S + 1, N, D] by state
    own: PyTree  # [B, S + 1, N, ...] by state


@pytree
class Front:
    """The position of each of B simulations."""

    node: Array  # [B] int32
    action: Array  # [B] int32 the mover's next action there
    goes_on: Array  # [B] bool


def beginning(size: int, first: Array) -> Array:
    """Return [B, size, ...] with `first` [B, ...] at place 0 and zeros after it."""
    return jnp.zeros((first.shape[0], size, *first.shape[1:]), first.dtype).at[:, 0].set(first)


def child_of(tree: mctx.Tree, node: Array, action: Array) -> Array:
    """Return the nodes [B] at the ends of edges; NONE if an edge was never taken."""
    return jax.vmap(lambda children, n, a: children[n, a])(tree.children_index, node, action)


def at(x: Array, place: Array) -> Array:
    """Return the entries [B, ...] of x [B, M, ...] at places [B]."""
    return jax.vmap(lambda each, i: each[i])(x, place)


def at_all(x: PyTree, place: Array) -> PyTree:
    """Return the entries at places [B] of all leaves [B, M, ...]."""
    return jax.tree.map(lambda leaf: at(leaf, place), x)


def put(x: Array, place: Array, y: Array) -> Array:
    """Return x [B, M, ...] with y [B, ...] at places [B]; a place beyond the end is ignored."""
    return x.at[jnp.arange(x.shape[0]), place].set(y, mode="drop")


def add_node(
    tree: mctx.Tree, front: Front, adds: Array, new: Array, prior: Array, reward: Array, discount: Array
) -> mctx.Tree:
    """Return the trees with node `new` at the end of the front's edge, where it is to be added [B]."""
    batch, nowhere = jnp.arange(adds.shape[0]), tree.node_visits.shape[1]
    parent, place = jnp.where(adds, front.node, nowhere), jnp.where(adds, new, nowhere)

    def edge(x: Array, y: Array) -> Array:
        return x.at[batch, parent, front.action].set(y, mode="drop")

    return tree.replace(
        parents=put(tree.parents, place, front.node),
        action_from_parent=put(tree.action_from_parent, place, front.action),
        children_index=edge(tree.children_index, jnp.broadcast_to(new, parent.shape)),
        children_prior_logits=put(tree.children_prior_logits, place, prior),
        children_rewards=edge(tree.children_rewards, reward),
        children_discounts=edge(tree.children_discounts, discount),
    )


def back_up(tree: mctx.Tree, leaf: Array, value: Array, ply: Array | None) -> mctx.Tree:
    """Return the trees in which every node from a leaf [B] up to the root has one more return; a new node's return
    is its own value.

    A node's value is the mean of its returns. With `ply` [B, M] the value of a node inside a joint step is that of
    its best child that was tried. It also passes this value up, so bad tries below do not lower the state where the
    step began. All trees are updated at once, because a loop under vmap would copy whole trees at every step.
    """
    batch, nowhere = jnp.arange(leaf.shape[0]), tree.node_visits.shape[1]

    def count(tree: mctx.Tree, node: Array, gain: Array, place: Array) -> tuple[mctx.Tree, Array]:
        visits = at(tree.node_visits, node)
        worth = (at(tree.node_values, node) * visits + gain) / (visits + 1)
        if ply is not None:
            inside = at(ply, node) > 0
            gain = jnp.where(inside & (visits > 0), _best_child(tree, node), gain)
            worth = jnp.where(inside, gain, worth)
        return tree.replace(
            node_visits=put(tree.node_visits, place, visits + 1),
            node_values=put(tree.node_values, place, worth),
            raw_values=put(tree.raw_values, place, jnp.where(visits == 0, gain, at(tree.raw_values, node))),
        ), gain

    def step(loop):
        tree, node, gain = loop
        parent, action = at(tree.parents, node), at(tree.action_from_parent, node)
        reward, discount = (x[batch, parent, action] for x in (tree.children_rewards, tree.children_discounts))
        place = jnp.where(node == ROOT, nowhere, parent)
        tree = tree.replace(
            children_values=tree.children_values.at[batch, place, action].set(at(tree.node_values, node), mode="drop"),
            children_visits=tree.children_visits.at[batch, place, action].add(1, mode="drop"),
        )
        tree, gain = count(tree, parent, reward + discount * gain, place)
        return tree, jnp.where(node == ROOT, ROOT, parent), gain

    tree, gain = count(tree, leaf, value, leaf)
    return jax.lax.while_loop(lambda loop: jnp.any(loop[1] != ROOT), step, (tree, leaf, gain))[0]


def _best_child(tree: mctx.Tree, node: Array) -> Array:
    """Return the greatest Q [B] at nodes [B] of actions that were tried."""
    reward, discount, value = (
        at(x, node) for x in (tree.children_rewards, tree.children_discounts, tree.children_values)
    )
    return jnp.max(jnp.where(at(tree.children_visits, node) > 0, reward + discount * value, -jnp.inf), axis=-1)
