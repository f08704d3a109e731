"""Shared by replays: a ring of rows per environment, and the positions of whole sequences in it.

Storage is flashbax's trajectory buffer, [B, C, ...]: one ring of C rows for each of B environments, written side by
side, so that neighbours in time are neighbours of one environment. A sequence is named by the slot of its first row,
`index = environment * C + slot`. It may be sampled if all its rows were written and the write head is not inside it.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from flashbax.buffers import trajectory_buffer

from tandem.core import Array, PyTree, RunPlan, Transition
from tandem.ops.episodes import given_up


class Layout(NamedTuple):
    """The static sizes of a ring."""

    num_envs: int  # B
    num_slots: int  # C, rows of each environment
    length: int  # rows of a sequence


def make_layout(capacity: int, min_size: int, num_envs: int, length: int) -> Layout:
    """Return the layout for `capacity` rows in all.

    Raises:
      ValueError: the capacity is less than a sequence per environment, or `min_size` exceeds it.
    """
    layout = Layout(num_envs, capacity // num_envs, length)
    if layout.num_slots < length:
        raise ValueError(
            f"capacity={capacity} is {layout.num_slots} rows for each of {num_envs} environments, less than a "
            "sequence of "
            f"{length} rows; choose {length * num_envs} or more"
        )
    if min_size > layout.num_slots * num_envs:
        raise ValueError(f"min_size={min_size} is more than the capacity of {layout.num_slots * num_envs} rows")
    return layout


def problems(config: Any, plan: RunPlan) -> list[str]:
    """Return a sentence for each of a replay's sizes that cannot work in this run."""
    found = []
    if config.min_size > plan.total_steps:
        found.append(
            f"replay_args.min_size={config.min_size}: more than t_max={plan.total_steps}; learning would never begin"
        )
    slots = config.capacity // plan.num_envs
    if slots < plan.rollout_length:
        found.append(
            f"replay_args.capacity={config.capacity}: {slots} steps of each of {plan.num_envs} environments, less than "
            f"runner_args.rollout_length={plan.rollout_length}"
        )
    return found


def add(layout: Layout, state: PyTree, rows: Transition) -> PyTree:
    """Return the ring with rows [B, n, ...] written after the newest, over the oldest where it is full."""
    chex.assert_tree_shape_prefix(rows, (layout.num_envs,))
    return trajectory_buffer.add(state, rows)


def rows_per_env(layout: Layout, state: PyTree) -> Array:
    """Return how many rows of each environment are stored, [] int32."""
    return jnp.where(state.is_full, layout.num_slots, state.current_index)


def ready(layout: Layout, min_size: int, state: PyTree) -> Array:
    """Return whether `min_size` rows, and one whole sequence, are stored: [] bool."""
    rows = rows_per_env(layout, state)
    return (rows >= layout.length) & (rows * layout.num_envs >= min_size)


def gather(layout: Layout, state: PyTree, index: Array) -> Transition:
    """Return the sequences [M, length, ...] whose first rows are at index [M]."""
    env, slot = index // layout.num_slots, index % layout.num_slots
    slots = (slot[:, None] + jnp.arange(layout.length)[None, :]) % layout.num_slots
    return given_up(jax.tree.map(lambda x: x[env[:, None], slots], state.experience))


def overwrite_extras(layout: Layout, state: PyTree, index: Array, extras: Any) -> PyTree:
    """Return the ring with extras [M, ...] in place of those stored in the rows at index [M].

    An index may repeat: its last occurrence counts, on every device (a plain scatter leaves the order open on a GPU).
    """
    chex.assert_tree_shape_prefix(extras, index.shape)
    env = jnp.where(last_occurrence(index), index // layout.num_slots, layout.num_envs)  # out of range: dropped
    slot = index % layout.num_slots

    def put(stored: Array, new: Array) -> Array:
        return stored.at[env, slot].set(new.astype(stored.dtype), mode="drop")

    experience = state.experience
    return state.replace(experience=experience.replace(extras=jax.tree.map(put, experience.extras, extras)))


def last_occurrence(index: Array) -> Array:
    """Return [M] bool, True where index [M] does not occur again further on."""
    order = jnp.argsort(index, stable=True)
    ordered = index[order]
    last = jnp.concatenate([ordered[1:] != ordered[:-1], jnp.ones((1,), bool)])
    return jnp.zeros(index.shape, bool).at[order].set(last)
