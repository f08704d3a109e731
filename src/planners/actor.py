"""No search: every agent acts by the policy of an actor-critic, from its own observations, past ones included."""

import dataclasses

import jax
import jax.numpy as jnp

from src.core import ActorCritic, Array, EnvSpec, Plan, Planner, PolicyExtras, TimeStep
from src.ops.masking import masked_logits
from src.planners.search import draw


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    pass


def make(config: Config, model: ActorCritic, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner: it samples while exploring and plays the most likely legal action otherwise.

    Its carry is the model's memory. While exploring the critic remembers as well, for the learner goes on from there.
    """
    del config, spec, discount

    def plan(params, carry, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        del progress
        obs, first = timestep.obs[:, None], timestep.first[:, None]
        memory, logits, _ = model.policy(params, carry, obs, first)
        if explore:
            after, _ = model.value(params, carry, obs, timestep.state[:, None], first)
            memory = memory | {"critic": after["critic"]}
        logits = masked_logits(logits[:, 0], timestep.legal)
        action = draw(key, logits) if explore else jnp.argmax(logits, axis=-1).astype(jnp.int32)
        log_policy = jax.nn.log_softmax(logits, axis=-1)
        log_prob = jnp.take_along_axis(log_policy, action[..., None], axis=-1)[..., 0]
        return memory, Plan(action=action, extras=PolicyExtras(log_prob=log_prob, policy=jnp.exp(log_policy), memory=carry))

    return Planner(init=model.memory, plan=plan)
