"""How far a sequence model is from what really happened, by how many steps it looks ahead with the real actions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tandem.core import Array, Dreamt, Key, Params, PyTree, SequenceModel, pytree

TWICE = 2  # dreams from each start: what two have in common is no chance


@pytree
class Start:
    """Real rows that dreams go on from: S pieces of C rows, the last of which is acted on anew."""

    obs: Array  # [S, C, N, O]
    action: Array  # [S, C - 1, N], or [S, C - 1, N, A] where actions are numbers, here and below
    first: Array  # [S, C]
    legal: Array  # [S, N, A] of the last row, as are the others
    alive: Array  # [S, N]


@pytree
class Happened:
    """What really was done from the starts on, and what came of it: H rows, the first of which is a start's last."""

    action: Array  # [S, H, N]
    alive: Array  # [S, H, N] bool: who acted
    next_obs: Array  # [S, H, N, O]
    next_legal: Array  # [S, H, N, A] bool
    reward: Array  # [S, H] the team's
    terminated: Array  # [S, H] bool
    truncated: Array  # [S, H] bool; rows after an end do not count


class Tally(NamedTuple):
    """A quantity summed over what counts at each step."""

    total: Array  # [H]
    count: Array  # [H]

    def by_step(self) -> Array:
        """Return the means [H]; zero where nothing counts."""
        return self.total / jnp.maximum(self.count, 1.0)

    def overall(self) -> Array:
        """Return the mean [] over all steps."""
        return jnp.sum(self.total) / jnp.maximum(jnp.sum(self.count), 1.0)


class Errors(NamedTuple):
    """How far dreams are from what happened, and what simple guesses would have brought."""

    obs: Tally  # mean absolute error of the living agents' observations
    obs_still: Tally  # the same of supposing that nothing changes
    reward: Tally  # squared error of the expected reward
    reward_mean: Tally  # the same of the mean over all that happened, whose sum over steps is the rewards' variance
    end: Tally  # probability of an end where there was one
    end_feared: Tally  # the same where there was none
    legal: Tally  # share of actions of which the model knows whether they may be played next
    legal_still: Tally  # the same of supposing that nothing changes


def foresee(world: SequenceModel, params: Params, carry: PyTree, action: Array, alive: Array, key: Key) -> Dreamt:
    """Return what is dreamt [H, S, ...] after the actions [S, H, N] of who is alive [S, H, N]."""

    def step(carry: PyTree, inputs: tuple[Array, Array, Key]):
        action, alive, key = inputs
        return world.step(params, carry, action, alive, key)

    keys = jax.random.split(key, action.shape[1])
    return jax.lax.scan(step, carry, (action.swapaxes(0, 1), alive.swapaxes(0, 1), keys))[1]


def errors(world: SequenceModel, params: Params, start: Start, real: Happened, key: Key) -> Errors:
    """Return how far dreams with the real actions are from what happened.

    The error of rewards is that of the expected reward: the product of the errors in two dreams, in which the luck of
    one dream does not count. So the rewards' mean alone would have their variance, and a single draw of the truth would
    have twice that.
    """
    begun, seen = world.begin(params, start.obs, start.action, start.first, real.action.shape[1])

    def once(key: Key) -> Dreamt:
        return foresee(world, params, begun, real.action, real.alive, key)

    dreamt = jax.vmap(once)(jax.random.split(key, TWICE))  # [2, H, S, ...]
    real = jax.tree.map(lambda x: x.swapaxes(0, 1), real)
    ended = jnp.cumsum(real.terminated | real.truncated, axis=0)
    valid = jnp.concatenate([jnp.zeros_like(ended[:1]), ended[:-1]]) == 0  # [H, S]
    living = valid[..., None] & real.alive
    knowing = living & ~real.terminated[..., None]
    mean = jnp.sum(real.reward * valid) / jnp.maximum(jnp.sum(valid), 1.0)
    feared = 1.0 - dreamt.continues.mean(axis=0)

    def right(legal: Array) -> Array:
        return (legal == real.next_legal[None]).astype(jnp.float32).mean(axis=(0, -1))

    return Errors(
        obs=_tally(jnp.mean(jnp.abs(dreamt.obs - real.next_obs[None]), axis=(0, -1)), living),
        obs_still=_tally(jnp.mean(jnp.abs(seen[None] - real.next_obs), axis=-1), living),
        reward=_tally(jnp.prod(dreamt.reward - real.reward[None], axis=0), valid),
        reward_mean=_tally((real.reward - mean) ** 2, valid),
        end=_tally(feared, valid & real.terminated),
        end_feared=_tally(feared, valid & ~real.terminated),
        legal=_tally(right(dreamt.legal > 0.5), knowing),
        legal_still=_tally(right(start.legal[None, None]), knowing),
    )


def _tally(x: Array, counts: Array) -> Tally:
    """Return sums [H] over all axes but the first of x [H, ...] where it counts."""
    axes = tuple(range(1, x.ndim))
    return Tally(jnp.sum(jnp.where(counts, x, 0.0), axis=axes), jnp.sum(counts, axis=axes, dtype=jnp.float32))
