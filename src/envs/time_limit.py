"""Decides when an episode ends, and whether the task or the time limit ended it."""

import jax.numpy as jnp

from tandem.core import Array


def ending(over: Array, num_steps: Array, episode_limit: int) -> tuple[Array, Array]:
    """Return (terminated [] bool, truncated [] bool), never both.

    A task that ends by itself on the last allowed step has terminated, because nothing was cut off.

    Args:
      over: [] bool, the task ended by itself.
      num_steps: [] int32, steps taken in this episode, this one included.
      episode_limit: steps after which an episode is cut off.
    """
    return over, jnp.logical_and(num_steps >= episode_limit, jnp.logical_not(over))
