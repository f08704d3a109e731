"""The team's reward."""

from tandem.core import Array


def team_reward(reward: Array, shared: bool) -> Array:
    """Return the team's reward [...] of the agents' rewards [..., N]; JAX or NumPy.

    Args:
      reward: [..., N] per agent.
      shared: every agent has the team's reward (it counts once); otherwise the team's reward is the agents' sum.
    """
    return reward.mean(axis=-1) if shared else reward.sum(axis=-1)
