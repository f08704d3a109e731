"""Faces of models made by hand: what tests and benchmarks need to write a world model in a few lines."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tandem.core import Codec, Imagined, Latents, TeamPolicy

SCALARS = Codec(mean=lambda x: x, target=lambda x: x)  # the "logits" are the scalars themselves


def plain_latents(represent: Callable, imagine: Callable, continues: float = 1.0) -> Latents:
    """Return the latents of a model that remembers nothing and draws nothing, whose
    episodes go on with one probability.

    Args:
      represent: params, obs -> latent.
      imagine: params, latent, action -> next latent, reward.
    """

    def step(params, latent, action, key):
        del key
        latent, reward = imagine(params, latent, action)
        return Imagined(latent=latent, reward=reward, continues=jnp.full_like(reward, continues))

    return Latents(
        memory=lambda batch: (),
        represent=lambda params, memory, obs, first: (memory, represent(params, obs)),
        imagine=step,
        reward=SCALARS,
    )


def stepwise(policy: Callable) -> TeamPolicy:
    """Return a policy over whole joint actions as one that is asked ply by ply; it is called anew for every reply."""

    def begin(params, latent):
        del params
        who = jnp.broadcast_to(jnp.arange(latent.shape[-2]), latent.shape[:-1])
        return who, {"latent": latent, "action": jnp.zeros_like(who), "rank": jnp.full_like(who, latent.shape[-2])}

    def commit(params, plan, latent, agent, action):
        del params, latent
        own = jax.nn.one_hot(agent, plan["action"].shape[-1], dtype=bool)
        ply = jnp.sum(plan["rank"] < plan["rank"].shape[-1], axis=-1, keepdims=True)
        return plan | {
            "action": jnp.where(own, action[..., None], plan["action"]),
            "rank": jnp.where(own, ply, plan["rank"]),
        }

    def reply(params, own, plan):
        visible = plan["rank"][..., None, :] < plan["rank"][..., :, None]
        logits = policy(params, plan["latent"], plan["action"], visible)
        return jnp.take_along_axis(logits, own[..., None], axis=-2)

    return TeamPolicy(logits=policy, begin=begin, commit=commit, reply=reply)
