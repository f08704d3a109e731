"""Scalars as categorical distributions over a transformed axis, for values and rewards of unknown scale.

Value transform: Pohlen et al. 2018, "Observe and look further", proposition A.2. Two-hot targets: Schrittwieser et al.
2020, appendix F.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tandem.core import Array

EPSILON = 1e-3  # slope of h far from zero, so that its inverse has a bounded derivative


class Support(NamedTuple):
    """A fixed set of bins and the two maps between scalars and distributions over it."""

    target: Callable[[Array], Array]  # scalars [...] -> probabilities [..., V]
    mean: Callable[[Array], Array]  # logits [..., V] -> scalars [...]
    num_bins: int


def make_support(low: float, high: float, num_bins: int) -> Support:
    """Return the support with `num_bins` equidistant bins from `low` to `high`, both in units of h(x)."""

    def target(x: Array) -> Array:
        return to_two_hot(x, low, high, num_bins)

    def expectation(logits: Array) -> Array:
        return mean(logits, low, high)

    return Support(target=target, mean=expectation, num_bins=num_bins)


def transform(x: Array, epsilon: float = EPSILON) -> Array:
    """Return h(x) = sign(x) (sqrt(|x| + 1) - 1) + epsilon x, elementwise.

    This form avoids the difference of near-equal numbers, which would lose float32's digits around zero.
    """
    return x / (jnp.sqrt(jnp.abs(x) + 1.0) + 1.0) + epsilon * x


def inverse_transform(y: Array, epsilon: float = EPSILON) -> Array:
    """Return the x with h(x) = y, elementwise.

    With u = sqrt(|x| + 1) - 1, h is epsilon u^2 + (1 + 2 epsilon) u = |y|. The root u is computed in the form that
    neither divides by epsilon nor cancels. Then |x| = u (u + 2).
    """
    slope = 1.0 + 2.0 * epsilon
    size = jnp.abs(y)
    per_size = 2.0 / (slope + jnp.sqrt(slope**2 + 4.0 * epsilon * size))  # u / |y|
    return y * per_size * (size * per_size + 2.0)


def to_two_hot(x: Array, low: float, high: float, num_bins: int) -> Array:
    """Return probabilities [..., V] on the two bins around h(x), with mean h(x), of scalars x [...].

    Scalars beyond the support go to its last bin, with no gradient.
    """
    y = jnp.clip(transform(x.astype(jnp.float32)), low, high)
    position = (y - low) * ((num_bins - 1) / (high - low))
    bins = jnp.arange(num_bins, dtype=jnp.float32).reshape((1,) * x.ndim + (num_bins,))
    return jnp.maximum(1.0 - jnp.abs(position[..., None] - bins), 0.0)


def mean(logits: Array, low: float, high: float) -> Array:
    """Return the scalars [...] that logits [..., V] represent: the inverse transform of the bins' mean."""
    probabilities = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
    bins = jnp.linspace(low, high, logits.shape[-1], dtype=jnp.float32).reshape((1,) * (logits.ndim - 1) + (-1,))
    return inverse_transform(jnp.sum(probabilities * bins, axis=-1))
