"""Full-path simulations: each descends all plies of a joint step and calls the dynamics exactly once.

This is planning in turns by one search for the whole decision. The tree is that of `plies`, with one level per agent,
and joint actions that begin alike share the statistics of their prefix. But a simulation does not stop at the first new
node. It follows the policy, adding a node for each further ply, until the joint action is complete. That joint action
is imagined, and its value becomes the first value of every new node on the way. So S simulations cost S calls of the
dynamics, whatever the number of agents. The team plays along the tree's best path, and every joint action on that path
has been imagined.

Selection is Gumbel MuZero's: sequential halving for the first agent, the improved policy's frequencies below it. Two
settings matter where miscoordination is expensive. Within a joint step the team chooses as one, and nothing is random.
So the value of an unfinished step may be the best one found below it (`unfinished_backup=best`), while one bad try
would lower a mean. And if a bad try does no harm, simulations may explore more (`interior_value_scale`).
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import mctx

from tandem.core import Array, EnvSpec, Key, Model, Planner, setting
from tandem.ops.distributions import draw_by_luck
from tandem.ops.masking import masked_logits
from tandem.ops.values import committed_value
from tandem.planners.policies.acting import rows
from tandem.planners.search.forest import (
    NONE,
    ROOT,
    Forest,
    Front,
    add_node,
    at,
    at_all,
    back_up,
    beginning,
    child_of,
    put,
)
from tandem.planners.search.gumbel import GumbelConfig, q_transform, value_scale
from tandem.planners.search.trees import Worth, imagine, make_worth
from tandem.planners.search.turns import Decide, OrderConfig, Start, planner_in_turns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(GumbelConfig, OrderConfig):
    unfinished_backup: str = setting(
        "mean",
        "value of an unfinished joint step: the mean of the values found below it, or the best of them",
        choices=("mean", "best"),
    )
    interior_value_scale: float = setting(
        0.0, "value_scale of simulations below the root; a smaller one explores more; 0 = as value_scale", low=0.0
    )


def make(config: Config, model: Model, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner; see the module's docstring."""
    return planner_in_turns(config.order, make_path_search(config, model, discount), model, spec, discount)


def make_path_search(config: Config, model: Model, discount: float) -> Decide:
    """Return search(params, key, start, explore, progress) -> actions [N, B] and improved policies [N, B, A] by ply,
    value [B].
    """
    grow = make_growth(config, model, discount)

    def search(params, key: Key, start: Start, explore: bool, progress: Array):
        del progress
        forest, gumbels = grow(params, key, start, explore)
        action, policy = _best_path(q_transform(config, value_scale(config, explore)), forest.tree, gumbels)
        return action, policy, forest.tree.node_values[:, ROOT]

    return search


def make_growth(config: Config, model: Model, discount: float) -> Callable:
    """Return grow(params, key, start, explore) -> the forest after all simulations, and the noise [N, B, A] of the
    choices.
    """
    best, worth = config.unfinished_backup == "best", make_worth(config, model, discount)

    def grow(params, key: Key, start: Start, explore: bool):
        scale = value_scale(config, explore)
        descend = partial(
            _descend, config, q_transform(config, scale), q_transform(config, config.interior_value_scale or scale)
        )
        gumbel_key, key = jax.random.split(key)
        num_agents, shape = start.order.shape[1], (start.order.shape[0], start.legal.shape[-1])
        gumbels = (1.0 if explore else 0.0) * jax.random.gumbel(gumbel_key, (num_agents, *shape))
        forest = _plant(config, model, params, start, gumbels[0])

        def simulate(i: Array, both: tuple[Key, Forest]):
            key, forest = both
            key, simulation_key = jax.random.split(key)
            node, action = jax.vmap(descend)(forest.tree, forest.ply, forest.steps)
            front = Front(node=node, action=action, goes_on=child_of(forest.tree, node, action) == NONE)
            forest, front = _complete(model, params, simulation_key, start, forest, front, i)
            forest, leaf, value = _imagine(model, worth, params, simulation_key, discount, start, forest, front, i)
            return key, forest.replace(tree=back_up(forest.tree, leaf, value, forest.ply if best else None))

        return jax.lax.fori_loop(0, config.num_simulations, simulate, (key, forest))[1], gumbels

    return grow


def _plant(config: Config, model: Model, params, start: Start, gumbel: Array) -> Forest:
    """Return trees with only their roots."""
    batch, num_agents, num_actions = start.legal.shape
    num_nodes = config.num_simulations * num_agents + 1
    nodes, edges = (batch, num_nodes), (batch, num_nodes, num_actions)
    value = committed_value(model.team_value, params, start.latent, start.action, start.committed)
    legal = rows(start.legal, start.order[:, 0])[:, 0]
    prior = masked_logits(model.team_policy.reply(params, rows(start.own, start.order[:, 0]), start.plan)[:, 0], legal)
    tree = mctx.Tree(
        node_visits=jnp.zeros(nodes, jnp.int32).at[:, ROOT].set(1),
        raw_values=jnp.zeros(nodes).at[:, ROOT].set(value),
        node_values=jnp.zeros(nodes).at[:, ROOT].set(value),
        parents=jnp.full(nodes, mctx.Tree.NO_PARENT, jnp.int32),
        action_from_parent=jnp.full(nodes, mctx.Tree.NO_PARENT, jnp.int32),
        children_index=jnp.full(edges, NONE, jnp.int32),
        children_prior_logits=jnp.zeros(edges).at[:, ROOT].set(prior),
        children_values=jnp.zeros(edges),
        children_visits=jnp.zeros(edges, jnp.int32),
        children_rewards=jnp.zeros(edges),
        children_discounts=jnp.zeros(edges),
        embeddings=(),
        root_invalid_actions=~legal,
        extra_data=mctx.GumbelMuZeroExtraData(root_gumbel=gumbel),
    )
    nodes_of = partial(beginning, num_nodes)
    states = partial(beginning, config.num_simulations + 1)
    count = jnp.zeros(nodes, jnp.int32)
    return Forest(
        tree=tree,
        state=count,
        ply=count,
        steps=count,
        action=jnp.zeros((*nodes, num_agents), jnp.int32),
        plan=jax.tree.map(nodes_of, start.plan),
        latent=states(start.latent),
        own=jax.tree.map(states, start.own),
    )


def _descend(
    config: Config, transform: Callable, interior: Callable, tree: mctx.Tree, ply: Array, steps: Array
) -> tuple[Array, Array]:
    """Return the node [] and action [] of the first edge that was never taken, or that reaches the maximal depth."""
    at_root = partial(
        mctx.gumbel_muzero_root_action_selection,
        num_simulations=config.num_simulations,
        max_num_considered_actions=config.max_considered,
        qtransform=transform,
    )

    def select(node: Array) -> Array:
        below = mctx.gumbel_muzero_interior_action_selection(None, tree, node, 0, qtransform=interior)
        return jnp.where(node == ROOT, at_root(None, tree, jnp.int32(ROOT)), below)

    def known(loop) -> Array:
        following = tree.children_index[loop]
        too_deep = (ply[following] == 0) & (steps[following] >= config.max_depth) & (config.max_depth > 0)
        return (following != NONE) & ~too_deep

    def step(loop):
        node = tree.children_index[loop]
        return node, select(node)

    return jax.lax.while_loop(known, step, (jnp.int32(ROOT), select(jnp.int32(ROOT))))


def _complete(
    model: Model, params, key: Key, start: Start, forest: Forest, front: Front, simulation: Array
) -> tuple[Forest, Front]:
    """Return the forest with a node for every ply of the joint steps but the last, and the fronts at that last one."""
    num_agents = start.order.shape[1]
    luck = jax.random.uniform(key, start.order.shape)  # all [B, N] at once, because ten draws cost as much as one

    def unfinished(forest: Forest, front: Front) -> Array:
        return front.goes_on & (at(forest.ply, front.node) < num_agents - 1)

    def add(loop: tuple[Array, Forest, Front]):
        j, forest, front = loop
        new = 1 + simulation * num_agents + j
        ply, adds = at(forest.ply, front.node), unfinished(forest, front)
        agent, following = _turn(start.order, ply), _turn(start.order, jnp.minimum(ply + 1, num_agents - 1))
        state = at(forest.state, front.node)
        plan = model.team_policy.commit(
            params, at_all(forest.plan, front.node), at(forest.latent, state), agent, front.action
        )
        logits = model.team_policy.reply(params, rows(at_all(forest.own, state), following), plan)[:, 0]
        known = at(forest.steps, front.node) == 0
        legal, later = (rows(x, following)[:, 0] for x in (start.legal, start.later))
        logits = masked_logits(logits, jnp.where(known[:, None], legal, later))
        moving = jax.nn.one_hot(agent, num_agents, dtype=bool)
        action = jnp.where(moving, front.action[:, None], at(forest.action, front.node))
        tree = add_node(
            forest.tree, front, adds, new, logits, jnp.zeros_like(logits[:, 0]), jnp.ones_like(logits[:, 0])
        )
        place = jnp.where(adds, new, forest.ply.shape[1])
        forest = forest.replace(
            tree=tree,
            state=put(forest.state, place, state),
            ply=put(forest.ply, place, ply + 1),
            steps=put(forest.steps, place, at(forest.steps, front.node)),
            action=put(forest.action, place, action),
            plan=jax.tree.map(lambda x, y: put(x, place, y), forest.plan, plan),
        )
        drawn = draw_by_luck(luck[:, j], logits)
        front = front.replace(node=jnp.where(adds, new, front.node), action=jnp.where(adds, drawn, front.action))
        return j + 1, forest, front

    return jax.lax.while_loop(lambda loop: jnp.any(unfinished(*loop[1:])), add, (jnp.int32(0), forest, front))[1:]


def _imagine(
    model: Model,
    worth: Worth,
    params,
    key: Key,
    discount: float,
    start: Start,
    forest: Forest,
    front: Front,
    simulation: Array,
) -> tuple[Forest, Array, Array]:
    """Return the forest after the joint steps at the fronts were imagined, the leaves [B] they led to and what those
    are worth [B].

    Read each array completely before writing it, and read edges only after writing them; otherwise XLA copies the
    array in every simulation (with ten agents that takes four times as long).
    """
    num_agents, num_nodes = start.order.shape[1], forest.ply.shape[1]
    new = (simulation + 1) * num_agents
    moving = jax.nn.one_hot(_turn(start.order, at(forest.ply, front.node)), num_agents, dtype=bool)
    joint = jnp.where(moving, front.action[:, None], at(forest.action, front.node))
    state = at(forest.state, front.node)
    latent, reward, continues = imagine(model, params, at(forest.latent, state), joint, key)
    value = worth(params, latent, jax.random.fold_in(key, 2))
    own, nothing = model.team_policy.begin(params, latent)
    logits = model.team_policy.reply(params, rows(own, start.order[:, 0]), nothing)[:, 0]
    logits = masked_logits(logits, rows(start.later, start.order[:, 0])[:, 0])
    place = jnp.where(front.goes_on, new, num_nodes)
    steps = at(forest.steps, front.node) + 1
    tree = add_node(forest.tree, front, front.goes_on, new, logits, reward, discount * continues)
    leaf = child_of(tree, front.node, front.action)
    value = jnp.where(front.goes_on, value, at(tree.raw_values, leaf))
    forest = forest.replace(
        tree=tree,
        state=put(forest.state, place, jnp.where(front.goes_on, simulation + 1, state)),
        steps=put(forest.steps, place, steps),
        plan=jax.tree.map(lambda x, y: put(x, place, y), forest.plan, nothing),
        latent=forest.latent.at[:, simulation + 1].set(latent),
        own=jax.tree.map(lambda x, y: x.at[:, simulation + 1].set(y), forest.own, own),
    )
    return forest, leaf, value


def _best_path(transform: Callable, tree: mctx.Tree, gumbels: Array) -> tuple[Array, Array]:
    """Return actions [N, B] and improved policies [N, B, A] along the path that the team plays; gumbels [N, B, A]."""

    def step(node: Array, inputs: tuple[Array, Array]):
        ply, gumbel = inputs
        logits = at(tree.children_prior_logits, node) + jax.vmap(transform)(tree, node)
        visits = at(tree.children_visits, node)
        # The first agent plays the best of the most tried actions (sequential halving), later ones the best tried one.
        tried = visits >= jnp.where(ply == 0, jnp.max(visits, axis=-1, keepdims=True), 1)
        action = jnp.argmax(jnp.where(tried, logits + gumbel, -jnp.inf), axis=-1).astype(jnp.int32)
        return child_of(tree, node, action), (action, jax.nn.softmax(logits, axis=-1))

    start = jnp.full(tree.node_visits.shape[0], ROOT, jnp.int32)
    return jax.lax.scan(step, start, (jnp.arange(gumbels.shape[0]), gumbels))[1]


def _turn(order: Array, ply: Array) -> Array:
    """Return the agents [B] whose turn it is at plies [B]."""
    return jnp.take_along_axis(order, ply[:, None], axis=1)[:, 0]
