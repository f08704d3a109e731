"""The tree over one agent's own actions, in which the teammates follow their policy; for one agent or all at once."""

import jax
import jax.numpy as jnp
import mctx

from src.core import Array, WorldModel, pytree
from src.planners.search import draw, only_legal


@pytree
class OwnNode:
    """A node of M such trees, each for one agent of one environment."""

    latent: Array  # [M, N, D]
    logits: Array  # [M, N, A] everybody's policy here; kept so that teammates cost no network call per edge
    fixed: Array  # [M, N] int32 actions already committed to at this node
    committed: Array  # [M, N] bool, which of `fixed` count; nobody below the root


def own_root(model: WorldModel, params, latent: Array, agent: Array, fixed: Array, committed: Array, legal: Array):
    """Return mctx's root for M trees: latent [M, N, D], agent [M], fixed [M, N], committed [M, N], legal [M, N, A]."""
    visible = jnp.broadcast_to(committed[..., None, :], (*committed.shape, committed.shape[-1]))
    logits = only_legal(model.policy(params, latent, fixed, visible), legal)
    value = model.value_mean(model.value(params, latent, fixed, committed))
    node = OwnNode(latent=latent, logits=logits, fixed=fixed, committed=committed)
    return mctx.RootFnOutput(prior_logits=_row(logits, agent), value=value, embedding=node)


def own_step(model: WorldModel, discount: float, agent: Array, sample_others: bool):
    """Return mctx's recurrent function: agent [M] plays, committed teammates keep their word, the rest follow policy."""

    def recurrent_fn(params, key, action: Array, node: OwnNode):
        others = draw(key, node.logits) if sample_others else jnp.argmax(node.logits, axis=-1)
        joint = jnp.where(node.committed, node.fixed, others.astype(jnp.int32))
        joint = jnp.where(jnp.arange(joint.shape[-1])[None] == agent[:, None], action[:, None], joint)
        latent, reward = model.imagine(params, node.latent, joint)
        nobody = jnp.zeros_like(node.committed)
        logits = model.policy(params, latent, joint, nobody[..., None] & nobody[..., None, :])
        value = model.value_mean(model.value(params, latent, joint, nobody))
        output = mctx.RecurrentFnOutput(
            reward=model.reward_mean(reward),
            discount=jnp.full_like(value, discount),
            prior_logits=_row(logits, agent),
            value=value,
        )
        return output, OwnNode(latent=latent, logits=logits, fixed=joint, committed=nobody)

    return recurrent_fn


def _row(logits: Array, agent: Array) -> Array:
    return jax.vmap(lambda rows, i: rows[i])(logits, agent)
