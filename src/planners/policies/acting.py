"""Shared by planners without search: encoding a step, the team's policies, and acting by a policy alone."""

from typing import Any

import jax

from tandem.core import (
    Array, Distribution, Key, Latents, Params, Plan, Planner, PolicyExtras, PyTree, TeamPolicy, TimeStep, setting,
)  # fmt: skip
from tandem.core.metrics import SAMPLED


def observe(latents: Latents, params: Params, memory: PyTree, timestep: TimeStep) -> tuple[PyTree, Array]:
    """Return the memory after one step [B, ...], and its latent [B, N, D]."""
    memory, latent = latents.represent(params, memory, timestep.obs[:, None], timestep.first[:, None])
    return memory, latent[:, 0]


def decentralised(policy: TeamPolicy, params: Params, latent: Array) -> Array:
    """Return every agent's logits [..., N, A] at latent [..., N, D] if no agent sees the others' actions."""
    return policy.reply(params, *policy.begin(params, latent))


def imagined_legal(timestep: TimeStep) -> Array:
    """Return the actions [B, N, A] that are assumed legal in states imagined after this one.

    The true legal actions there are unknown. But the dead stay dead, so a search does not try actions for them.
    """
    return timestep.legal | timestep.alive[..., None]


def rows(knowledge: PyTree, agent: Array) -> PyTree:
    """Return the row [B, 1, ...] of agent [B] from all agents' features [B, N, ...]."""
    return jax.tree.map(lambda x: jax.vmap(lambda each, i: each[i][None])(x, agent), knowledge)


def act(distribution: Distribution, outputs: Array, legal: Array, key: Key, explore: bool) -> Plan:
    """Return the plan of policies with outputs [B, N, P]: a sample of each while exploring, else the likeliest
    actions.
    """
    action = distribution.sample(key, outputs, legal) if explore else distribution.mode(outputs, legal)
    return planned(distribution, outputs, legal, action)


def planned(distribution: Distribution, outputs: Array, legal: Array, action: Array) -> Plan:
    """Return the plan with actions [B, N] drawn from policies with outputs [B, N, P]."""
    extras = PolicyExtras(
        log_prob=distribution.log_prob(outputs, legal, action),
        policy=distribution.describe(outputs, legal),
        entropy=distribution.entropy(outputs, legal),
    )
    return Plan(action=action, extras=extras)


def sampled_setting() -> Any:
    """Return the setting of planners that `sampled` can evaluate, too."""
    return setting(
        False, "whether to evaluate a second time with actions sampled from the policy instead of the likeliest ones"
    )


def sampled(planner: Planner) -> Planner:
    """Return a planner that is also evaluated with actions sampled from its policy, as in exploration."""

    def plan(params, carry, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        del explore
        return planner.plan(params, carry, timestep, key, True, progress)

    return planner._replace(also={**planner.also, SAMPLED: Planner(init=planner.init, plan=plan, plays=SAMPLED)})
