"""No search: every agent plays its action of greatest value, and with probability epsilon a random one.

Epsilon falls linearly over the beginning of a run (Mnih et al. 2015). It is zero in evaluations.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from tandem.core import Alone, Array, EnvSpec, Model, Planner, TimeStep, setting
from tandem.ops.distributions import CATEGORICAL
from tandem.ops.masking import TINY, masked_logits
from tandem.planners.policies.acting import act


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    epsilon_start: float = setting(
        1.0, "epsilon, the probability of a random action, at the start of a run", low=0.0, high=1.0
    )
    epsilon_end: float = setting(0.05, "epsilon after its linear fall", low=0.0, high=1.0)
    epsilon_share: float = setting(0.1, "share of the run in which epsilon falls linearly", low=0.0, high=1.0)


def make(config: Config, model: Model, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner; its extras describe its mixture of greedy and random play.

    Its carry is the network's memory. Exports contain the values, so they play greedily.
    """
    del discount
    face = model.q_values
    planner = playing(config, face.memory, face.values)

    def outputs(params, memory, obs: Array, first: Array):
        # The legal actions shift the values of all actions equally, so they do not change which is best.
        every = jnp.ones((*obs.shape[:-1], spec.actions.size), bool)
        after, values = face.values(params, memory, obs[:, None], first[:, None], every[:, None])
        return jax.tree.map(lambda x: x[:, 0], after), values[:, 0]

    return planner._replace(alone=Alone(memory=face.memory, outputs=outputs, distribution=CATEGORICAL))


def playing(config: Config, memory: Callable, values: Callable) -> Planner:
    """Return the planner for values; `memory` and `values` are functions like those of `QValues`."""

    def plan(params, carry, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        seen = (timestep.obs[:, None], timestep.first[:, None], timestep.legal[:, None])
        after, found = values(params, carry, *seen)
        share = epsilon(config, progress) if explore else jnp.zeros(())
        policy = mixture(found[:, 0], timestep.legal, share)
        plan = act(CATEGORICAL, jnp.log(jnp.maximum(policy, TINY)), timestep.legal, key, explore)
        plan = plan.replace(
            extras=plan.extras.replace(memory=carry), metrics={"epsilon": jnp.full(timestep.first.shape, share)}
        )
        return jax.tree.map(lambda x: x[:, 0], after), plan

    return Planner(init=memory, plan=plan, plays="policy", metric_names=("epsilon",))


def epsilon(config: Config, progress: Array) -> Array:
    """Return epsilon at `progress` [] in [0, 1]."""
    fallen = jnp.clip(progress / max(config.epsilon_share, 1e-9), 0.0, 1.0)
    return (config.epsilon_start + (config.epsilon_end - config.epsilon_start) * fallen).astype(jnp.float32)


def mixture(values: Array, legal: Array, share: Array) -> Array:
    """Return probabilities [..., A]: `share` [] uniformly on the legal actions, the rest on the best of `values`."""
    best = jax.nn.one_hot(jnp.argmax(masked_logits(values, legal), axis=-1), values.shape[-1])
    return (1.0 - share) * best + share * legal / jnp.sum(legal, axis=-1, keepdims=True)
