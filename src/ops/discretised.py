"""Whole numbers 0 .. V - 1 as a mixture of rounded logistic distributions, whose cost does not grow with V.

Salimans et al. 2017, "PixelCNN++", section 2.1: what lies beyond the first and the last number counts as these. Here
components are in whole-number units. Their scale has a floor, below which a bell is narrower than a rounding step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tandem.core import Array
from tandem.ops.distributions import draw_by_luck

SHARPEST = 0.12  # scale of a logistic that puts 0.97 on one whole number


class Mixture(NamedTuple):
    """M components of each variable."""

    logits: Array  # [..., M]
    centre: Array  # [..., M] in units of the numbers
    scale: Array  # [..., M] positive


def log_prob(mixture: Mixture, code: Array, num_codes: int) -> Array:
    """Return the log-probability [...] in nats of whole numbers [...]."""
    away = code.astype(jnp.float32)[..., None] - mixture.centre
    above, below = (away + 0.5) / mixture.scale, (away - 0.5) / mixture.scale
    # log(sigmoid(a) - sigmoid(b)) without the difference of near-equal numbers: it is
    # log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a)), and a - b = 1 / scale.
    middle = jax.nn.log_sigmoid(above) + jax.nn.log_sigmoid(-below) + jnp.log1p(-jnp.exp(-1.0 / mixture.scale))
    first, last = (code == 0)[..., None], (code == num_codes - 1)[..., None]
    each = jnp.where(first, jax.nn.log_sigmoid(above), jnp.where(last, jax.nn.log_sigmoid(-below), middle))
    return jax.nn.logsumexp(jax.nn.log_softmax(mixture.logits, axis=-1) + each, axis=-1)


def sample(which: Array, where: Array, mixture: Mixture, num_codes: int) -> Array:
    """Return whole numbers [...] int32: a component is drawn, then a number of its logistic, which is rounded.

    Args:
      which: [...] uniform numbers in (0, 1), quantiles of the components in their order.
      where: [...] uniform numbers in (0, 1), quantiles of the component's logistic.
    """
    chosen = jax.nn.one_hot(draw_by_luck(which, mixture.logits), mixture.logits.shape[-1])
    centre, scale = (jnp.sum(x * chosen, axis=-1) for x in (mixture.centre, mixture.scale))
    return _rounded(centre + scale * (jnp.log(where) - jnp.log1p(-where)), num_codes)


def mode(mixture: Mixture, num_codes: int) -> Array:
    """Return the whole number [...] int32 nearest to the centre of the likeliest component."""
    chosen = jax.nn.one_hot(jnp.argmax(mixture.logits, axis=-1), mixture.logits.shape[-1])
    return _rounded(jnp.sum(mixture.centre * chosen, axis=-1), num_codes)


def _rounded(x: Array, num_codes: int) -> Array:
    return jnp.clip(jnp.round(x), 0, num_codes - 1).astype(jnp.int32)
