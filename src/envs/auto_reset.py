"""Automatic resets that return how each episode ended."""

import jax
import jax.numpy as jnp

from tandem.core import Array, Environment, Key, PyTree, TimeStep


def auto_reset_step(env: Environment, key: Key, state: PyTree, action: Array) -> tuple[PyTree, TimeStep, TimeStep]:
    """Return (state, time step to act on next, true outcome of the action) for one environment; vmap it over many.

    The outcome is the result of the action: its reward, its `terminated` and `truncated`, its metrics and the last
    observation of an episode. If the episode ended, the time step to act on is the first of a new one. Otherwise the
    two are equal. A reset is computed at every step, because under vmap both sides of a branch run anyway.

    Args:
      env: the environment.
      key: a key that is consumed here.
      state: environment state.
      action: [N] int32, or [N, A] float32.
    """
    step_key, reset_key = jax.random.split(key)
    next_state, outcome = env.step(step_key, state, action)
    fresh = env.reset(reset_key)
    ended = outcome.terminated | outcome.truncated
    state, timestep = jax.tree.map(lambda new, old: jnp.where(ended, new, old), fresh, (next_state, outcome))
    return state, timestep, outcome
