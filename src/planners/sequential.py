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
from src.planners.own_actions import own_root, own_step
from src.planners.search import SearchConfig, make_search, only_legal


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


@pytree
class Node:
    """A node of B sequential trees."""

    latent: Array  # [B, N, D]
    action: Array  # [B, N] int32, read where committed
    committed: Array  # [B, N] bool
    ply: Array  # [B] int32, position in the order of the agent to move
    at_root: Array  # [B] bool: still in the real state, where the legal actions are known


def make(config: Config, model: WorldModel, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner; see the module's docstring."""
    search = make_search(config)
    tree = {"plies": _plies_tree, "root_only": _root_only_tree}[config.tree]

    def plan(params, carry, timestep: TimeStep, key: Key, explore: bool, progress: Array = 0.0):
        order_key, search_key = jax.random.split(key)
        latent = model.represent(params, timestep.obs)
        order = _choose_order(config.order, model, params, order_key, latent, timestep.legal)  # [B, N]
        nobody = jnp.zeros(order.shape, bool)

        def commit(so_far: tuple[Array, Array], inputs: tuple[Array, Array]):
            action, committed = so_far
            agent, agent_key = inputs
            root, step = tree(model, params, discount, latent, action, committed, order, agent, timestep.legal)
            legal = jnp.take_along_axis(timestep.legal, agent[:, None, None], axis=1)[:, 0]
            found = search(params, agent_key, root, step, legal, explore, progress)
            own = jnp.arange(spec.num_agents)[None] == agent[:, None]
            return (jnp.where(own, found.action[:, None], action), committed | own), found

        keys = jax.random.split(search_key, spec.num_agents)
        (action, _), found = jax.lax.scan(commit, (jnp.zeros(order.shape, jnp.int32), nobody), (order.T, keys))
        rank = jnp.argsort(order, axis=-1).astype(jnp.int32)
        policy = jnp.take_along_axis(found.weights.swapaxes(0, 1), rank[..., None], axis=1)
        extras = SearchExtras(policy=policy, value=found.value[0], rank=rank, committed=action)
        return carry, Plan(action=action, extras=extras)

    return Planner(init=lambda batch: (), plan=plan)


def _plies_tree(model: WorldModel, params, discount: float, latent, action, committed, order, agent, legal):
    """Return mctx's root and recurrent function of the tree whose levels are plies."""
    num_agents = order.shape[-1]

    def look(params, node: Node) -> tuple[Array, Array]:
        mover = jnp.take_along_axis(order, node.ply[:, None], axis=1)[:, :, None]  # [B, 1, 1]
        visible = jnp.broadcast_to(node.committed[:, None, :], (*order.shape, num_agents))
        logits = model.policy(params, node.latent, node.action, visible)
        prior = jnp.take_along_axis(only_legal(logits, legal | ~node.at_root[:, None, None]), mover, axis=1)[:, 0]
        return prior, model.value_mean(model.value(params, node.latent, node.action, node.committed))

    def recurrent_fn(params, key: Key, chosen: Array, node: Node):
        del key
        own = jnp.arange(num_agents)[None] == jnp.take_along_axis(order, node.ply[:, None], axis=1)
        action = jnp.where(own, chosen[:, None], node.action)
        last = node.ply == num_agents - 1
        latent, reward = model.imagine(params, node.latent, action)
        child = Node(
            latent=jnp.where(last[:, None, None], latent, node.latent),
            action=action,
            committed=(node.committed | own) & ~last[:, None],
            ply=jnp.where(last, 0, node.ply + 1),
            at_root=node.at_root & ~last,
        )
        prior, value = look(params, child)
        output = mctx.RecurrentFnOutput(
            reward=jnp.where(last, model.reward_mean(reward), 0.0),
            discount=jnp.where(last, discount, 1.0),
            prior_logits=prior,
            value=value,
        )
        return output, child

    node = Node(
        latent=latent,
        action=action,
        committed=committed,
        ply=jnp.argmax(order == agent[:, None], axis=-1).astype(jnp.int32),
        at_root=jnp.ones(agent.shape, bool),
    )
    prior, value = look(params, node)
    return mctx.RootFnOutput(prior_logits=prior, value=value, embedding=node), recurrent_fn


def _root_only_tree(model: WorldModel, params, discount: float, latent, action, committed, order, agent, legal):
    """Return mctx's root and recurrent function of a tree over the agent's own actions, conditioned at its root only."""
    del order
    root = own_root(model, params, latent, agent, action, committed, legal)
    return root, own_step(model, discount, agent, sample_others=True)


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
        policy = jax.nn.softmax(only_legal(logits, legal), axis=-1)
        score = -jnp.sum(policy * jnp.log(jnp.maximum(policy, 1e-30)), axis=-1)
    return jnp.argsort(score, axis=-1).astype(jnp.int32)
