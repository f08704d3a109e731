"""Updates of on-policy learners from the chunks of a rollout: epochs of minibatches, clipped losses, the optimiser."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from tandem.core import ActorCritic, Array, Distribution, Key, PyTree
from tandem.learners.on_policy import Chunks, RolloutConfig
from tandem.ops.losses import clipped_policy_loss, clipped_value_loss, error_loss, masked_mean


def run_epochs(
    step: Callable[[PyTree, Any], tuple[PyTree, dict[str, Array]]], carry: PyTree, chunks: Any, key: Key,
    num_epochs: int, num_minibatches: int,
) -> tuple[PyTree, dict[str, Array]]:  # fmt: skip
    """Return the carry after all steps, and the metrics' means; every epoch shuffles the chunks into minibatches.

    Args:
      step: carry, minibatch -> carry, metrics.
      chunks: pytree [M, ...]; `num_minibatches` must divide M.
      num_epochs: 1 or more.
    """
    num_chunks = jax.tree.leaves(chunks)[0].shape[0]

    def one(carry: PyTree, rows: Array):
        return step(carry, jax.tree.map(lambda x: x[rows], chunks))

    def epoch(carry: PyTree, key: Key):
        order = jax.random.permutation(key, num_chunks).reshape(num_minibatches, -1)
        return jax.lax.scan(one, carry, order)

    carry, metrics = jax.lax.scan(epoch, carry, jax.random.split(key, num_epochs))
    return carry, jax.tree.map(jnp.mean, metrics)


def policy_loss(
    config: RolloutConfig, distribution: Distribution, outputs: Array, batch: Chunks
) -> tuple[Array, dict[str, Array]]:
    """Return the clipped policy loss less the weighted entropy over living agents, and metrics: outputs
    [M, L, N, P].
    """
    log_prob = distribution.log_prob(outputs, batch.legal, batch.action)
    losses = clipped_policy_loss(log_prob, batch.log_prob, batch.advantage, config.clip)
    loss = masked_mean(losses, batch.alive)
    entropy = masked_mean(distribution.entropy(outputs, batch.legal), batch.alive)
    log_ratio = log_prob - batch.log_prob
    clipped = (jnp.abs(jnp.exp(log_ratio) - 1.0) > config.clip).astype(jnp.float32)
    metrics = {
        "train/policy_loss": loss,
        "train/entropy": entropy,
        # Schulman's estimator (r - 1) - log r: never negative, less noisy than -log r.
        "train/approx_kl": masked_mean(jnp.exp(log_ratio) - 1.0 - log_ratio, batch.alive),
        "train/clip_fraction": masked_mean(clipped, batch.alive),
    }
    return loss - config.entropy_weight * entropy, metrics


def value_loss(config: RolloutConfig, value: Array, batch: Chunks) -> Array:
    """Return the mean loss of values [M, L, N]."""
    loss = error_loss(config.value_loss, config.huber_delta)
    if config.value_clip > 0.0:
        losses = clipped_value_loss(loss, value, batch.value, batch.value_target, config.value_clip)
    else:
        losses = loss(value - batch.value_target)
    return masked_mean(losses, batch.valued)


def make_adam(
    config: RolloutConfig, model: ActorCritic, rate: float, total_steps: int
) -> tuple[optax.GradientTransformation, Callable]:
    """Return Adam after clipping of the gradients' norm, and its schedule: linear over
    `total_steps` optimiser steps.
    """
    schedule = optax.linear_schedule(rate, rate * config.final_rate_fraction, max(total_steps, 1))
    clip = optax.clip_by_global_norm(config.max_grad_norm)
    if (
        model.params_by_agent
    ):  # agents' networks are one tree, but one agent's gradients must not shorten another's step
        clip = _for_each_agent(clip)
    return optax.chain(clip, optax.adam(schedule, eps=config.adam_epsilon)), schedule


def _for_each_agent(clip: optax.GradientTransformation) -> optax.GradientTransformation:
    """Return a stateless transformation that treats each agent's gradients in [N, ...] separately."""
    return optax.stateless(
        lambda gradients, params: jax.vmap(lambda own: clip.update(own, optax.EmptyState())[0])(gradients)
    )
