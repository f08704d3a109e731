"""Prioritised sequence replay: sequences drawn in proportion to priority^alpha (Schaul et al. 2016).

Every row is the first of one sequence, and priorities belong to sequences. A sequence has a place in the sum tree
from the moment its last row is written until its first row is overwritten; outside that time its leaf is zero and it
cannot be drawn. An index is good until the next `add`: priorities for sequences that are no more are dropped.
"""

import dataclasses
from functools import partial

import jax.numpy as jnp
from flashbax.buffers.prioritised_trajectory_buffer import PrioritisedTrajectoryBufferState, prioritised_init

from tandem.core import Array, Batch, Key, Replay, Source, Store, Transition, setting
from tandem.data import sequences, sum_tree
from tandem.data.sequences import Layout

LARGEST = 1e6  # upper limit of priorities, so that one absurd error cannot drown all others in float32
FORGETTING = 0.999  # per update, of the largest priority seen: an early outlier does not favour new rows forever


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    # The sum tree has twice as many nodes, which 32 bits count.
    capacity: int = setting(
        50000, "number of stored rows (environment steps), over all environments", low=2, high=2**30
    )
    batch_size: int = setting(128, "number of sequences in a batch", low=1)
    min_size: int = setting(2000, "number of stored rows before learning starts", low=1)
    alpha: float = setting(0.6, "sequences are drawn in proportion to priority^alpha; 0 = uniformly", low=0.0, high=1.0)
    beta_start: float = setting(
        0.4,
        "beta, how much of the sampling bias is corrected, at the start of the run; 1 = all of it",
        low=0.0,
        high=1.0,
    )
    beta_end: float = setting(1.0, "beta at the end of the run", low=0.0, high=1.0)
    priority_floor: float = setting(
        1.0e-3, "added to every priority, so that every sequence can be drawn again", low=1e-8, high=1.0
    )


State = PrioritisedTrajectoryBufferState


def make(config: Config, num_envs: int, sequence_length: int) -> Replay:
    """Return the replay for rows of `num_envs` environments and sequences of `sequence_length` rows."""
    layout = sequences.make_layout(config.capacity, config.min_size, num_envs, sequence_length)
    store = Store(
        init=partial(_init, layout),
        add=partial(_add, layout),
        overwrite_extras=partial(sequences.overwrite_extras, layout),
    )
    source = Source(
        ready=partial(sequences.ready, layout, config.min_size),
        sample=partial(_sample, config, layout),
        set_priorities=partial(_set_priorities, config),
        heeds_priorities=True,
    )
    return Replay(store, source)


problems = sequences.problems


def _init(layout: Layout, row: Transition) -> State:
    state = prioritised_init(row, layout.num_envs, layout.num_slots, period=1)
    # Zero stands for "none recorded yet"; flashbax's 1 would outlive the first priorities where these are small.
    return state.replace(sum_tree_state=state.sum_tree_state.replace(max_recorded_priority=jnp.zeros(())))


def _add(layout: Layout, state: State, rows: Transition) -> State:
    """Write rows [B, n, ...]; sequences that they complete get the largest priority, those not complete yet zero.

    Only the slots from the first newly complete sequence to the newest row change. A sequence that the write head has
    cut in two began at most length - 1 slots behind the head, and new, incomplete sequences begin there now.
    """
    num_rows = rows.reward.shape[1]
    state = sequences.add(layout, state, rows)
    end = state.running_index + num_rows  # rows written so far, never wrapped
    num_changed = min(num_rows + layout.length - 1, layout.num_slots)
    start = end - num_changed + jnp.arange(num_changed)  # first rows, in the same count
    tree = state.sum_tree_state
    new = jnp.where(tree.max_recorded_priority > 0, tree.max_recorded_priority, 1.0)
    values = jnp.where((start >= 0) & (start + layout.length <= end), new, 0.0)
    index = jnp.arange(layout.num_envs)[:, None] * layout.num_slots + (start % layout.num_slots)[None, :]
    tree = sum_tree.write(tree, index.reshape(-1), jnp.tile(values, layout.num_envs))
    return state.replace(running_index=end, sum_tree_state=tree)


def _sample(config: Config, layout: Layout, state: State, key: Key, progress: Array) -> Batch:
    """Draw a batch; weights (N P)^-beta over their largest, in which N and the total cancel
    (Schaul et al. 2016, section 3.4).
    """
    index, priority = sum_tree.sample(state.sum_tree_state, key, config.batch_size)
    beta = config.beta_start + (config.beta_end - config.beta_start) * progress
    positive = jnp.maximum(priority, jnp.finfo(priority.dtype).tiny)  # only an empty replay has others
    weight = (jnp.min(positive) / positive) ** beta
    return Batch(traj=sequences.gather(layout, state, index), index=index, weight=weight, priority=priority)


def _set_priorities(config: Config, state: State, index: Array, priorities: Array) -> State:
    """Give the sequences at index [M] priorities [M]; of repeated ones the largest counts,
    what is not finite is ignored.
    """
    tree = state.sum_tree_state
    old = sum_tree.leaves(tree, index)
    new = (jnp.clip(priorities.astype(old.dtype), 0.0, LARGEST) + config.priority_floor) ** config.alpha
    values = jnp.where(jnp.isfinite(priorities) & (old > 0), new, old)
    largest = jnp.maximum(jnp.max(values), FORGETTING * tree.max_recorded_priority)
    tree = sum_tree.write(tree, index, values)
    return state.replace(sum_tree_state=tree.replace(max_recorded_priority=largest))
