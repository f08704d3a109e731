"""The tree whose levels are plies: one agent's choice each, given the actions that others have committed to.

The value of a node whose joint step is unfinished comes from one of three places:

  completion    one imagined step, in which who has not committed replies by its policy, and the value after it
  conditioned   the value head, given the committed actions
  parent        the value of the state before anything was committed in this tree
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import mctx

from src.core import Array, Key, PyTree, WorldModel, pytree
from src.ops.distributions import draw_by_luck
from src.ops.masking import masked_logits
from src.planners.search import Worth, rows


@pytree
class Start:
    """Where an agent's search starts: the real state and what the agents before it committed to."""

    latent: Array  # [B, N, D]
    own: PyTree  # [B, N, ...]
    plan: PyTree  # [B, ...]
    action: Array  # [B, N] int32, read where committed
    committed: Array  # [B, N] bool
    order: Array  # [B, N] int32 which agent moves at each ply
    agent: Array  # [B] int32 whose turn it is
    ply: Array  # [] int32
    legal: Array  # [B, N, A] bool


@pytree
class Node:
    """A node of B sequential trees."""

    latent: Array  # [B, N, D]
    own: PyTree  # [B, N, ...] what each agent's policy knows by itself
    plan: PyTree  # [B, ...] what policies know of the commitments
    luck: Array  # [B, N] in [0, 1): the quantiles of their policies that agents play who have not committed
    value: Array  # [B]
    action: Array  # [B, N] int32, read where committed
    committed: Array  # [B, N] bool
    ply: Array  # [B] int32, position in the order of the agent to move
    at_root: Array  # [B] bool: still in the real state, where the legal actions are known


# finish(params, node, legal [B, N, A]) -> a whole joint action [B, N], and unfinished(reward [B], worth after it [B]) -> [B]
Finish = Callable[..., tuple[Array, Callable[[Array, Array], Array]]]


def plies_tree(unfinished_value: str, model: WorldModel, worth: Worth, params, key: Key, discount: float, start: Start):
    """Return mctx's root and recurrent function of B trees; `worth` values the states in which nobody has committed yet."""
    finish = {"completion": _completed, "conditioned": _conditioned, "parent": _parents}[unfinished_value](model, discount)
    prior = _prior(model, start)

    def recurrent_fn(params, key: Key, chosen: Array, node: Node):
        here, last = _ply(model, params, start.order, chosen, node)
        filled, unfinished = finish(params, here, start.legal | ~node.at_root[:, None, None])
        latent, reward = model.imagine(params, node.latent, filled)
        reward = model.reward_mean(reward)
        there = _arrival(model, worth, params, key, latent, here)
        child = _choose(last, there, here.replace(value=unfinished(reward, there.value)))
        output = mctx.RecurrentFnOutput(
            reward=jnp.where(last, reward, 0.0),
            discount=jnp.where(last, discount, 1.0),
            prior_logits=prior(params, child),
            value=child.value,
        )
        return output, child

    node = Node(
        latent=start.latent,
        own=start.own,
        plan=start.plan,
        luck=jax.random.uniform(key, start.committed.shape),
        value=_value(model, params, start.latent, start.action, start.committed),
        action=start.action,
        committed=start.committed,
        ply=jnp.broadcast_to(start.ply, start.agent.shape),
        at_root=jnp.ones(start.agent.shape, bool),
    )
    return mctx.RootFnOutput(prior_logits=prior(params, node), value=node.value, embedding=node), recurrent_fn


def _ply(model: WorldModel, params, order: Array, chosen: Array, node: Node) -> tuple[Node, Array]:
    """Return the node after the mover has committed to what was chosen [B], and whether it was the last to do so [B]."""
    agent = jnp.take_along_axis(order, node.ply[:, None], axis=1)
    moving = jnp.arange(order.shape[-1])[None] == agent
    here = node.replace(
        plan=model.commit(params, node.plan, node.latent, agent[:, 0], chosen),
        action=jnp.where(moving, chosen[:, None], node.action),
        committed=node.committed | moving,
        ply=node.ply + 1,
    )
    return here, node.ply == order.shape[-1] - 1


def _arrival(model: WorldModel, worth: Worth, params, key: Key, latent: Array, node: Node) -> Node:
    """Return the node of an imagined state [B, N, D], in which nobody has committed."""
    own, nothing = model.begin(params, latent)
    return node.replace(
        latent=latent,
        own=own,
        plan=nothing,
        luck=jax.random.uniform(key, node.luck.shape),
        value=worth(params, latent),
        committed=jnp.zeros_like(node.committed),
        ply=jnp.zeros_like(node.ply),
        at_root=jnp.zeros_like(node.at_root),
    )


def _prior(model: WorldModel, start: Start) -> Callable[..., Array]:
    """Return prior(params, node) -> logits [B, A] of the mover; what is legal is known in the real state only."""

    def prior(params, node: Node) -> Array:
        agent = jnp.take_along_axis(start.order, node.ply[:, None], axis=1)[:, 0]
        logits = model.reply(params, rows(node.own, agent), node.plan)[:, 0]
        return masked_logits(logits, rows(start.legal, agent)[:, 0] | ~node.at_root[:, None])

    return prior


def _completed(model: WorldModel, discount: float) -> Finish:
    # Who has not committed replies to who has, as its policy says. All children of a node share its luck: they differ by
    # the mover's action and the replies to it, not by what the teammates happened to draw.
    def finish(params, node: Node, legal: Array):
        replies = masked_logits(model.reply(params, node.own, node.plan), legal)
        filled = jnp.where(node.committed, node.action, draw_by_luck(node.luck, replies))
        return filled, lambda reward, after: reward + discount * after

    return finish


def _conditioned(model: WorldModel, discount: float) -> Finish:
    del discount
    return lambda params, node, legal: (
        node.action, lambda reward, after: _value(model, params, node.latent, node.action, node.committed)
    )


def _parents(model: WorldModel, discount: float) -> Finish:
    del model, discount
    return lambda params, node, legal: (node.action, lambda reward, after: node.value)


def _value(model: WorldModel, params, latent: Array, action: Array, committed: Array) -> Array:
    return model.value_mean(model.value(params, latent, action, committed))


def _choose(condition: Array, one: PyTree, other: PyTree) -> PyTree:
    """Return the entries [B, ...] of one where the condition [B] holds, else of the other."""
    return jax.tree.map(lambda x, y: jnp.where(condition.reshape(-1, *(1,) * (x.ndim - 1)), x, y), one, other)
