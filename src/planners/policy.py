"""No search: every agent acts from its own observation alone, by its decentralised policy."""

import dataclasses

from src.core import Array, EnvSpec, Planner, TimeStep, WorldModel
from src.ops.distributions import CATEGORICAL
from src.planners.acting import act
from src.planners.search import decentralised


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    pass


def make(config: Config, model: WorldModel, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner: it samples while exploring and plays the most likely legal action otherwise."""
    del config, spec, discount

    def plan(params, carry, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        del progress
        latent = model.represent(params, timestep.obs)
        return carry, act(CATEGORICAL, decentralised(model, params, latent), timestep.legal, key, explore)

    return Planner(init=lambda batch: (), plan=plan)
