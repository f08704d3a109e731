"""A dataset to sample from: all rows of a run without acting, held once, every stretch of them drawn alike.

Nothing is added to it while a run goes on: `hold` takes the rows whole. What a row was followed by is looked up in the
next one; it is kept beside the rows only where the next one is of another episode.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp

from tandem.core import Array, Batch, Key, PyTree, Replay, Source, Store, Stream, Transition, setting
from tandem.ops.episodes import given_up
from tandem.ops.streams import FOLLOWED_BY


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    batch_size: int = setting(32, "sequences in a batch", low=1)


def make(config: Config, num_envs: int, sequence_length: int) -> Replay:
    """Return the replay for sequences of `sequence_length` rows."""
    del num_envs
    store = Store(init=lambda row: (), add=_each_an_end, overwrite_extras=None, hold=hold)
    source = Source(
        ready=lambda state: jnp.array(state.end.shape[0] >= sequence_length),
        sample=partial(_sample, config.batch_size, sequence_length),
        set_priorities=lambda state, index, priorities: state,
        heeds_priorities=False,
    )
    return Replay(store, source)


def hold(held: Stream) -> Stream:
    """Return the rows on the device; where that is the processor, aligned arrays are taken over and not copied."""
    return jax.device_put(held)


def _each_an_end(state: PyTree, rows: Transition) -> Stream:
    """Return the state of rows [1, R, ...] in which each row keeps what followed it: without a look at their values."""
    del state
    return Stream(rows=rows, end=jnp.arange(rows.first.shape[1], dtype=jnp.int32))


def _sample(batch_size: int, length: int, held: Stream, key: Key, progress: Array) -> Batch:
    del progress
    num_rows = held.end.shape[0]
    index = jax.random.randint(key, (batch_size,), 0, max(num_rows - length + 1, 1))
    ones = jnp.ones((batch_size,))
    slots = jnp.minimum(index[:, None] + jnp.arange(length)[None, :], num_rows - 1)
    return Batch(traj=given_up(_rows(held, slots)), index=index, weight=ones, priority=ones)


def _rows(held: Stream, slots: Array) -> Transition:
    """Return the rows at slots [B, T]."""
    end = held.end[slots]
    after = jnp.minimum(slots + 1, held.end.shape[0] - 1)

    def followed_by(name: str) -> Array:
        stored, own = getattr(held.rows, name)[0], getattr(held.rows, FOLLOWED_BY[name])[0]
        ended = (end >= 0).reshape(*end.shape, *(1,) * (own.ndim - 1))
        return jnp.where(ended, stored[jnp.maximum(end, 0)], own[after])

    without = held.rows.replace(**dict.fromkeys(FOLLOWED_BY, ()))
    gathered = jax.tree.map(lambda x: x[0][slots], without)
    return gathered.replace(**{name: followed_by(name) for name in FOLLOWED_BY})
