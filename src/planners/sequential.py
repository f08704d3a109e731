"""Sequential search: the tree itself is sequential, one ply per agent.

A node is a latent state and the actions that some agents have already committed to in it. A ply is one agent's choice;
reward, discount and dynamics come only after the last agent's ply, when the joint action is complete:

    (s, -) --a_1--> (s, a_1) --a_2--> (s, a_1 a_2) --a_3--> (s', -)      reward 0, 0, r; discount 1, 1, gamma

Prior and value at a node come from the same heads as everywhere else, conditioned on the committed actions themselves, so
nothing is summarised into a vector that goes stale deeper in the tree. The joint action is planned agent by agent: agent
i's search starts at (s, a_<i), its choice is committed, then agent i+1's search starts.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from src.core import Array, EnvSpec, Key, Plan, Planner, SearchExtras, TimeStep, WorldModel, setting
from src.ops.distributions import draw
from src.ops.masking import masked_logits
from src.planners.autoregressive import ORDERS, choose_order
from src.planners.own_actions import own_root, own_step
from src.planners.paths import PathConfig, make_path_search
from src.planners.plies import Start, plies_tree
from src.planners.search import SearchConfig, Worth, make_search, make_worth


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(PathConfig):
    order: str = setting(
        "random", "who commits first: by index, drawn per step, or lowest policy entropy first",
        choices=ORDERS,
    )
    tree: str = setting(
        "plies", "plies: every level of the tree is one agent's choice; root_only: commit at the root, then an unconditioned "
        "tree over the agent's own actions (for comparison); paths: one search for the whole decision, every simulation of which "
        "completes a joint action and imagines it once", choices=("plies", "root_only", "paths"),
    )
    unfinished_value: str = setting(
        "completion", "plies: value of a node whose joint step is unfinished: completion, one imagined step in which the "
        "rest of the team replies by its policy; conditioned, the value head given the committed actions; parent, the value of "
        "the state before anything was committed in this tree", choices=("completion", "conditioned", "parent"),
    )


def make(config: Config, model: WorldModel, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner; see the module's docstring.

    Raises:
      ValueError: settings that the tree does not know.
    """
    search = _path_search(config, model, discount) if config.tree == "paths" else _turns(config, model, spec, discount)

    def plan(params, carry, timestep: TimeStep, key: Key, explore: bool, progress: Array = 0.0):
        order_key, search_key = jax.random.split(key)
        latent = model.represent(params, timestep.obs)
        own, nothing = model.begin(params, latent)
        alone = masked_logits(model.reply(params, own, nothing), timestep.legal)
        order = choose_order(config.order, order_key, alone)  # [B, N]
        start = Start(
            latent=latent, own=own, plan=nothing, action=jnp.zeros(order.shape, jnp.int32), committed=jnp.zeros(order.shape, bool),
            order=order, agent=order[:, 0], ply=jnp.int32(0), legal=timestep.legal,
        )
        action, policy, value = search(params, search_key, start, explore, progress)
        rank = jnp.argsort(order, axis=-1).astype(jnp.int32)
        action = jnp.take_along_axis(action.T, rank, axis=1)
        policy = jnp.take_along_axis(policy.swapaxes(0, 1), rank[..., None], axis=1)
        extras = SearchExtras(policy=policy, value=value, rank=rank, committed=action)
        return carry, Plan(action=action, extras=extras)

    return Planner(init=lambda batch: (), plan=plan)


def _path_search(config: Config, model: WorldModel, discount: float) -> Callable:
    """Return the one search of `tree=paths`, if it can do what is asked."""
    for key, known in (("search", "gumbel_muzero"), ("unfinished_value", "completion"), ("os_rho", 0.0), ("os_lambda", 1.0)):
        if getattr(config, key) != known:
            raise ValueError(f"planner_args.{key}={getattr(config, key)}: planner_args.tree=paths knows {known} alone")
    return make_path_search(config, model, discount)


def _turns(config: Config, model: WorldModel, spec: EnvSpec, discount: float) -> Callable:
    """Return a search for each agent in turn: params, key, start, explore, progress -> [N, B], [N, B, A] by ply, [B]."""
    for field in dataclasses.fields(PathConfig):
        if field not in dataclasses.fields(SearchConfig) and getattr(config, field.name) != field.default:
            raise ValueError(f"planner_args.{field.name}={getattr(config, field.name)}: planner_args.tree=paths alone knows it")
    if config.tree == "root_only" and config.unfinished_value != "completion":
        raise ValueError(f"planner_args.unfinished_value={config.unfinished_value}: planner_args.tree=root_only has no unfinished steps")
    search, worth = make_search(config), make_worth(config, model, discount)
    tree = {"plies": _plies, "root_only": _root_only}[config.tree]

    def depth_from(ply: Array) -> Array | int | None:
        """Return the levels of a tree that starts at a ply: N to an environment step, less those already played."""
        if not config.max_depth or config.tree == "root_only":
            return config.max_depth or None
        return config.max_depth * spec.num_agents - ply

    def turns(params, key: Key, start: Start, explore: bool, progress: Array):
        def commit(so_far: Start, inputs: tuple[Array, Key, Array]):
            agent, agent_key, ply = inputs
            start = so_far.replace(agent=agent, ply=ply)
            root_key, tree_key = jax.random.split(agent_key)
            root, step = tree(config, model, worth, params, root_key, discount, start)
            legal = jnp.take_along_axis(start.legal, agent[:, None, None], axis=1)[:, 0]
            found = search(params, tree_key, root, step, legal, depth_from(ply), explore, progress)
            moving = jnp.arange(spec.num_agents)[None] == agent[:, None]
            start = start.replace(
                plan=model.commit(params, start.plan, start.latent, agent, found.action),
                action=jnp.where(moving, found.action[:, None], start.action),
                committed=start.committed | moving,
            )
            return start, found

        keys = jax.random.split(key, spec.num_agents)
        _, found = jax.lax.scan(commit, start, (start.order.T, keys, jnp.arange(spec.num_agents)))
        return found.action, found.weights, found.value[0]

    return turns


def _plies(config: Config, model: WorldModel, worth: Worth, params, key: Key, discount: float, start: Start):
    """Return mctx's root and recurrent function of the tree whose levels are plies."""
    return plies_tree(config.unfinished_value, model, worth, params, key, discount, start)


def _root_only(config: Config, model: WorldModel, worth: Worth, params, key: Key, discount: float, start: Start):
    """Return mctx's root and recurrent function of a tree over the agent's own actions, conditioned at its root only."""
    del config
    logits = masked_logits(model.reply(params, start.own, start.plan), start.legal)
    root = own_root(model, params, key, start.latent, logits, start.agent, start.action, start.committed, draw)
    return root, own_step(model, worth, discount, start.agent, draw)
