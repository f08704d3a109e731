"""The newest rollout, sampled once and whole, for on-policy learners.

Nothing is stored between cycles: `add` stores the rows, and `set_priorities`, which follows every update, drops them.
"""

import dataclasses

import chex
import jax.numpy as jnp

from tandem.core import Array, Batch, Key, PyTree, Replay, Source, Store, Transition
from tandem.ops.episodes import given_up


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    pass


def make(config: Config, num_envs: int, sequence_length: int) -> Replay:
    """Return the replay for rollouts of `num_envs` environments.

    Raises:
      ValueError: the learner needs sequences of its own length.
    """
    del config
    if sequence_length:
        raise ValueError(
            f"it stores one rollout, but the learner needs sequences of {sequence_length} steps of older ones"
        )

    def add(state: PyTree, rows: Transition) -> Transition:
        del state
        chex.assert_tree_shape_prefix(rows, (num_envs,))
        return rows

    # Rows that are dropped after their update cannot be reanalysed, so runners refuse it.
    store = Store(init=lambda row: (), add=add, overwrite_extras=None)
    source = Source(
        ready=lambda state: jnp.array(True),
        sample=_whole,
        set_priorities=lambda state, index, priorities: (),
        heeds_priorities=False,
    )
    return Replay(store, source)


def _whole(state: Transition, key: Key, progress: Array) -> Batch:
    """Return the rollout [B, T, ...], every environment's part once."""
    del key, progress
    ones = jnp.ones(state.first.shape[:1])
    return Batch(traj=given_up(state), index=jnp.arange(ones.shape[0], dtype=jnp.int32), weight=ones, priority=ones)
