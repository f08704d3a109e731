"""Value targets and masks along one stored stream of rows, which may contain the ends and
starts of episodes.

Row j is one environment step with its reward, its flags and its true successor, read before any reset. All functions
take a single stream [T]; callers vmap. n-step returns: Schrittwieser et al. 2020, appendix G. Generalised advantages:
Schulman et al. 2016, equation 16. Lambda-returns: Sutton and Barto 2018, section 12.5.
"""

import chex
import jax
import jax.numpy as jnp

from tandem.core import Array


def _steps(done: Array, n_step: int, unroll: int) -> Array:
    """Return the number of rewards in each position's return: [U + 1] int32, up to `n_step`, not past the first end."""
    window = jnp.arange(unroll + 1)[:, None] + jnp.arange(n_step)[None, :]
    ends = done[window]  # [U + 1, n]
    return jnp.where(jnp.any(ends, axis=1), jnp.argmax(ends, axis=1) + 1, n_step).astype(jnp.int32)


def bootstrap_index(done: Array, n_step: int, unroll: int) -> Array:
    """Return the row [U + 1] whose successor's value ends the return of each position 0..U.

    Args:
      done: [T] bool, terminated or truncated; T = U + n.
      n_step: n, rewards in a return.
      unroll: U.
    """
    chex.assert_shape(done, (unroll + n_step,))
    return jnp.arange(unroll + 1, dtype=jnp.int32) + _steps(done, n_step, unroll) - 1


def n_step_targets(
    reward: Array,
    terminated: Array,
    truncated: Array,
    bootstrap_value: Array,
    discount: float,
    n_step: int,
    unroll: int,
) -> Array:
    """Return the discounted n-step returns [U + 1] of positions 0..U, each within its own episode.

    Args:
      reward: [T]; T = U + n.
      terminated: [T] bool; a return that ends here bootstraps nothing.
      truncated: [T] bool; a return that ends here bootstraps from the true successor.
      bootstrap_value: [U + 1] value of the successor at row `bootstrap_index`.
      discount: per step.
      n_step: n, rewards in a return.
      unroll: U.
    """
    chex.assert_shape([reward, terminated, truncated], (unroll + n_step,))
    chex.assert_shape(bootstrap_value, (unroll + 1,))
    steps = _steps(terminated | truncated, n_step, unroll)  # [U + 1]
    ahead = jnp.arange(n_step)[None, :]
    rewards = reward[jnp.arange(unroll + 1)[:, None] + ahead]  # [U + 1, n]
    weights = jnp.where(ahead < steps[:, None], jnp.power(discount, ahead), 0.0)
    last = jnp.arange(unroll + 1) + steps - 1
    bootstrap = jnp.where(terminated[last], 0.0, jnp.power(discount, steps) * bootstrap_value)
    return jnp.sum(weights * rewards, axis=1) + bootstrap


def unroll_masks(terminated: Array, truncated: Array, unroll: int) -> tuple[Array, Array]:
    """Return (alive, known), both [U + 1] float32, of the positions 0..U of an unroll that starts in row 0.

    alive: 1 up to and including the last row of the episode of row 0, then 0.
    known: 1 if the future is known: while alive, and after a true end, where everything stays zero; 0 after a
      time limit.
    Only the first end counts: later flags belong to other episodes. A row with both flags counts as a true end.

    Args:
      terminated: [T] bool, T >= U.
      truncated: [T] bool.
      unroll: U.
    """
    chex.assert_equal_shape([terminated, truncated])
    going_on = 1.0 - (terminated | truncated)[:unroll].astype(jnp.float32)
    alive = jnp.concatenate([jnp.ones((1,)), jnp.cumprod(going_on)])
    cut_off = alive[:-1] * (truncated & ~terminated)[:unroll]
    known = jnp.concatenate([jnp.ones((1,)), 1.0 - jnp.cumsum(cut_off)])
    return alive, known


def generalised_advantages(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Array,
    truncated: Array,
    discount: float,
    gae_lambda: float,
) -> Array:
    """Return the generalised advantage estimates [T], each within its own episode.

    Added to `value` they are the lambda-returns.

    Args:
      reward: [T].
      value: [T] value of each row's observation.
      next_value: [T] value of each row's true successor; not read if the episode terminated.
      terminated: [T] bool; nothing comes after this row.
      truncated: [T] bool; the episode was cut off after this row, and the successor's value replaces the rest.
      discount: per step.
      gae_lambda: 0 trusts the values (one-step advantages), 1 the rewards.
    """
    chex.assert_equal_shape([reward, value, next_value, terminated, truncated])
    errors = reward + discount * jnp.where(terminated, 0.0, next_value) - value
    decays = jnp.where(terminated | truncated, 0.0, discount * gae_lambda)

    def step(later: Array, row: tuple[Array, Array]):
        error, decay = row
        advantage = error + decay * later
        return advantage, advantage

    return jax.lax.scan(step, jnp.zeros_like(errors[0]), (errors, decays), reverse=True, unroll=8)[1]


def lambda_returns(
    reward: Array, next_value: Array, terminated: Array, truncated: Array, discount: float, td_lambda: float
) -> Array:
    """Return the lambda-returns [T], each within its own episode; the last row bootstraps from its successor.

    Unlike `generalised_advantages` they need no value of the rows' observations, because the value of a row's successor
    replaces the next row's. Sutton and Barto 2018, equation 12.20; Peng's Q(lambda) if the values are maxima.

    Args:
      reward: [T].
      next_value: [T] value of each row's true successor; not read where the episode terminated.
      terminated: [T] bool; nothing comes after this row.
      truncated: [T] bool; the episode was cut off after this row, whose successor's value stands for the rest.
      discount: per step.
      td_lambda: 0 trusts the values (one-step targets), 1 the rewards.
    """
    chex.assert_equal_shape([reward, next_value, terminated, truncated])
    after = discount * jnp.where(terminated, 0.0, next_value)
    weight = jnp.where(terminated | truncated, 0.0, td_lambda).at[-1].set(0.0)

    def step(later: Array, row: tuple[Array, Array, Array]):
        reward, after, weight = row
        total = reward + (1.0 - weight) * after + weight * discount * later
        return total, total

    return jax.lax.scan(step, jnp.zeros_like(after[0]), (reward, after, weight), reverse=True, unroll=8)[1]


def running_returns(before: Array, reward: Array, first: Array, discount: float) -> tuple[Array, Array]:
    """Return the last of the discounted sums of the rewards up to each row, within its
    own episode, and all of them [T].

    Their standard deviation normalises rewards.

    Args:
      before: [] the last sum of the previous rows, from which a stream that starts in mid-episode continues.
      reward: [T].
      first: [T] bool; an episode begins with this row.
      discount: per step.
    """
    chex.assert_equal_shape([reward, first])

    def step(before: Array, row: tuple[Array, Array]):
        total = row[0] + discount * jnp.where(row[1], 0.0, before)
        return total, total

    return jax.lax.scan(step, before, (reward, first), unroll=8)
