"""Numbers and vectors as one of a few codes: fixed bins, finite scalar quantisation, and a learned codebook.

All pass gradients through their rounding (straight-through, Bengio et al. 2013), except the bins, whose inputs are
not learned.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Array
from tandem.ops.symlog import symexp, symlog


def to_bins(x: Array, limit: Array | float, num_bins: int) -> Array:
    """Return the nearest bin [...] int32 of numbers [...]: bins are equidistant in symlog(x) from -limit to limit.

    Args:
      limit: position of the last bin, one for all or [...]; numbers beyond it go there.
      num_bins: odd, so that zero has a bin.
    """
    most = symlog(jnp.asarray(limit, jnp.float32))
    place = (symlog(x.astype(jnp.float32)) / most + 1.0) * ((num_bins - 1) / 2)
    return jnp.clip(jnp.round(place), 0, num_bins - 1).astype(jnp.int32)


def from_bins(code: Array, limit: Array | float, num_bins: int) -> Array:
    """Return the numbers [...] float32 at the bins [...]; that of the middle bin is exactly zero."""
    most = symlog(jnp.asarray(limit, jnp.float32))
    return symexp((code - (num_bins - 1) // 2).astype(jnp.float32) * (most * (2 / (num_bins - 1))))


def bound(z: Array, levels: Sequence[int]) -> Array:
    """Return numbers [..., L], bounded so that rounding gives `levels[i]` whole numbers in column i.

    Mentzer et al. 2024, "Finite scalar quantization: VQ-VAE made simple", section 3.1 and appendix A.1. Columns with
    an even number of levels are shifted by a half.
    """
    half, shift, offset = (_columns(x, z.ndim) for x in _fsq_sizes(levels))
    return jnp.tanh(z + shift) * half - offset


def fsq(z: Array, levels: Sequence[int]) -> Array:
    """Return bounded and rounded numbers [..., L] in [-1, 1]; gradients ignore the rounding."""
    bounded = bound(z, levels)
    rounded = bounded + jax.lax.stop_gradient(jnp.round(bounded) - bounded)
    return rounded / _columns(_half_widths(levels), z.ndim)


def fsq_code(quantised: Array, levels: Sequence[int]) -> Array:
    """Return the code [...] int32 of quantised numbers [..., L]: a number with the levels as its bases."""
    widths = _columns(_half_widths(levels), quantised.ndim)
    digits = jnp.round(quantised * widths + widths).astype(jnp.int32)
    return jnp.sum(digits * _columns(_bases(levels), quantised.ndim), axis=-1)


def fsq_numbers(code: Array, levels: Sequence[int]) -> Array:
    """Return the quantised numbers [..., L] of codes [...]."""
    shape = (1,) * code.ndim + (-1,)
    digits = code[..., None] // jnp.asarray(_bases(levels)).reshape(shape) % jnp.asarray(levels).reshape(shape)
    widths = jnp.asarray(_half_widths(levels)).reshape(shape)
    return (digits - widths) / widths


def nearest(z: Array, codebook: Array) -> Array:
    """Return which vector of the codebook [V, E] is nearest to each of z [..., E]: [...] int32."""
    flat = z.reshape(-1, z.shape[-1])
    squares = jnp.sum(codebook**2, axis=-1)[None] - 2.0 * flat @ codebook.T  # |z|^2 is the same for all vectors
    return jnp.argmin(squares, axis=-1).astype(jnp.int32).reshape(z.shape[:-1])


def moved_codebook(
    counts: Array, sums: Array, z: Array, code: Array, weight: Array, decay: float
) -> tuple[Array, Array, Array]:
    """Return running counts [V], running sums [V, E] and the codebook [V, E] after a batch.

    van den Oord et al. 2017, "Neural discrete representation learning", appendix A.1. A code that is hardly used keeps
    its vector, because counts and sums shrink together.

    Args:
      z: [M, E] vectors.
      code: [M] the nearest code of each.
      weight: [M] 0 or 1.
      decay: of counts and sums.
    """
    used = jax.nn.one_hot(code, counts.shape[0]) * weight[:, None]
    counts = decay * counts + (1.0 - decay) * jnp.sum(used, axis=0)
    sums = decay * sums + (1.0 - decay) * used.T @ z
    return counts, sums, sums / jnp.maximum(counts, 1e-6)[:, None]


def _fsq_sizes(levels: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return by column: half the range of the bounded numbers, the shift before tanh, and the offset after it."""
    sizes = np.asarray(levels, np.float64)
    half = (sizes - 1) * (1 + 1e-3) / 2
    offset = np.where(sizes % 2 == 0, 0.5, 0.0)
    return half.astype(np.float32), np.arctanh(offset / half).astype(np.float32), offset.astype(np.float32)


def _half_widths(levels: Sequence[int]) -> np.ndarray:
    return (np.asarray(levels) // 2).astype(np.float32)


def _bases(levels: Sequence[int]) -> np.ndarray:
    return np.concatenate([[1], np.cumprod(levels)[:-1]]).astype(np.int32)


def _columns(x: np.ndarray, ndim: int) -> Array:
    return jnp.asarray(x).reshape((1,) * (ndim - 1) + (-1,))
