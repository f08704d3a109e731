"""Distributions of an agent's action: one of a list (categorical), or numbers with normal
distributions (Gaussian).

`legal` [..., A] says which entries of a list may be played, and which of the A numbers an agent has; the others are
padding, which is played as zero and ignored. Learners and planners only use `core.Distribution`, so they do not depend
on the kind.

A Gaussian is not cut off at the range [-1, 1] of an action. The environment clips what it gets, which is part of its
dynamics, like friction. So PPO needs the density of the sample as it was drawn, and the gradient is unbiased. The
Gaussian's density at a clipped action would be wrong, because that action is played with the probability of everything
beyond the border. Fujita and Maeda 2018 ("Clipped action policy gradient") use that probability.
"""

import math

import jax
import jax.numpy as jnp

from tandem.core import Array, Discrete, Distribution, Key, Numbers
from tandem.ops.masking import masked_logits, masked_softmax

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def of(actions: Discrete | Numbers) -> Distribution:
    """Return the distribution of actions in a space."""
    return GAUSSIAN if actions.continuous else CATEGORICAL


def draw(key: Key, logits: Array) -> Array:
    """Return one action [...] per distribution of logits [..., A], by inverting the cumulative distribution.

    One uniform number per draw, where Gumbel-max needs A: at every node of a tree that is most of the random bits.
    """
    return draw_by_luck(jax.random.uniform(key, logits.shape[:-1]), logits)


def draw_by_luck(luck: Array, logits: Array) -> Array:
    """Return the action [...] at quantile luck [...] in [0, 1) of each distribution of logits [..., A]."""
    cumulative = jnp.cumsum(jax.nn.softmax(logits, axis=-1), axis=-1)
    threshold = luck[..., None] * cumulative[..., -1:]
    return jnp.sum(threshold >= cumulative, axis=-1, dtype=jnp.int32).clip(0, logits.shape[-1] - 1)


def _log_softmax(logits: Array, legal: Array) -> Array:
    return jax.nn.log_softmax(masked_logits(logits, legal), axis=-1)


def _categorical_log_prob(logits: Array, legal: Array, action: Array) -> Array:
    # A product with the one-hot action: the gradient of an indexed read is a scatter, slow on CPU.
    return jnp.sum(_log_softmax(logits, legal) * jax.nn.one_hot(action, logits.shape[-1]), axis=-1)


def _categorical_entropy(logits: Array, legal: Array) -> Array:
    logs = _log_softmax(logits, legal)
    return -jnp.sum(jnp.exp(logs) * logs, axis=-1)


def _categorical_kl(p: Array, q: Array, legal: Array) -> Array:
    p_logs, q_logs = (_log_softmax(logits, legal) for logits in (p, q))
    return jnp.sum(jnp.exp(p_logs) * (p_logs - q_logs), axis=-1)


CATEGORICAL = Distribution(
    sample=lambda key, logits, legal: draw(key, masked_logits(logits, legal)),
    mode=lambda logits, legal: jnp.argmax(masked_logits(logits, legal), axis=-1).astype(jnp.int32),
    log_prob=_categorical_log_prob,
    entropy=_categorical_entropy,
    kl_divergence=_categorical_kl,
    describe=masked_softmax,
)


def gaussian_outputs(mean: Array, log_std: Array) -> Array:
    """Return a policy's outputs [..., 2A] of means [..., A] and of the logarithms of standard deviations [A]."""
    return jnp.concatenate([mean, jnp.broadcast_to(log_std, mean.shape)], axis=-1)


def _gaussian_sample(key: Key, outputs: Array, legal: Array) -> Array:
    mean, log_std = jnp.split(outputs, 2, axis=-1)
    return jnp.where(legal, mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape), 0.0)


def _gaussian_mean(outputs: Array, legal: Array) -> Array:
    return jnp.where(legal, jnp.split(outputs, 2, axis=-1)[0], 0.0)


def _gaussian_log_prob(outputs: Array, legal: Array, action: Array) -> Array:
    mean, log_std = jnp.split(outputs, 2, axis=-1)
    away = (action - mean) * jnp.exp(-log_std)
    return _sum(-0.5 * away**2 - log_std - HALF_LOG_TWO_PI, legal)


def _gaussian_entropy(outputs: Array, legal: Array) -> Array:
    _, log_std = jnp.split(outputs, 2, axis=-1)
    return _sum(log_std + HALF_LOG_TWO_PI + 0.5, legal)


def _gaussian_kl(p: Array, q: Array, legal: Array) -> Array:
    (p_mean, p_log_std), (q_mean, q_log_std) = (jnp.split(outputs, 2, axis=-1) for outputs in (p, q))
    away = (p_mean - q_mean) * jnp.exp(-q_log_std)
    wider = p_log_std - q_log_std
    return _sum(0.5 * (jnp.exp(2.0 * wider) + away**2 - 1.0) - wider, legal)


def _sum(terms: Array, legal: Array) -> Array:
    """Return the sum [...] of terms [..., A] over the numbers that an agent has."""
    return jnp.sum(jnp.where(legal, terms, 0.0), axis=-1)


GAUSSIAN = Distribution(
    sample=_gaussian_sample,
    mode=_gaussian_mean,
    log_prob=_gaussian_log_prob,
    entropy=_gaussian_entropy,
    kl_divergence=_gaussian_kl,
    describe=_gaussian_mean,
)
