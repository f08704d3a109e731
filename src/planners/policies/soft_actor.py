"""No search: every agent acts by the policy of a soft actor-critic, from its own observation."""

import dataclasses

from tandem.core import Alone, Array, EnvSpec, Model, Planner, TimeStep
from tandem.planners.policies.acting import act, sampled, sampled_setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    also_sampled: bool = sampled_setting()


def make(config: Config, model: Model, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner: it samples while exploring and plays the likeliest legal action otherwise."""
    del spec, discount
    face = model.soft_actor_critic

    def plan(params, carry, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        del progress
        return carry, act(face.distribution, face.policy(params, timestep.obs), timestep.legal, key, explore)

    def outputs(params, memory, obs: Array, first: Array):
        del first
        return memory, face.policy(params, obs)

    alone = Alone(memory=lambda batch: (), outputs=outputs, distribution=face.distribution)
    planner = Planner(init=lambda batch: (), plan=plan, plays="policy", alone=alone)
    return sampled(planner) if config.also_sampled else planner
