"""No search: every agent acts by the policy of an actor-critic, from its own observations, past ones included."""

import dataclasses

from src.core import ActorCritic, Array, EnvSpec, Planner, TimeStep
from src.planners.acting import act


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    pass


def make(config: Config, model: ActorCritic, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner: it samples while exploring and plays the likeliest legal action otherwise.

    Its carry is the model's memory. While exploring the critic remembers as well, for the learner goes on from there.
    """
    del config, spec, discount

    def plan(params, carry, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        del progress
        obs, first = timestep.obs[:, None], timestep.first[:, None]
        memory, outputs, _ = model.policy(params, carry, obs, first)
        if explore:
            after, _ = model.value(params, carry, obs, timestep.state[:, None], first)
            memory = memory | {"critic": after["critic"]}
        plan = act(model.distribution, outputs[:, 0], timestep.legal, key, explore)
        return memory, plan.replace(extras=plan.extras.replace(memory=carry))

    return Planner(init=model.memory, plan=plan)
