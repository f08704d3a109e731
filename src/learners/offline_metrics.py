"""Metrics that show, without playing, whether values learned from recorded data can be trusted."""

import jax
import jax.numpy as jnp

from tandem.core import Array, Transition
from tandem.learners.cloning import choosing
from tandem.learners.q import Learned
from tandem.ops.backups import chosen, supported
from tandem.ops.losses import masked_mean
from tandem.ops.returns import lambda_returns

RAREST = 1e-4  # floor of the behaviour's probabilities in divergences

METRICS = (
    "offline/q_greedy", "offline/q_gap", "offline/q_bias", "offline/known_share", "offline/ood_share",
    "offline/behaviour_kl", "offline/agreement",
)  # fmt: skip


def named(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return metrics' names with their groups: `train`, where a name has none."""
    return tuple(name if "/" in name else f"train/{name}" for name in names)


def measured(values: Array, learned: Learned, discount: float, threshold: float) -> dict[str, Array]:
    """Return the metrics of rows.

    Args:
      values: [B, T, N, A] that the policy maximises; minus infinity for excluded actions.
      threshold: least probability of an action of the data, as a share of the likeliest action's.
    """
    rows, opinion, counts = learned.rows, learned.opinion, learned.counts
    action = jnp.argmax(jnp.where(rows.legal, values, -jnp.inf), axis=-1)
    best = jax.lax.stop_gradient(learned.team(chosen(learned.values, action)))
    predicted = jax.lax.stop_gradient(learned.predicted)
    paid, known = returns_to_go(rows, learned.reward, discount, counts.shape[-1])
    known = known & counts
    return {
        "offline/q_greedy": masked_mean(best, counts),
        "offline/q_gap": masked_mean(best - predicted, counts),
        "offline/q_bias": masked_mean(predicted - paid, known) / learned.scale,
        "offline/known_share": jnp.sum(known) / jnp.maximum(jnp.sum(counts), 1.0),
    } | of_actions(action, rows, opinion.now, threshold)


def of_actions(action: Array, rows: Transition, behaviour: Array, threshold: float) -> dict[str, Array]:
    """Return the divergence of actions [B, T, N] from the data's policy [B, T, N, A], for agents with a choice."""
    free, probability = choosing(rows), chosen(behaviour, action)
    return {
        "offline/ood_share": masked_mean(1.0 - chosen(supported(behaviour, threshold), action), free),
        "offline/behaviour_kl": masked_mean(-jnp.log(jnp.maximum(probability, RAREST)), free),
        "offline/agreement": masked_mean((action == rows.action).astype(jnp.float32), free),
    }


def returns_to_go(rows: Transition, reward: Array, discount: float, num_values: int) -> tuple[Array, Array]:
    """Return the discounted returns of the stored episodes from each row on, and where they are known; both [B, T, M].

    A return is known if the rest of the episode lies within the sequence and ends by itself. Beyond a time limit the
    values continue, but the episode does not. An agent's own value ends with its death, as its targets do.

    Args:
      reward: [B, T] the team's.
      num_values: M, one for the team or one for each agent.
    """
    going_on = jnp.any(rows.next_alive, axis=-1, keepdims=True) if num_values == 1 else rows.next_alive
    ended = rows.terminated[..., None] | ~going_on

    def one(reward: Array, ended: Array, truncated: Array) -> tuple[Array, Array]:
        nothing = jnp.zeros_like(reward)
        paid = lambda_returns(reward, nothing, ended, truncated, discount, 1.0)
        reached = lambda_returns(ended.astype(reward.dtype), nothing, ended, truncated, 1.0, 1.0)
        return paid, reached > 0.5

    over_values = jax.vmap(one, in_axes=(None, 1, None), out_axes=1)
    return jax.vmap(over_values)(reward, ended, rows.truncated)
