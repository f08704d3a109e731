"""The factor on rewards before anything is learned from them: a fixed one, or one learned from the rewards alone.

Bins, losses and searches then see values of one size, whatever the game pays. A learned scale is

    scale = VALUE_RMS / (rms(R) * blocks)        blocks = 1 + discount^L + discount^(2L) + ... to the end of an episode

R are the discounted sums of the team's rewards over L rows, a stored sequence, within their episode. A return is a
weighted sum of such R. Its root mean square is at most the sum of theirs (Minkowski's inequality), so scaled returns
have a root mean square of at most VALUE_RMS. If every step pays, they come close to it. If one reward comes at the end
of 50 steps, it is two fifths of it (L = 7, discount 0.97). With L = 1 it would be a seventh.

No value enters the statistics, so bootstrapped values cannot drive the scale up or down. Moments of value targets could
do so, because their units are those of the values that they would normalise.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tandem.core import Array, PyTree, Transition, pytree, setting
from tandem.ops.returns import n_step_targets

VALUE_RMS = 10.0  # network_args.value_limit=8 holds eight times as much; planner_args.q_epsilon=0.1 is a hundredth
DECAY = 0.999  # of the statistics, per update: the replay changes no faster


def reward_scale_setting() -> Any:
    """Return the setting `reward_scale` of a learner, the argument of `make_reward_scale`."""
    return setting(
        0.0,
        "factor on the team's rewards before learning; 0 = a learned factor, which brings the root mean "
        "square of discounted returns to at most 10",
        low=0.0,
    )


class RewardScale(NamedTuple):
    """How rewards are scaled; `stats` is any pytree."""

    init: Callable[[], PyTree]  # -> stats
    # add(stats, team's rewards [B, L], sequences [B, L, ...], their weights [B]) -> stats
    add: Callable[[PyTree, Array, Transition, Array], PyTree]
    scale: Callable[[PyTree], Array | float]  # stats -> factor [] on rewards
    since_copy: Callable[[PyTree], Array | float]  # stats -> the scale over that of the target network's values, []
    copy: Callable[[PyTree, Array], PyTree]  # stats, is the target network copied now? [] bool -> stats


def make_reward_scale(reward_scale: float, discount: float, length: int, episode_limit: int) -> RewardScale:
    """Return the scale of a setting: the given number, or for 0 a learned one, from sequences of `length` rows."""
    return _fixed(reward_scale) if reward_scale > 0 else _learned(discount, length, episode_limit)


def _fixed(scale: float) -> RewardScale:
    return RewardScale(
        init=lambda: (),
        add=lambda stats, reward, traj, weight: stats,
        scale=lambda stats: scale,
        since_copy=lambda stats: 1.0,
        copy=lambda stats, now: stats,
    )


@pytree
class Moment:
    """The exponentially weighted second moment of sequences' reward sums, and the scale at the last copy."""

    square: Array  # [] weighted sum
    weight: Array  # [] 1 - DECAY^updates; 0 before the first reward other than zero
    target_scale: Array  # [] the scale of the target network's values


def _learned(discount: float, length: int, episode_limit: int) -> RewardScale:
    blocks = sum(discount ** (length * i) for i in range(math.ceil(episode_limit / length)))

    def init() -> Moment:
        return Moment(square=jnp.zeros(()), weight=jnp.zeros(()), target_scale=jnp.ones(()))

    def add(stats: Moment, reward: Array, traj: Transition, weight: Array) -> Moment:
        paid = sequence_returns(reward, traj.terminated, traj.truncated, discount)
        # Batches of zeros are ignored. With rare rewards the scale would otherwise grow without end, and the
        # next reward would lie beyond all bins. So rewards count as at least one sequence per batch.
        share = jnp.where(jnp.any(paid != 0), 1.0 - DECAY, 0.0)
        # Weighted as losses are, so that a prioritised replay's choice does not count.
        square = jnp.sum(weight * paid**2) / jnp.sum(weight)
        new = stats.replace(
            square=(1.0 - share) * stats.square + share * square, weight=(1.0 - share) * stats.weight + share
        )
        # Before the first reward all values are fitted to zero, which is zero in any unit.
        return new.replace(target_scale=jnp.where(stats.weight > 0, stats.target_scale, scale(new)))

    def scale(stats: Moment) -> Array:
        rms = jnp.sqrt(stats.square / jnp.where(stats.weight > 0, stats.weight, 1.0))
        return jnp.where(rms > 0, VALUE_RMS / (blocks * jnp.where(rms > 0, rms, 1.0)), 1.0)

    def since_copy(stats: Moment) -> Array:
        return scale(stats) / stats.target_scale

    def copy(stats: Moment, now: Array) -> Moment:
        return stats.replace(target_scale=jnp.where(now, scale(stats), stats.target_scale))

    return RewardScale(init=init, add=add, scale=scale, since_copy=since_copy, copy=copy)


def sequence_returns(reward: Array, terminated: Array, truncated: Array, discount: float) -> Array:
    """Return the discounted sums [B] of sequences [B, L], up to the end of the episode of their first rows."""
    length = reward.shape[1]

    def one_stream(reward: Array, terminated: Array, truncated: Array) -> Array:
        return n_step_targets(reward, terminated, truncated, jnp.zeros(1), discount, length, 0)[0]

    return jax.vmap(one_stream)(reward, terminated, truncated)
