"""Losses per example and gradient surgery; the caller weighs, masks and averages."""

import jax
import jax.numpy as jnp

from src.core import Array


def cross_entropy(logits: Array, target: Array) -> Array:
    """Return -sum_v target log softmax(logits) [...] of logits and target probabilities [..., V], in float32.

    Masked logits have to be finite (see `masking`): zero probability times minus infinity is not a number.
    """
    return -jnp.sum(target * jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1), axis=-1)


def cosine_loss(prediction: Array, target: Array) -> Array:
    """Return the negative cosine similarity [...] of vectors [..., P]; no gradient reaches `target`.

    Chen and He 2021, "Exploring simple Siamese representation learning", equations 1 and 3.
    """
    target = jax.lax.stop_gradient(target)
    return -jnp.sum(_unit(prediction) * _unit(target), axis=-1)


def _unit(x: Array) -> Array:
    """Scale vectors [..., P] to length one; the floor keeps value and gradient finite at zero."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), 1e-8))


def scale_gradient(x: Array, scale: float) -> Array:
    """Return x unchanged, to the bit, with its gradient multiplied by `scale`."""
    fixed = jax.lax.stop_gradient(x)
    return fixed + scale * (x - fixed)


def masked_mean(x: Array, mask: Array) -> Array:
    """Return the mean of x where mask is set, both of one shape; zero if it is set nowhere.

    What is masked may be anything, also not a number. Masks may be fractional weights.
    """
    mask = mask.astype(x.dtype)
    return jnp.sum(jnp.where(mask > 0, x, 0.0) * mask) / jnp.maximum(jnp.sum(mask), 1.0)
