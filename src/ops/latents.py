"""Discrete latents: groups of categorical variables, as in DreamerV3 (Hafner et al. 2023)."""

import jax
import jax.numpy as jnp

from tandem.core import Array
from tandem.ops.distributions import draw_by_luck

UNIFORM_SHARE = 0.01  # of every categorical, so that no divergence is infinite
FREE_NATS = 1.0  # a divergence below this is not lowered further
REPRESENTATION_WEIGHT = 0.1  # of the side that moves the posterior to the prior; the other side counts in full


def mixed_logits(logits: Array) -> Array:
    """Return log-probabilities [..., C] of the softmax of logits [..., C] mixed with a uniform share."""
    return jnp.log((1.0 - UNIFORM_SHARE) * jax.nn.softmax(logits, axis=-1) + UNIFORM_SHARE / logits.shape[-1])


def straight_through(logits: Array, luck: Array | None) -> Array:
    """Return one-hot draws [..., G, C], whose gradient is that of the probabilities (Bengio et al. 2013).

    Args:
      logits: [..., G, C].
      luck: [..., G] in [0, 1), the quantiles that are drawn; None: the likeliest classes.
    """
    chosen = jnp.argmax(logits, axis=-1) if luck is None else draw_by_luck(luck, logits)
    probabilities = jax.nn.softmax(logits, axis=-1)
    drawn = jax.nn.one_hot(chosen, logits.shape[-1])
    return drawn + probabilities - jax.lax.stop_gradient(probabilities)


def divergence(logits: Array, other: Array) -> Array:
    """Return KL(logits || other), summed over groups: [..., G, C] -> [...] in nats."""
    log_p, log_q = jax.nn.log_softmax(logits, axis=-1), jax.nn.log_softmax(other, axis=-1)
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=(-2, -1))


def balanced_divergence(posterior: Array, prior: Array) -> Array:
    """Return the two divergences that fit prior and posterior to one another (DreamerV3, equation 5), [...] in nats.

    The prior learns from the posterior, and the posterior, with a tenth of the weight, from the prior.
    """
    dynamics = divergence(jax.lax.stop_gradient(posterior), prior)
    representation = divergence(posterior, jax.lax.stop_gradient(prior))
    return jnp.maximum(dynamics, FREE_NATS) + REPRESENTATION_WEIGHT * jnp.maximum(representation, FREE_NATS)
