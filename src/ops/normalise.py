"""Scales of what is learned from: running mean and spread, and a batch's own."""

import jax.numpy as jnp

from tandem.core import Array, pytree

SMALLEST_STD = 1e-4  # of what is zero throughout: whatever is divided by it stays zero

# The least standard deviation, over the root mean square. What is centred may be nearly constant: below 1e-3
# the difference of two moments in float32 is rounding error, which 1e-2 keeps out. What keeps its mean comes
# out no larger than one over it: 0.1 holds a constant return at ten, where without a floor it grows on and
# on as its spread is forgotten.
SMALLEST_RATIO = 1e-2
SMALLEST_RATIO_UNCENTRED = 0.1


@pytree
class Moments:
    """Exponentially weighted first and second moments of a scalar, with the weight seen so far (at first none)."""

    mean: Array  # [] weighted sum
    square: Array  # []
    weight: Array  # [] 1 - decay^updates


def no_moments() -> Moments:
    """Return moments of nothing."""
    return Moments(mean=jnp.zeros(()), square=jnp.zeros(()), weight=jnp.zeros(()))


def add_moments(moments: Moments, x: Array, mask: Array, decay: float) -> Moments:
    """Return the moments with those of x where mask is set, both of one shape; unchanged if it is set nowhere.

    What is masked may be anything, also not a number.
    """
    x, count = _chosen(x, mask)
    share = jnp.where(count > 0, 1.0 - decay, 0.0)
    count = jnp.maximum(count, 1.0)
    batch = (jnp.sum(x) / count, jnp.sum(x * x) / count, jnp.ones(()))
    before = (moments.mean, moments.square, moments.weight)
    mean, square, weight = ((1.0 - share) * old + share * new for old, new in zip(before, batch, strict=True))
    return Moments(mean=mean, square=square, weight=weight)


def mean_and_std(moments: Moments) -> tuple[Array, Array]:
    """Return (mean [], standard deviation []) without the bias towards zero of the first updates; (0, 1) of nothing.

    The standard deviation is for dividing by what the mean was taken from: it has a floor.
    """
    return _mean_and_std(moments, SMALLEST_RATIO)


def divisor(moments: Moments) -> Array:
    """Return the standard deviation [] for dividing by what keeps its mean, as rewards do: its floor is higher."""
    return _mean_and_std(moments, SMALLEST_RATIO_UNCENTRED)[1]


def _mean_and_std(moments: Moments, smallest_ratio: float) -> tuple[Array, Array]:
    weight = jnp.where(moments.weight > 0, moments.weight, 1.0)
    mean, square = moments.mean / weight, moments.square / weight
    floor = jnp.maximum(smallest_ratio * jnp.sqrt(square), SMALLEST_STD)
    std = jnp.maximum(jnp.sqrt(jnp.maximum(square - mean**2, 0.0)), floor)
    return mean, jnp.where(moments.weight > 0, std, 1.0)


def standardise(x: Array, mask: Array) -> Array:
    """Return x with mean zero and spread one where mask is set, both of one shape, and zero
    elsewhere, whatever stands there.
    """
    chosen, count = _chosen(x, mask)
    count = jnp.maximum(count, 1.0)
    centred = jnp.where(mask > 0, chosen - jnp.sum(chosen) / count, 0.0)
    return centred / jnp.maximum(jnp.sqrt(jnp.sum(centred**2) / count), SMALLEST_STD)


def _chosen(x: Array, mask: Array) -> tuple[Array, Array]:
    """Return x with zeros where mask is not set, and how often it is set, [] float32.

    Selected, not multiplied: zero times what is not a number is not a number.
    """
    return jnp.where(mask > 0, x, 0.0), jnp.sum((mask > 0).astype(jnp.float32))
