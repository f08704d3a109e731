"""Numbers of unknown size: the symmetric logarithm, and categorical distributions over bins that it spaces.

Hafner et al. 2023, "Mastering diverse domains through world models", equations 9 and 10. The bins stand at symexp of
equidistant points. A scalar is spread over its two neighbours as it is, not as its logarithm, so that the mean of a
distribution that was learned from many scalars is their mean.
"""

import jax
import jax.numpy as jnp

from tandem.core import Array


def symlog(x: Array) -> Array:
    """Return sign(x) log(1 + |x|), elementwise."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def symexp(y: Array) -> Array:
    """Return the x with symlog(x) = y, elementwise."""
    return jnp.sign(y) * jnp.expm1(jnp.abs(y))


def symexp_bins(limit: float, num_bins: int) -> Array:
    """Return the bins [V], in the units of the scalars; with an odd number zero is one of them.

    Args:
      limit: symlog of the largest bin.
      num_bins: V.
    """
    half = jnp.linspace(0.0, limit, (num_bins + 1) // 2) if num_bins % 2 else None
    points = jnp.linspace(-limit, limit, num_bins) if half is None else jnp.concatenate([-half[:0:-1], half])
    return symexp(points)


def two_hot(x: Array, bins: Array) -> Array:
    """Return probabilities [..., V] on the two of the bins [V] around each scalar, with the scalar as their mean.

    Scalars [...] beyond the bins go to the last one.
    """
    x = jnp.clip(x, bins[0], bins[-1])[..., None]
    edges = bins.reshape((1,) * (x.ndim - 1) + (-1,))
    below = jnp.sum(x >= edges[..., 1:-1], axis=-1)  # the bin at or below x, the last but one at most
    low, high = bins[below], bins[below + 1]
    share = ((x[..., 0] - low) / (high - low))[..., None]
    size = bins.shape[0]
    return (1.0 - share) * jax.nn.one_hot(below, size) + share * jax.nn.one_hot(below + 1, size)


def mean(logits: Array, bins: Array) -> Array:
    """Return the scalars [...] that logits [..., V] over the bins [V] represent."""
    probabilities = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
    return jnp.sum(probabilities * bins.reshape((1,) * (logits.ndim - 1) + (-1,)), axis=-1)
