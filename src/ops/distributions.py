"""Distributions of an agent's action: one of a list (categorical), or numbers with normal
distributions (Gaussian), or with hyperbolic tangents of normal distributions (squashed).

`legal` [..., A] says which entries of a list may be played, and which of the A numbers an agent has; the others are
padding, which is played as zero and ignored. Learners and planners only use `core.Distribution`, so they do not depend
on the kind.

A Gaussian is not cut off at the range [-1, 1] of an action. The environment clips what it gets, which is part of its
dynamics, like friction. So PPO needs the density of the sample as it was drawn, and the gradient is unbiased. The
Gaussian's density at a clipped action would be wrong, because that action is played with the probability of everything
beyond the border. Fujita and Maeda 2018 ("Clipped action policy gradient") use that probability.

A squashed Gaussian stays within (-1, 1) by itself. A soft actor-critic needs that, because its critics judge the number
that is played and their slope reaches the policy through it (Haarnoja et al. 2018, appendix C).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

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


LOWEST_LOG_STD, HIGHEST_LOG_STD = -5.0, 2.0  # of a squashed Gaussian
NEARLY_ONE = 1.0 - 1e-6  # an action in float32 may be 1 exactly, whose inverse hyperbolic tangent is infinite
# Points and weights of a mean over a standard normal distribution (Gauss-Hermite quadrature).
POINTS, WEIGHTS = (x.astype(np.float32) for x in np.polynomial.hermite_e.hermegauss(32))


def squashed_outputs(mean: Array, log_std: Array) -> Array:
    """Return a squashed policy's outputs [..., 2A] of what a network says of means and of log standard deviations.

    The latter are bounded smoothly, so that a slope is left at the bounds (Chua et al. 2018, "Deep reinforcement
    learning in a handful of trials", appendix A.1).
    """
    log_std = HIGHEST_LOG_STD - jax.nn.softplus(HIGHEST_LOG_STD - log_std)
    return jnp.concatenate([mean, LOWEST_LOG_STD + jax.nn.softplus(log_std - LOWEST_LOG_STD)], axis=-1)


def squashed_draw(key: Key, outputs: Array, legal: Array) -> tuple[Array, Array]:
    """Return actions tanh(u) [..., A] with u normal, and their log-probability [...], both with slopes by the outputs.

    log p(tanh(u)) = log p(u) - log(1 - tanh(u)^2)      Haarnoja et al. 2018, equation 21
    """
    mean, log_std = jnp.split(outputs, 2, axis=-1)
    noise = jax.random.normal(key, mean.shape)
    u = mean + jnp.exp(log_std) * noise
    log_prob = _sum(-0.5 * noise**2 - log_std - HALF_LOG_TWO_PI - _log_slope(u), legal)
    return jnp.where(legal, jnp.tanh(u), 0.0), log_prob


def _log_slope(u: Array) -> Array:
    """Return log(1 - tanh(u)^2), exactly also where tanh(u) is 1 in float32: 2 (log 2 - u - log(1 + exp(-2u)))."""
    return 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u))


def _squashed_median(outputs: Array, legal: Array) -> Array:
    return jnp.tanh(_gaussian_mean(outputs, legal))


def _squashed_log_prob(outputs: Array, legal: Array, action: Array) -> Array:
    u = jnp.arctanh(jnp.clip(action, -NEARLY_ONE, NEARLY_ONE))
    return _gaussian_log_prob(outputs, legal, u) - _sum(_log_slope(u), legal)


def _squashed_entropy(outputs: Array, legal: Array) -> Array:
    mean, log_std = (x[..., None] for x in jnp.split(outputs, 2, axis=-1))
    points, weights = (x.reshape((1,) * (mean.ndim - 1) + x.shape) for x in (POINTS, WEIGHTS / WEIGHTS.sum()))
    narrower = jnp.sum(weights * _log_slope(mean + jnp.exp(log_std) * points), axis=-1)
    return _gaussian_entropy(outputs, legal) + _sum(narrower, legal)


SQUASHED = Distribution(
    sample=lambda key, outputs, legal: squashed_draw(key, outputs, legal)[0],
    mode=_squashed_median,
    log_prob=_squashed_log_prob,
    entropy=_squashed_entropy,
    kl_divergence=_gaussian_kl,  # a function that can be inverted leaves it as it is
    describe=_squashed_median,
)
