"""No search: every agent acts by the policy of an actor-critic, from its present and past observations."""

import dataclasses

import jax

from tandem.core import Alone, Array, EnvSpec, Model, Planner, TimeStep
from tandem.planners.policies.acting import act, sampled, sampled_setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    also_sampled: bool = sampled_setting()


def make(config: Config, model: Model, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner: it samples while exploring and plays the likeliest legal action otherwise.

    Its carry is the model's memory. While exploring it includes the critic's, because the learner starts from it.
    """
    del spec, discount
    face = model.actor_critic
    remembers = bool(jax.tree.leaves(jax.eval_shape(lambda: face.memory(1)["critic"])))

    def plan(params, carry, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        del progress
        obs, first = timestep.obs[:, None], timestep.first[:, None]
        memory, outputs, _ = face.policy(params, carry, obs, first)
        if explore and remembers:
            after, _ = face.value(params, carry, obs, timestep.state[:, None], first)
            memory = memory | {"critic": after["critic"]}
        plan = act(face.distribution, outputs[:, 0], timestep.legal, key, explore)
        return memory, plan.replace(extras=plan.extras.replace(memory=carry))

    def outputs(params, memory, obs: Array, first: Array):
        after, outputs, _ = face.policy(params, {"actor": memory, "critic": ()}, obs[:, None], first[:, None])
        return after["actor"], outputs[:, 0]

    alone = Alone(memory=lambda batch: face.memory(batch)["actor"], outputs=outputs, distribution=face.distribution)
    planner = Planner(init=face.memory, plan=plan, plays="policy", alone=alone)
    return sampled(planner) if config.also_sampled else planner
