"""Distributions over the legal actions. `legal` is True for actions that may be played, and never all False."""

import jax
import jax.numpy as jnp

from tandem.core import Array

# A logit that is never chosen. Finite, because logits are subtracted from one another and multiplied by zero.
NEVER = -1e9
TINY = jnp.finfo(jnp.float32).tiny


def masked_logits(logits: Array, legal: Array) -> Array:
    """Return logits [..., A] with illegal actions set to NEVER."""
    return jnp.where(legal, logits, NEVER)


def masked_softmax(logits: Array, legal: Array) -> Array:
    """Return the softmax over legal actions [..., A]; illegal ones get exactly zero."""
    return jax.nn.softmax(masked_logits(logits, legal), axis=-1)


def renormalise(probabilities: Array, legal: Array) -> Array:
    """Return probabilities [..., A] restricted to legal actions; uniform over them if no legal action had weight."""
    kept = jnp.where(legal, probabilities, 0.0)
    total = jnp.sum(kept, axis=-1, keepdims=True)
    uniform = legal / jnp.sum(legal, axis=-1, keepdims=True)
    return jnp.where(total > 0, kept / jnp.where(total > 0, total, 1.0), uniform)


def entropy(probabilities: Array) -> Array:
    """Return the entropy [...] in nats of distributions [..., A]; zeros contribute nothing, also to the gradient."""
    logs = jnp.log(jnp.where(probabilities > 0, probabilities, 1.0))
    return -jnp.sum(probabilities * logs, axis=-1)


def kl_divergence(p: Array, q: Array) -> Array:
    """Return KL(p || q) [...] in nats of distributions [..., A].

    Entries with p = 0 contribute nothing; if only q is zero, the result is large and finite.
    """
    ratio = jnp.log(jnp.where(p > 0, p, 1.0)) - jnp.log(jnp.where(p > 0, jnp.maximum(q, TINY), 1.0))
    return jnp.sum(p * ratio, axis=-1)
