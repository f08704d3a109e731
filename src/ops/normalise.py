"""Normalisation of training data by running moments, or by a batch's own."""

import jax.numpy as jnp

from tandem.core import Array, pytree

SMALLEST_STD = 1e-4  # scale of data that are all zero, which stay zero when divided by it

# The least standard deviation, over the root mean square. What is centred may be nearly constant: below 1e-3
# the difference of two moments in float32 is rounding error, which 1e-2 keeps out. What keeps its mean comes
# out no larger than one over it: 0.1 holds a constant return at ten, where without a floor it grows on and
# on as its spread is forgotten.
SMALLEST_RATIO = 1e-2
SMALLEST_RATIO_UNCENTRED = 0.1


@pytree
class Moments:
    """Exponentially weighted first and second moments of a scalar, with their total weight (at first 0)."""

    mean: Array  # [] weighted sum
    square: Array  # []
    weight: Array  # [] 1 - decay^updates


def no_moments() -> Moments:
    """Return moments without any data."""
    return Moments(mean=jnp.zeros(()), square=jnp.zeros(()), weight=jnp.zeros(()))


def add_moments(moments: Moments, x: Array, mask: Array, decay: float) -> Moments:
    """Return the moments with those of x where mask is set, both of one shape; unchanged if it is set nowhere.

    Masked entries may be anything, even NaN.
    """
    x, count = _chosen(x, mask)
    share = jnp.where(count > 0, 1.0 - decay, 0.0)
    count = jnp.maximum(count, 1.0)
    batch = (jnp.sum(x) / count, jnp.sum(x * x) / count, jnp.ones(()))
    before = (moments.mean, moments.square, moments.weight)
    mean, square, weight = ((1.0 - share) * old + share * new for old, new in zip(before, batch, strict=True))
    return Moments(mean=mean, square=square, weight=weight)


def mean_and_std(moments: Moments) -> tuple[Array, Array]:
    """Return (mean [], standard deviation []) without the bias towards zero of the first updates; (0, 1) without data.

    The standard deviation is meant for dividing centred data, so it has a floor.
    """
    return _mean_and_std(moments, SMALLEST_RATIO)


def divisor(moments: Moments) -> Array:
    """Return the standard deviation [] for dividing data that keep their mean, such as rewards; its floor is higher."""
    return _mean_and_std(moments, SMALLEST_RATIO_UNCENTRED)[1]


def _mean_and_std(moments: Moments, smallest_ratio: float) -> tuple[Array, Array]:
    weight = jnp.where(moments.weight > 0, moments.weight, 1.0)
    mean, square = moments.mean / weight, moments.square / weight
    floor = jnp.maximum(smallest_ratio * jnp.sqrt(square), SMALLEST_STD)
    std = jnp.maximum(jnp.sqrt(jnp.maximum(square - mean**2, 0.0)), floor)
    return mean, jnp.where(moments.weight > 0, std, 1.0)


def standardise(x: Array, mask: Array) -> Array:
    """Return x with mean zero and spread one where mask is set, both of one shape, and zero
    elsewhere.
    """
    chosen, count = _chosen(x, mask)
    count = jnp.maximum(count, 1.0)
    centred = jnp.where(mask > 0, chosen - jnp.sum(chosen) / count, 0.0)
    return centred / jnp.maximum(jnp.sqrt(jnp.sum(centred**2) / count), SMALLEST_STD)


def _chosen(x: Array, mask: Array) -> tuple[Array, Array]:
    """Return x with zeros where mask is not set, and how often it is set, [] float32.

    Entries are selected, not multiplied, because zero times NaN is NaN.
    """
    return jnp.where(mask > 0, x, 0.0), jnp.sum((mask > 0).astype(jnp.float32))
