"""Uniform sequence replay: every stored sequence is drawn with the same probability."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from flashbax.buffers import trajectory_buffer
from flashbax.buffers.trajectory_buffer import TrajectoryBufferState

from tandem.core import Array, Batch, Key, Replay, Source, Store, Transition, setting
from tandem.data import sequences
from tandem.data.sequences import Layout


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    capacity: int = setting(50000, "number of stored rows (environment steps), over all environments", low=2)
    batch_size: int = setting(128, "number of sequences in a batch", low=1)
    min_size: int = setting(2000, "number of stored rows before learning starts", low=1)


State = TrajectoryBufferState


def make(config: Config, num_envs: int, sequence_length: int) -> Replay:
    """Return the replay for rows of `num_envs` environments and sequences of `sequence_length` rows."""
    layout = sequences.make_layout(config.capacity, config.min_size, num_envs, sequence_length)
    store = Store(
        init=partial(_init, layout),
        add=partial(sequences.add, layout),
        overwrite_extras=partial(sequences.overwrite_extras, layout),
    )
    source = Source(
        ready=partial(sequences.ready, layout, config.min_size),
        sample=partial(_sample, config, layout),
        set_priorities=_keep,
        heeds_priorities=False,
    )
    return Replay(store, source)


problems = sequences.problems


def _init(layout: Layout, row: Transition) -> State:
    return trajectory_buffer.init(row, layout.num_envs, layout.num_slots)


def _sample(config: Config, layout: Layout, state: State, key: Key, progress: Array) -> Batch:
    """Draw a batch of weight one; flashbax's own `sample` does the same but does not say where the sequences lie."""
    del progress
    age_key, env_key = jax.random.split(key)
    oldest = jnp.where(state.is_full, state.current_index, 0)
    num_sequences = jnp.maximum(sequences.rows_per_env(layout, state) - layout.length + 1, 1)
    start = jax.random.randint(age_key, (config.batch_size,), 0, num_sequences)
    env = jax.random.randint(env_key, (config.batch_size,), 0, layout.num_envs)
    index = env * layout.num_slots + (oldest + start) % layout.num_slots
    ones = jnp.ones((config.batch_size,))
    return Batch(traj=sequences.gather(layout, state, index), index=index, weight=ones, priority=ones)


def _keep(state: State, index: Array, priorities: Array) -> State:
    """Return the state unchanged, because uniform sampling has no priorities."""
    del index, priorities
    return state
