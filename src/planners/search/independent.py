"""Independent search: each agent searches its own actions while the others follow their policy.

All agents of all environments are one batch of B * N trees. Nothing but the learned policies coordinates the agents,
because no search evaluates the joint action that is played. This is the baseline that the other planners must beat.
"""

import dataclasses

import jax
import jax.numpy as jnp

from tandem.core import Array, EnvSpec, Model, Plan, Planner, SearchExtras, TimeStep, setting
from tandem.ops.distributions import draw
from tandem.ops.masking import masked_logits
from tandem.planners.policies import policy
from tandem.planners.policies.acting import decentralised, imagined_legal, observe
from tandem.planners.search.own_actions import argmax, own_root, own_step
from tandem.planners.search.query import Query
from tandem.planners.search.trees import TreeConfig, make_search, make_worth


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TreeConfig):
    others: str = setting("sample", "how teammates act inside the tree", choices=("sample", "argmax"))


def make(config: Config, model: Model, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner; see the module's docstring."""
    search, worth = make_search(config), make_worth(config, model, discount)
    num_agents = spec.num_agents
    decide = {"sample": draw, "argmax": argmax}[config.others]

    def plan(params, memory, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        batch = timestep.obs.shape[0]
        agent = jnp.tile(jnp.arange(num_agents), batch)

        def per_agent(x: Array) -> Array:
            return jnp.repeat(x, num_agents, axis=0)

        nobody = jnp.zeros((batch * num_agents, num_agents), bool)
        memory, latent = observe(model.latents, params, memory, timestep)
        latent = per_agent(latent)
        logits = masked_logits(decentralised(model.team_policy, params, latent), per_agent(timestep.legal))
        fixed = jnp.zeros(nobody.shape, jnp.int32)
        root_key, search_key = jax.random.split(key)
        root = own_root(model, params, root_key, latent, logits, agent, fixed, nobody, decide)
        step = own_step(model, worth, discount, agent, per_agent(imagined_legal(timestep)), decide)
        legal = timestep.legal.reshape(batch * num_agents, -1)
        found = search(params, search_key, Query(root, step, legal, config.max_depth or None), explore, progress)
        found = jax.tree.map(lambda x: x.reshape(batch, num_agents, *x.shape[1:]), found)
        extras = SearchExtras(
            policy=found.weights,
            value=jnp.mean(found.value, axis=1),
            rank=jnp.zeros((batch, num_agents), jnp.int32),
            committed=found.action,
        )
        return memory, Plan(action=found.action, extras=extras)

    also = {"policy": policy.make(policy.Config(), model, spec, discount)}
    return Planner(init=model.latents.memory, plan=plan, plays="search", also=also)
