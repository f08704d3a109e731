"""Q-values, and an estimate of the policy that produced their training data.

The behaviour has its own layers and memory, of the same sizes as those of the Q-values. No gradient of the values
reaches it, so values that are too high cannot distort it.
"""

import dataclasses

import jax
import jax.numpy as jnp

from tandem.core import Array, BehaviourPolicy, EnvSpec, Key, Model, Params, PyTree
from tandem.models import q_network

BEHAVIOUR = "behaviour"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(q_network.Config):
    pass


def make(config: Config, spec: EnvSpec) -> Model:
    """Return the Q-values of a task and the behaviour; playing needs both.

    Raises:
      ValueError: entities are requested but there are none.
    """
    model = q_network.make(config, spec)
    twin = q_network.make(dataclasses.replace(config, dueling=False, mixer="none"), spec)
    every = jnp.ones((1, 1, spec.num_agents, spec.actions.size), bool)

    def init(key: Key) -> Params:
        values_key, behaviour_key = jax.random.split(key)
        return model.init(values_key) | {BEHAVIOUR: twin.init(behaviour_key)}

    def acting(params: Params) -> Params:
        return model.acting(params) | {BEHAVIOUR: params[BEHAVIOUR]}

    def logits(params: Params, memory: PyTree, obs: Array, first: Array) -> tuple[PyTree, Array]:
        legal = jnp.broadcast_to(every, (*obs.shape[:2], *every.shape[2:]))  # a head without dueling ignores it
        return twin.q_values.values(params[BEHAVIOUR], memory, obs, first, legal)

    face = BehaviourPolicy(memory=twin.q_values.memory, logits=logits)
    return model._replace(init=init, acting=acting, behaviour=face)
