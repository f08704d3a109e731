"""No search: every agent acts from its own observation alone, by its decentralised policy."""

import dataclasses

from tandem.core import Alone, Array, EnvSpec, Model, Planner, TimeStep
from tandem.ops.distributions import CATEGORICAL
from tandem.planners.policies.acting import act, decentralised, observe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    pass


def make(config: Config, model: Model, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner: it samples while exploring and plays the most likely legal action otherwise."""
    del config, spec, discount

    def plan(params, memory, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        del progress
        memory, latent = observe(model.latents, params, memory, timestep)
        return memory, act(CATEGORICAL, decentralised(model.team_policy, params, latent), timestep.legal, key, explore)

    def outputs(params, memory, obs: Array, first: Array):
        memory, latent = model.latents.represent(params, memory, obs[:, None], first[:, None])
        return memory, decentralised(model.team_policy, params, latent[:, 0])

    alone = Alone(memory=model.latents.memory, outputs=outputs, distribution=CATEGORICAL)
    return Planner(init=model.latents.memory, plan=plan, plays="policy", alone=alone)
