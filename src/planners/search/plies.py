"""Planning in turns with a sequential tree: one ply per agent, given the actions that others have committed
to.

A node is a latent state and the actions that some agents have already committed to in it. A ply is one agent's choice;
reward, discount and dynamics come only after the last agent's ply, when the joint action is complete:

    (s, -) --a_1--> (s, a_1) --a_2--> (s, a_1 a_2) --a_3--> (s', -)      reward 0, 0, r; discount 1, 1, gamma

Prior and value at a node come from the same heads as everywhere else, conditioned on the committed actions
themselves, so no summary vector can become outdated deeper in the tree.

The value of a node whose joint step is unfinished comes from one of three places:

  completion    one imagined step, in which the other agents reply by their policies, and the value after it
  conditioned   the value head, given the committed actions
  parent        the value of the state before anything was committed in this tree
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import mctx

from tandem.core import Array, EnvSpec, Key, Model, Planner, PyTree, pytree, setting
from tandem.ops.distributions import draw_by_luck
from tandem.ops.masking import masked_logits
from tandem.ops.values import committed_value
from tandem.planners.policies.acting import rows
from tandem.planners.search.trees import TreeConfig, Worth, imagine, make_search, make_worth
from tandem.planners.search.turns import OrderConfig, Start, one_by_one, planner_in_turns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TreeConfig, OrderConfig):
    unfinished_value: str = setting(
        "completion",
        "value of a node whose joint step is unfinished. completion: one imagined step in which the other "
        "agents reply by their policies; conditioned: the value head, given the committed actions; "
        "parent: the value of the state where this search began",
        choices=("completion", "conditioned", "parent"),
    )


def make(config: Config, model: Model, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner; see the module's docstring."""
    worth = make_worth(config, model, discount)

    def tree(params, key: Key, start: Start):
        return plies_tree(config.unfinished_value, model, worth, params, key, discount, start)

    def depth_from(ply: Array) -> Array | None:
        """Return the levels of a tree that starts at a ply: N per environment step, minus the plies already played."""
        return config.max_depth * spec.num_agents - ply if config.max_depth else None

    decide = one_by_one(make_search(config), tree, depth_from, model)
    return planner_in_turns(config.order, decide, model, spec, discount)


@pytree
class Node:
    """A node of B sequential trees."""

    latent: Array  # [B, N, D]
    own: PyTree  # [B, N, ...] each agent's own features for its policy
    plan: PyTree  # [B, ...] the policies' encoding of the commitments
    luck: Array  # [B, N] in [0, 1): quantiles at which agents that have not committed sample their policies
    value: Array  # [B]
    action: Array  # [B, N] int32, read where committed
    committed: Array  # [B, N] bool
    ply: Array  # [B] int32, position in the order of the agent to move
    at_root: Array  # [B] bool: in the real state, where the legal actions are known


# finish(params, node, legal [B, N, A]) -> a whole joint action [B, N], and unfinished(reward [B], discounted worth
# after it [B]) -> [B]
Finish = Callable[..., tuple[Array, Callable[[Array, Array], Array]]]


def plies_tree(unfinished_value: str, model: Model, worth: Worth, params, key: Key, discount: float, start: Start):
    """Return mctx's root and recurrent function of B trees; `worth` gives the values of states in which nobody has
    committed.
    """
    finish = {"completion": _completed, "conditioned": _conditioned, "parent": _parents}[unfinished_value](model)
    prior = _prior(model, start)

    def recurrent_fn(params, key: Key, chosen: Array, node: Node):
        here, last = _ply(model, params, start.order, chosen, node)
        filled, unfinished = finish(params, here, jnp.where(node.at_root[:, None, None], start.legal, start.later))
        latent, reward, continues = imagine(model, params, node.latent, filled, key)
        there = _arrival(model, worth, params, key, latent, here)
        after = discount * continues
        child = _choose(last, there, here.replace(value=unfinished(reward, after * there.value)))
        output = mctx.RecurrentFnOutput(
            reward=jnp.where(last, reward, 0.0),
            discount=jnp.where(last, after, 1.0),
            prior_logits=prior(params, child),
            value=child.value,
        )
        return output, child

    node = Node(
        latent=start.latent,
        own=start.own,
        plan=start.plan,
        luck=jax.random.uniform(key, start.committed.shape),
        value=committed_value(model.team_value, params, start.latent, start.action, start.committed),
        action=start.action,
        committed=start.committed,
        ply=jnp.broadcast_to(start.ply, start.agent.shape),
        at_root=jnp.ones(start.agent.shape, bool),
    )
    return mctx.RootFnOutput(prior_logits=prior(params, node), value=node.value, embedding=node), recurrent_fn


def _ply(model: Model, params, order: Array, chosen: Array, node: Node) -> tuple[Node, Array]:
    """Return the node after the mover has committed to the chosen action [B], and whether it was the
    last to commit [B].
    """
    agent = jnp.take_along_axis(order, node.ply[:, None], axis=1)
    moving = jnp.arange(order.shape[-1])[None] == agent
    here = node.replace(
        plan=model.team_policy.commit(params, node.plan, node.latent, agent[:, 0], chosen),
        action=jnp.where(moving, chosen[:, None], node.action),
        committed=node.committed | moving,
        ply=node.ply + 1,
    )
    return here, node.ply == order.shape[-1] - 1


def _arrival(model: Model, worth: Worth, params, key: Key, latent: Array, node: Node) -> Node:
    """Return the node of an imagined state [B, N, D], in which nobody has committed."""
    own, nothing = model.team_policy.begin(params, latent)
    return node.replace(
        latent=latent,
        own=own,
        plan=nothing,
        luck=jax.random.uniform(key, node.luck.shape),
        value=worth(params, latent, jax.random.fold_in(key, 2)),
        committed=jnp.zeros_like(node.committed),
        ply=jnp.zeros_like(node.ply),
        at_root=jnp.zeros_like(node.at_root),
    )


def _prior(model: Model, start: Start) -> Callable[..., Array]:
    """Return prior(params, node) -> logits [B, A] of the mover; what is legal is known in the real state only."""

    def prior(params, node: Node) -> Array:
        agent = jnp.take_along_axis(start.order, node.ply[:, None], axis=1)[:, 0]
        logits = model.team_policy.reply(params, rows(node.own, agent), node.plan)[:, 0]
        legal, later = (rows(x, agent)[:, 0] for x in (start.legal, start.later))
        return masked_logits(logits, jnp.where(node.at_root[:, None], legal, later))

    return prior


def _completed(model: Model) -> Finish:
    # Agents that have not committed reply by their policies. All children share the node's random numbers: they differ
    # by the mover's action and the replies to it, not by what the teammates happened to draw.
    def finish(params, node: Node, legal: Array):
        replies = masked_logits(model.team_policy.reply(params, node.own, node.plan), legal)
        filled = jnp.where(node.committed, node.action, draw_by_luck(node.luck, replies))
        return filled, lambda reward, after: reward + after

    return finish


def _conditioned(model: Model) -> Finish:
    def finish(params, node: Node, legal: Array):
        del legal
        return node.action, lambda reward, after: committed_value(
            model.team_value, params, node.latent, node.action, node.committed
        )

    return finish


def _parents(model: Model) -> Finish:
    del model
    return lambda params, node, legal: (node.action, lambda reward, after: node.value)


def _choose(condition: Array, one: PyTree, other: PyTree) -> PyTree:
    """Return the entries [B, ...] of one where the condition [B] holds, else of the other."""
    return jax.tree.map(lambda x, y: jnp.where(condition.reshape(-1, *(1,) * (x.ndim - 1)), x, y), one, other)
