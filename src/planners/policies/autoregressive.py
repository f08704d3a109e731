"""No search: agents act one after another by their policies, given the earlier agents' actions.

This lies between a search and the decentralised policy. Later agents need the actions of earlier ones and, because a
commitment's token contains it, their latents.
"""

import dataclasses

import jax
import jax.numpy as jnp

from tandem.core import Array, EnvSpec, Key, Model, Planner, PyTree, TimeStep, setting
from tandem.ops.distributions import CATEGORICAL, draw
from tandem.ops.masking import entropy, masked_logits
from tandem.planners.policies.acting import observe, planned, rows

ORDERS = ("fixed", "random", "most_certain_first")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    order: str = setting(
        "random",
        "order of the commitments: by index (fixed), drawn at each step (random), or by the lowest policy "
        "entropy (most_certain_first)",
        choices=ORDERS,
    )


def make(config: Config, model: Model, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner: it samples while exploring and plays the most likely legal action otherwise."""
    del discount

    def plan(params, memory, timestep: TimeStep, key: Key, explore: bool, progress: Array = 0.0):
        del progress
        order_key, draw_key = jax.random.split(key)
        memory, latent = observe(model.latents, params, memory, timestep)
        own, nothing = model.team_policy.begin(params, latent)
        alone = masked_logits(model.team_policy.reply(params, own, nothing), timestep.legal)
        order = choose_order(config.order, order_key, alone)

        def commit(plan: PyTree, inputs: tuple[Array, Key]):
            agent, key = inputs
            logits = model.team_policy.reply(params, rows(own, agent), plan)[:, 0]
            logits = masked_logits(logits, rows(timestep.legal, agent)[:, 0])
            action = draw(key, logits) if explore else jnp.argmax(logits, axis=-1).astype(jnp.int32)
            return model.team_policy.commit(params, plan, latent, agent, action), (action, logits)

        turns = (order.T, jax.random.split(draw_key, spec.num_agents))
        _, (action, logits) = jax.lax.scan(commit, nothing, turns)
        rank = jnp.argsort(order, axis=-1)
        action = jnp.take_along_axis(action.T, rank, axis=1)
        logits = jnp.take_along_axis(logits.swapaxes(0, 1), rank[..., None], axis=1)
        return memory, planned(CATEGORICAL, logits, timestep.legal, action)

    return Planner(init=model.latents.memory, plan=plan, plays="policy")


def choose_order(order: str, key: Key, logits: Array) -> Array:
    """Return which agent moves at each ply [B, N] int32, from the decentralised policies' logits [B, N, A]."""
    batch, num_agents = logits.shape[:2]
    if order == "fixed":
        score = jnp.broadcast_to(jnp.arange(num_agents, dtype=jnp.float32), (batch, num_agents))
    elif order == "random":
        score = jax.random.uniform(key, (batch, num_agents))
    else:
        score = entropy(jax.nn.softmax(logits, axis=-1))
    return jnp.argsort(score, axis=-1).astype(jnp.int32)
