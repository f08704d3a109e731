"""Imitating recorded actions, and estimating from them the policy that made them.

Rows in which an agent has but one legal action say nothing of its policy. They are left out: their likelihood is one,
so they would dilute the mean, and more so the sooner agents die.
"""

import jax
import jax.numpy as jnp

from tandem.core import Array, BehaviourPolicy, Params, Transition
from tandem.learners.value_targets import alone, cut
from tandem.ops.distributions import CATEGORICAL
from tandem.ops.losses import masked_mean
from tandem.ops.masking import masked_softmax

BEHAVIOUR = "behaviour"  # the behaviour's parameters among those of a network


def choosing(rows: Transition) -> Array:
    """Return which agents of rows [..., N, ...] live and have a choice, [..., N] bool."""
    return rows.alive & (jnp.sum(rows.legal, axis=-1) > 1)


def likelihood_loss(log_prob: Array, rows: Transition, weight: Array) -> Array:
    """Return the mean of -weight log pi(a) over agents that have a choice.

    Args:
      log_prob: [B, T, N] of the data's actions.
      weight: [B, T, N], or [B] of sequences.
    """
    weight = weight.reshape(*weight.shape, *[1] * (log_prob.ndim - weight.ndim))
    return masked_mean(-weight * log_prob, choosing(rows))


def held_out(log_prob: Array, action: Array, rows: Transition) -> dict[str, Array]:
    """Return the metrics of episodes that were not learned from, summed over agents that have a choice.

    Args:
      log_prob: [E, L, N] of the data's actions, by what imitates them.
      action: [E, L, N, ...] what would be played.
    """
    free = choosing(rows)
    agreed = action == rows.action if action.ndim == free.ndim else jnp.zeros_like(free)
    return {
        "count": jnp.sum(free, dtype=jnp.float32),
        "offline/holdout_nll": -jnp.sum(jnp.where(free, log_prob, 0.0)),
        "offline/holdout_agreement": jnp.sum(free & agreed, dtype=jnp.float32),
    }


def behaviour_loss(logits: Array, rows: Transition, weight: Array) -> Array:
    """Return the negative log-likelihood [] of the data's actions under logits [B, T, N, A]."""
    return likelihood_loss(CATEGORICAL.log_prob(logits, rows.legal, rows.action), rows, weight)


def behaviour_logits(face: BehaviourPolicy, params: Params, traj: Transition, burn_in: int) -> tuple[Array, Array]:
    """Return logits [B, T, N, A] of a behaviour at the rows after those burned in, and at their true successors.

    A sequence begins without memory, because whoever made the data had another.
    """
    after, now = face.logits(params, face.memory(traj.first.shape[0]), traj.obs, traj.first)
    after, now, rows = cut((after, now, traj), burn_in)
    memory, obs = alone((after, rows.next_obs), rows.first.shape)
    _, then = face.logits(params, memory, obs[:, None], jnp.zeros((obs.shape[0], 1), bool))
    return now, then.reshape(now.shape)


def probabilities(logits: tuple[Array, Array], rows: Transition) -> tuple[Array, Array]:
    """Return what logits at rows and at their successors say is played [B, T, N, A], without a gradient."""
    now, then = jax.lax.stop_gradient(logits)
    return masked_softmax(now, rows.legal), masked_softmax(then, rows.next_legal)
