"""No search: every agent plays its action of greatest value among those that are frequent in recorded data.

Discrete BCQ's policy (Fujimoto et al. 2019, "Benchmarking batch deep reinforcement learning algorithms", equation 5).
"""

import dataclasses

import jax.numpy as jnp

from tandem.core import EnvSpec, Model, Planner, setting
from tandem.ops.backups import supported
from tandem.ops.masking import NEVER, masked_softmax
from tandem.planners.policies import epsilon_greedy


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(epsilon_greedy.Config):
    support_threshold: float = setting(
        0.3, "least probability of an action, as a share of the likeliest action's", low=0.0, high=0.999
    )


def make(config: Config, model: Model, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner; its carry holds the memories of the values and of the behaviour."""
    del spec, discount
    worth, behaviour = model.q_values, model.behaviour

    def memory(batch: int):
        return worth.memory(batch), behaviour.memory(batch)

    def values(params, memory, obs, first, legal):
        after, found = worth.values(params, memory[0], obs, first, legal)
        after_too, logits = behaviour.logits(params, memory[1], obs, first)
        often = supported(masked_softmax(logits, legal), config.support_threshold)
        return (after, after_too), jnp.where(often, found, NEVER)

    return epsilon_greedy.playing(config, memory, values)
