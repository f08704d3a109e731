"""What the team as a whole gets."""

import jax.numpy as jnp

from src.core import Array


def team_reward(reward: Array, shared: bool) -> Array:
    """Return the team's reward [...] of the agents' rewards [..., N].

    Args:
      reward: [..., N] per agent.
      shared: every agent carries the team's reward (it counts once); otherwise the team's reward is the agents' sum.
    """
    return jnp.mean(reward, axis=-1) if shared else jnp.sum(reward, axis=-1)
