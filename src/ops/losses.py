"""Losses per example and gradient surgery; the caller weighs, masks and averages."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tandem.core import Array


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

    Masked entries may be anything, even NaN. Masks may be fractional weights.
    """
    mask = mask.astype(x.dtype)
    return jnp.sum(jnp.where(mask > 0, x, 0.0) * mask) / jnp.maximum(jnp.sum(mask), 1.0)


def mean_of(x: Array, mask: Array, axis: int | None = None) -> Array:
    """Return the mean along `axis` (None = all) of x where mask is set, both of one
    shape; zero if it is set nowhere.

    If the whole mask is set, the result is that of `jnp.mean`, so that a loss and its gradient have the same bits as
    without masks. (In the program of a whole run, XLA may still round in another order.)
    """
    kept = jnp.sum(jnp.where(mask, x, 0.0), axis=axis)
    count = jnp.sum(mask, axis=axis, dtype=x.dtype)
    return jnp.where(jnp.all(mask, axis=axis), jnp.mean(x, axis=axis), kept / jnp.maximum(count, 1.0))


def error_loss(kind: str, huber_delta: float) -> Callable[[Array], Array]:
    """Return the loss of an error, elementwise: "squared", half the square, or "huber"."""
    return {"squared": lambda error: 0.5 * error**2, "huber": lambda error: huber(error, huber_delta)}[kind]


def huber(error: Array, delta: float) -> Array:
    """Return half the square of each error up to `delta`, and beyond it the tangent there."""
    size = jnp.abs(error)
    inside = jnp.minimum(size, delta)
    return inside * (size - 0.5 * inside)


def clipped_policy_loss(log_prob: Array, old_log_prob: Array, advantage: Array, clip: float) -> Array:
    """Return PPO's policy loss [...] of actions under the new and the acting policy
    (Schulman et al. 2017, equation 7).
    """
    ratio = jnp.exp(log_prob - old_log_prob)
    return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage)


def clipped_value_loss(loss, value: Array, old_value: Array, target: Array, clip: float) -> Array:
    """Return the larger of the losses of a value and of that value kept within `clip` of the old one, [...] each.

    Args:
      loss: error [...] -> loss [...].
      value: prediction, which gets the gradient.
      old_value: prediction before the update.
      target: of the prediction.
      clip: in the units of the values.
    """
    near = old_value + jnp.clip(value - old_value, -clip, clip)
    return jnp.maximum(loss(value - target), loss(near - target))
