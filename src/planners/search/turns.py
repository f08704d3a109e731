"""Shared by planners that plan in turns: agents commit one after another, each given the earlier agents'
actions.

The joint action is planned agent by agent: agent i's search starts at the real state and the actions committed so far
(s, a_<i), its choice is committed, then agent i+1's search starts.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tandem.core import Array, EnvSpec, Key, Model, Plan, Planner, PyTree, SearchExtras, TimeStep, pytree, setting
from tandem.ops.masking import masked_logits
from tandem.planners.policies import autoregressive, policy
from tandem.planners.policies.acting import imagined_legal, observe
from tandem.planners.policies.autoregressive import ORDERS, choose_order
from tandem.planners.search.query import Query, Search


@dataclasses.dataclass(frozen=True, kw_only=True)
class OrderConfig:
    order: str = setting(
        "random",
        "order of the commitments: by index (fixed), drawn at each step (random), or by the lowest policy "
        "entropy (most_certain_first)",
        choices=ORDERS,
    )


@pytree
class Start:
    """The start of an agent's search: the real state and the actions of the agents before it."""

    latent: Array  # [B, N, D]
    own: PyTree  # [B, N, ...]
    plan: PyTree  # [B, ...]
    action: Array  # [B, N] int32, read where committed
    committed: Array  # [B, N] bool
    order: Array  # [B, N] int32 which agent moves at each ply
    agent: Array  # [B] int32 the agent to move
    ply: Array  # [] int32
    legal: Array  # [B, N, A] bool
    later: Array  # [B, N, A] bool assumed legal in imagined states: the dead stay dead, for others nothing is known


# decide(params, key, start, explore, progress) -> actions [N, B] and improved policies [N, B, A] by ply, root value [B]
Decide = Callable[..., tuple[Array, Array, Array]]


def planner_in_turns(order: str, decide: Decide, model: Model, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner that draws an order, lets agents decide in this order, and records who saw whose action."""

    def plan(params, memory, timestep: TimeStep, key: Key, explore: bool, progress: Array = 0.0):
        order_key, search_key = jax.random.split(key)
        memory, latent = observe(model.latents, params, memory, timestep)
        start = _beginning(order, model, params, latent, timestep, order_key)
        action, improved, value = decide(params, search_key, start, explore, progress)
        rank = jnp.argsort(start.order, axis=-1).astype(jnp.int32)
        action = jnp.take_along_axis(action.T, rank, axis=1)
        improved = jnp.take_along_axis(improved.swapaxes(0, 1), rank[..., None], axis=1)
        extras = SearchExtras(policy=improved, value=value, rank=rank, committed=action)
        return memory, Plan(action=action, extras=extras)

    given = autoregressive.make(autoregressive.Config(order=order), model, spec, discount)
    also = {"autoregressive": given, "policy": policy.make(policy.Config(), model, spec, discount)}
    return Planner(init=model.latents.memory, plan=plan, plays="search", also=also)


def _beginning(order: str, model: Model, params: Any, latent: Array, timestep: TimeStep, key: Key) -> Start:
    """Return the start of the first agent's search."""
    legal = timestep.legal
    own, nothing = model.team_policy.begin(params, latent)
    alone = masked_logits(model.team_policy.reply(params, own, nothing), legal)
    turns = choose_order(order, key, alone)  # [B, N]
    nobody = jnp.zeros(turns.shape, bool)
    return Start(
        latent=latent, own=own, plan=nothing, action=jnp.zeros(turns.shape, jnp.int32), committed=nobody, order=turns,
        agent=turns[:, 0], ply=jnp.int32(0), legal=legal, later=imagined_legal(timestep),
    )  # fmt: skip


def one_by_one(search: Search, tree: Callable, depth_from: Callable, model: Model) -> Decide:
    """Return a function in which each agent decides by its own search.

    Args:
      tree: (params, key, start) -> mctx's root and recurrent function of the tree of the agent whose turn it is.
      depth_from: ply [] -> the levels of a tree that starts at it, None = no limit.
    """

    def decide(params, key: Key, start: Start, explore: bool, progress: Array):
        num_agents = start.order.shape[1]

        def commit(so_far: Start, inputs: tuple[Array, Key, Array]):
            agent, agent_key, ply = inputs
            start = so_far.replace(agent=agent, ply=ply)
            root_key, tree_key = jax.random.split(agent_key)
            root, step = tree(params, root_key, start)
            legal = jnp.take_along_axis(start.legal, agent[:, None, None], axis=1)[:, 0]
            found = search(params, tree_key, Query(root, step, legal, depth_from(ply)), explore, progress)
            moving = jnp.arange(num_agents)[None] == agent[:, None]
            start = start.replace(
                plan=model.team_policy.commit(params, start.plan, start.latent, agent, found.action),
                action=jnp.where(moving, found.action[:, None], start.action),
                committed=start.committed | moving,
            )
            return start, found

        keys = jax.random.split(key, num_agents)
        _, found = jax.lax.scan(commit, start, (start.order.T, keys, jnp.arange(num_agents)))
        return found.action, found.weights, found.value[0]

    return decide
