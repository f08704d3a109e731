"""Sampling in proportion to priorities with flashbax's sum tree, but with other functions to write and read it.

The state is flashbax's `SumTreeState`: a complete binary tree, leaves last, each node the sum of its children. We
replace how it is written and how it is descended, because of what flashbax 0.1.3 does (each was seen, at 200k leaves):

- It adds differences on the way up, so rounding errors stay in the inner nodes. After 3000 batches, with every leaf set
  to zero, the root still held 1.7. Then a descent can end in a leaf of priority zero, which is a sequence that was
  never written or that the write head has cut in two. Here parents are computed from their children. A node is positive
  exactly if a leaf below it is, and the descent enters positive nodes only.
- Its random numbers reach 1.0 by rounding, about once in 2**17 batches of 256. The descent then ends in the last, empty
  leaf.
- New rows get the largest priority cut down to a whole number, and one priority that is not a number spoils all sums.
- It writes leaf after leaf on CPUs (0.04 ms for 256, we take 0.1). On GPUs, which it knows by a device's name, it
  passes over the whole capacity, and which value of a repeated index remains is undefined. Here there is one way.
"""

import jax
import jax.numpy as jnp
from flashbax.buffers.sum_tree import SumTreeState

from tandem.core import Array, Key


def write(tree: SumTreeState, index: Array, values: Array) -> SumTreeState:
    """Return the tree with values [M] >= 0 in the leaves at index [M]; of a repeated index the largest value counts."""
    node = index + 2**tree.tree_depth - 1
    # `set` alone would leave open which of a repeated index's values stays; any of them
    # followed by `max` is the largest.
    nodes = tree.nodes.at[node].set(values).at[node].max(values)

    def ascend(_, at: tuple[Array, Array]):
        nodes, node = at
        node = (node - 1) // 2
        return nodes.at[node].set(nodes[2 * node + 1] + nodes[2 * node + 2]), node

    nodes, _ = jax.lax.fori_loop(0, tree.tree_depth, ascend, (nodes, node))
    return tree.replace(nodes=nodes)


def leaves(tree: SumTreeState, index: Array) -> Array:
    """Return the values [M] of the leaves at index [M]."""
    return tree.nodes[index + 2**tree.tree_depth - 1]


def sample(tree: SumTreeState, key: Key, num_samples: int) -> tuple[Array, Array]:
    """Return (leaves [M] int32, their values [M]), drawn in proportion to values, one from each
    of M equal shares of the total.

    Stratified as in Schaul et al. 2016, appendix B.2.1. Of an empty tree: leaf 0.
    """
    shares = jnp.arange(num_samples) + jax.random.uniform(key, (num_samples,))
    total = jnp.broadcast_to(tree.nodes[0], (num_samples,))

    def descend(_, at: tuple[Array, Array, Array]):
        node, _, left_over = at
        left, right = tree.nodes[2 * node + 1], tree.nodes[2 * node + 2]
        go_right = (left_over >= left) & (right > 0.0)
        left_over = jnp.where(go_right, left_over - left, left_over)
        return 2 * node + 1 + go_right, jnp.where(go_right, right, left), left_over

    # A loop, not 18 copies of its body: what leaves a loop is computed once, before the tree is written again, and only
    # then does XLA write in place (unrolled and fused into what follows, it copied the tree twice per update).
    root = jnp.zeros((num_samples,), jnp.int32)
    node, values, _ = jax.lax.fori_loop(0, tree.tree_depth, descend, (root, total, shares * (total / num_samples)))
    return node - (2**tree.tree_depth - 1), values
