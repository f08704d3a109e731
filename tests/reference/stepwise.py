"""A policy over whole joint actions, asked ply by ply: what a world model owes the planners, for models made by hand."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def stepwise(policy: Callable) -> dict[str, Callable]:
    """Return `begin`, `commit` and `reply` of a world model with this `policy`, which is called anew for every reply."""

    def begin(params, latent):
        del params
        who = jnp.broadcast_to(jnp.arange(latent.shape[-2]), latent.shape[:-1])
        return who, {"latent": latent, "action": jnp.zeros_like(who), "rank": jnp.full_like(who, latent.shape[-2])}

    def commit(params, plan, latent, agent, action):
        del params, latent
        own = jax.nn.one_hot(agent, plan["action"].shape[-1], dtype=bool)
        ply = jnp.sum(plan["rank"] < plan["rank"].shape[-1], axis=-1, keepdims=True)
        return plan | {"action": jnp.where(own, action[..., None], plan["action"]), "rank": jnp.where(own, ply, plan["rank"])}

    def reply(params, own, plan):
        visible = plan["rank"][..., None, :] < plan["rank"][..., :, None]
        logits = policy(params, plan["latent"], plan["action"], visible)
        return jnp.take_along_axis(logits, own[..., None], axis=-2)

    return {"begin": begin, "commit": commit, "reply": reply}
