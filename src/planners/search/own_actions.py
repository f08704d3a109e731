"""The tree over one agent's own actions, in which the teammates follow their policy; for one agent or all at once.

The teammates' actions at a node are chosen once for all of the node's children, so that the children differ only in
the agent's own action. With a new choice for every child, teammates' random actions would distort the comparison.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import mctx

from tandem.core import Array, Key, Model, pytree
from tandem.ops.masking import masked_logits
from tandem.ops.values import committed_value
from tandem.planners.policies.acting import decentralised
from tandem.planners.search.trees import Worth, imagine

Decide = Callable[[Key, Array], Array]  # key, logits [M, N, A] -> actions [M, N] int32


@pytree
class OwnNode:
    """A node of M such trees, each for one agent of one environment."""

    latent: Array  # [M, N, D]
    others: Array  # [M, N] int32 all agents' actions here; the agent's own entry is not read


def own_root(
    model: Model,
    params,
    key: Key,
    latent: Array,
    logits: Array,
    agent: Array,
    fixed: Array,
    committed: Array,
    decide: Decide,
) -> mctx.RootFnOutput:
    """Return the root of M trees: latent [M, N, D], all agents' logits there [M, N, A], agent [M].

    Teammates that are committed [M, N] play fixed [M, N] at the root. The value there is conditioned on these actions,
    as the logits should be.
    """
    value = committed_value(model.team_value, params, latent, fixed, committed)
    others = jnp.where(committed, fixed, decide(key, logits))
    return mctx.RootFnOutput(
        prior_logits=_row(logits, agent), value=value, embedding=OwnNode(latent=latent, others=others)
    )


def own_step(model: Model, worth: Worth, discount: float, agent: Array, later: Array, decide: Decide):
    """Return mctx's recurrent function: agent [M] plays the searched action, and the teammates those of the node.

    Args:
      later: [M, N, A] bool, actions that are assumed legal in imagined states.
    """

    def recurrent_fn(params, key: Key, action: Array, node: OwnNode):
        own = jnp.arange(node.others.shape[-1])[None] == agent[:, None]
        joint = jnp.where(own, action[:, None], node.others)
        latent, reward, continues = imagine(model, params, node.latent, joint, key)
        logits = masked_logits(decentralised(model.team_policy, params, latent), later)
        output = mctx.RecurrentFnOutput(
            reward=reward,
            discount=discount * continues,
            prior_logits=_row(logits, agent),
            value=worth(params, latent, jax.random.fold_in(key, 2)),
        )
        return output, OwnNode(latent=latent, others=decide(key, logits))

    return recurrent_fn


def argmax(key: Key, logits: Array) -> Array:
    """Return the most likely actions [M, N], as a way for teammates to decide."""
    del key
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def _row(logits: Array, agent: Array) -> Array:
    return jax.vmap(lambda rows, i: rows[i])(logits, agent)
