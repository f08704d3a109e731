"""Sequential search: the tree itself is sequential, one ply per agent.

A node is a latent state and the actions that some agents have already committed to in it. A ply is one agent's choice;
reward, discount and dynamics come only after the last agent's ply, when the joint action is complete:

    (s, -) --a_1--> (s, a_1) --a_2--> (s, a_1 a_2) --a_3--> (s', -)      reward 0, 0, r; discount 1, 1, gamma

Prior and value at a node come from the same heads as everywhere else, conditioned on the committed actions themselves, so
nothing is summarised into a vector that goes stale deeper in the tree. The joint action is planned agent by agent: agent
i's search starts at (s, a_<i), its choice is committed, then agent i+1's search starts.
"""

import dataclasses

import jax
import jax.numpy as jnp
import mctx

from src.core import Array, EnvSpec, Key, Plan, Planner, SearchExtras, TimeStep, WorldModel, pytree, setting
from src.ops.masking import masked_logits
from src.planners.own_actions import own_root, own_step
from src.planners.search import SearchConfig, draw, draw_by_luck, make_search


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(SearchConfig):
    order: str = setting(
        "random", "who commits first: by index, drawn per step, or lowest policy entropy first",
        choices=("fixed", "random", "most_certain_first"),
    )
    tree: str = setting(
        "plies", "plies: every level of the tree is one agent's choice; root_only: commit at the root, then an unconditioned "
        "tree over the agent's own actions (for comparison)", choices=("plies", "root_only"),
    )
    unfinished_value: str = setting(
        "completion", "plies: value of a node whose joint step is unfinished: completion, one imagined step in which the "
        "rest of the team replies by its policy; conditioned, the value head given the committed actions; parent, the value of "
        "the state before anything was committed in this tree", choices=("completion", "conditioned", "parent"),
    )


@pytree
class Node:
    """A node of B sequential trees."""

    latent: Array  # [B, N, D]
    luck: Array  # [B, N] in [0, 1): the quantiles of their policies that agents play who have not committed
    value: Array  # [B]
    action: Array  # [B, N] int32, read where committed
    committed: Array  # [B, N] bool
    ply: Array  # [B] int32, position in the order of the agent to move
    at_root: Array  # [B] bool: still in the real state, where the legal actions are known


def make(config: Config, model: WorldModel, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner; see the module's docstring."""
    search = make_search(config)
    tree = {"plies": _plies_tree, "root_only": _root_only_tree}[config.tree]

    def depth_from(ply: Array) -> Array | int | None:
        """Return the levels of a tree that starts at a ply: N to an environment step, less those already played."""
        if not config.max_depth or config.tree == "root_only":
            return config.max_depth or None
        return config.max_depth * spec.num_agents - ply

    def plan(params, carry, timestep: TimeStep, key: Key, explore: bool, progress: Array = 0.0):
        order_key, search_key = jax.random.split(key)
        latent = model.represent(params, timestep.obs)
        order = _choose_order(config.order, model, params, order_key, latent, timestep.legal)  # [B, N]
        nobody = jnp.zeros(order.shape, bool)

        def commit(so_far: tuple[Array, Array], inputs: tuple[Array, Key, Array]):
            action, committed = so_far
            agent, agent_key, ply = inputs
            root_key, tree_key = jax.random.split(agent_key)
            root, step = tree(config, model, params, root_key, discount, latent, action, committed, order, agent, timestep.legal)
            legal = jnp.take_along_axis(timestep.legal, agent[:, None, None], axis=1)[:, 0]
            found = search(params, tree_key, root, step, legal, depth_from(ply), explore, progress)
            own = jnp.arange(spec.num_agents)[None] == agent[:, None]
            return (jnp.where(own, found.action[:, None], action), committed | own), found

        keys = jax.random.split(search_key, spec.num_agents)
        (action, _), found = jax.lax.scan(commit, (jnp.zeros(order.shape, jnp.int32), nobody), (order.T, keys, jnp.arange(spec.num_agents)))
        rank = jnp.argsort(order, axis=-1).astype(jnp.int32)
        policy = jnp.take_along_axis(found.weights.swapaxes(0, 1), rank[..., None], axis=1)
        extras = SearchExtras(policy=policy, value=found.value[0], rank=rank, committed=action)
        return carry, Plan(action=action, extras=extras)

    return Planner(init=lambda batch: (), plan=plan)


def _plies_tree(config: Config, model: WorldModel, params, key: Key, discount: float, latent, action, committed, order, agent, legal):
    """Return mctx's root and recurrent function of the tree whose levels are plies."""
    num_agents = order.shape[-1]

    def policy(params, latent: Array, action: Array, committed: Array, at_root: Array) -> Array:
        visible = jnp.broadcast_to(committed[:, None, :], (*order.shape, num_agents))
        logits = model.policy(params, latent, action, visible)
        return masked_logits(logits, legal | ~at_root[:, None, None])

    def mover(ply: Array) -> Array:
        return jnp.take_along_axis(order, ply[:, None], axis=1)  # [B, 1]

    def value(params, latent: Array, action: Array, committed: Array) -> Array:
        return model.value_mean(model.value(params, latent, action, committed))

    def recurrent_fn(params, key: Key, chosen: Array, node: Node):
        own = jnp.arange(num_agents)[None] == mover(node.ply)
        action = jnp.where(own, chosen[:, None], node.action)
        committed = node.committed | own
        last = node.ply == num_agents - 1
        # Who has not committed replies to who has, as its policy says. All children of a node share its luck: they differ by
        # the mover's action and the replies to it, not by what the teammates happened to draw.
        replies = policy(params, node.latent, action, committed, node.at_root)
        filled = jnp.where(committed, action, draw_by_luck(node.luck, replies))
        next_latent, reward = model.imagine(params, node.latent, filled)
        reward = model.reward_mean(reward)
        latent = jnp.where(last[:, None, None], next_latent, node.latent)
        committed &= ~last[:, None]
        at_root = node.at_root & ~last
        ply = jnp.where(last, 0, node.ply + 1)
        if config.unfinished_value == "completion":
            reached = value(params, next_latent, action, jnp.zeros_like(committed))
            here = jnp.where(last, reached, reward + discount * reached)
        else:
            here = value(params, latent, action, committed)
            if config.unfinished_value == "parent":
                here = jnp.where(last, here, node.value)
        nobody = jnp.zeros_like(committed)
        logits = jnp.where(last[:, None, None], policy(params, next_latent, action, nobody, at_root), replies)
        luck = jnp.where(last[:, None], jax.random.uniform(key, node.luck.shape), node.luck)
        child = Node(latent=latent, luck=luck, value=here, action=action, committed=committed, ply=ply, at_root=at_root)
        output = mctx.RecurrentFnOutput(
            reward=jnp.where(last, reward, 0.0),
            discount=jnp.where(last, discount, 1.0),
            prior_logits=_row(logits, mover(ply)),
            value=here,
        )
        return output, child

    at_root = jnp.ones(agent.shape, bool)
    logits = policy(params, latent, action, committed, at_root)
    node = Node(
        latent=latent,
        luck=jax.random.uniform(key, committed.shape),
        value=value(params, latent, action, committed),
        action=action,
        committed=committed,
        ply=jnp.argmax(order == agent[:, None], axis=-1).astype(jnp.int32),
        at_root=at_root,
    )
    root = mctx.RootFnOutput(prior_logits=_row(logits, agent[:, None]), value=node.value, embedding=node)
    return root, recurrent_fn


def _row(logits: Array, agent: Array) -> Array:
    """Return the logits [B, A] of agent [B, 1] out of everybody's [B, N, A]."""
    return jnp.take_along_axis(logits, agent[..., None], axis=1)[:, 0]


def _root_only_tree(config: Config, model: WorldModel, params, key: Key, discount: float, latent, action, committed, order, agent, legal):
    """Return mctx's root and recurrent function of a tree over the agent's own actions, conditioned at its root only."""
    del config, order
    root = own_root(model, params, key, latent, agent, action, committed, legal, draw)
    return root, own_step(model, discount, agent, draw)


def _choose_order(order: str, model: WorldModel, params, key: Key, latent: Array, legal: Array) -> Array:
    """Return which agent moves at each ply [B, N] int32."""
    batch, num_agents = legal.shape[:2]
    if order == "fixed":
        score = jnp.broadcast_to(jnp.arange(num_agents, dtype=jnp.float32), (batch, num_agents))
    elif order == "random":
        score = jax.random.uniform(key, (batch, num_agents))
    else:
        action = jnp.zeros((batch, num_agents), jnp.int32)
        logits = model.policy(params, latent, action, jnp.zeros((batch, num_agents, num_agents), bool))
        policy = jax.nn.softmax(masked_logits(logits, legal), axis=-1)
        score = -jnp.sum(policy * jnp.log(jnp.maximum(policy, 1e-30)), axis=-1)
    return jnp.argsort(score, axis=-1).astype(jnp.int32)
