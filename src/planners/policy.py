"""No search: every agent acts from its own observation alone, by its decentralised policy."""

import dataclasses

import jax
import jax.numpy as jnp

from src.core import Array, EnvSpec, Plan, Planner, PolicyExtras, TimeStep, WorldModel
from src.ops.masking import masked_logits
from src.planners.search import draw


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    pass


def make(config: Config, model: WorldModel, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner: it samples while exploring and plays the most likely legal action otherwise."""
    del config, spec, discount

    def plan(params, carry, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        del progress
        nobody = jnp.zeros((*timestep.legal.shape[:-1], timestep.legal.shape[-2]), bool)
        latent = model.represent(params, timestep.obs)
        logits = model.policy(params, latent, jnp.zeros(timestep.legal.shape[:-1], jnp.int32), nobody)
        logits = masked_logits(logits, timestep.legal)
        action = draw(key, logits) if explore else jnp.argmax(logits, axis=-1).astype(jnp.int32)
        log_policy = jax.nn.log_softmax(logits, axis=-1)
        log_prob = jnp.take_along_axis(log_policy, action[..., None], axis=-1)[..., 0]
        return carry, Plan(action=action, extras=PolicyExtras(log_prob=log_prob, policy=jnp.exp(log_policy)))

    return Planner(init=lambda batch: (), plan=plan)
