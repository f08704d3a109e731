"""Scales of what is learned from: running mean and spread, and a batch's own."""

import jax.numpy as jnp

from src.core import Array, pytree

SMALLEST_STD = 1e-4  # below it a quantity counts as constant and is left at about its own size


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
    """Return the moments with those of x where mask is set, both of one shape; unchanged if it is set nowhere."""
    mask = mask.astype(jnp.float32)
    share = jnp.where(jnp.sum(mask) > 0, 1.0 - decay, 0.0)
    count = jnp.maximum(jnp.sum(mask), 1.0)
    batch = (jnp.sum(mask * x) / count, jnp.sum(mask * x * x) / count, jnp.ones(()))
    before = (moments.mean, moments.square, moments.weight)
    mean, square, weight = ((1.0 - share) * old + share * new for old, new in zip(before, batch, strict=True))
    return Moments(mean=mean, square=square, weight=weight)


def mean_and_std(moments: Moments) -> tuple[Array, Array]:
    """Return (mean [], standard deviation []) without the bias towards zero of the first updates; (0, 1) of nothing."""
    weight = jnp.where(moments.weight > 0, moments.weight, 1.0)
    mean = moments.mean / weight
    variance = jnp.maximum(moments.square / weight - mean**2, 0.0)
    std = jnp.maximum(jnp.sqrt(variance), SMALLEST_STD)
    return mean, jnp.where(moments.weight > 0, std, 1.0)


def standardise(x: Array, mask: Array) -> Array:
    """Return x with mean zero and spread one where mask is set, both of one shape, and zero elsewhere."""
    mask = mask.astype(jnp.float32)
    count = jnp.maximum(jnp.sum(mask), 1.0)
    centred = mask * (x - jnp.sum(mask * x) / count)
    return centred / jnp.maximum(jnp.sqrt(jnp.sum(centred**2) / count), SMALLEST_STD)
