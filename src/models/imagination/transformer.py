"""A causal transformer over positions in time, whole sequences at once or a few positions at a time with a cache.

Both go through the same code: a whole sequence is a piece that starts at position 0 of an empty cache.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array
from tandem.models.dense import Dense

NEVER = -1e9


class Cache(NamedTuple):
    """Keys and values of the positions so far, of static size."""

    keys: Array  # [layers, R, L, heads, d]
    values: Array  # [layers, R, L, heads, d]


class Block(nn.Module):
    """Pre-norm attention over time and a feed-forward layer (Radford et al. 2019), without dropout."""

    heads: int
    width: int
    hidden: int

    def setup(self):
        self.norm, self.norm_inner = nn.LayerNorm(), nn.LayerNorm()
        self.qkv, self.out = Dense(3 * self.width), Dense(self.width)
        self.inner, self.outer = Dense(self.hidden), Dense(self.width)

    def project(self, x: Array) -> tuple[Array, Array, Array]:
        """Return queries, keys and values [R, Q, heads, d] of x [R, Q, W]."""
        qkv = self.qkv(self.norm(x)).reshape(*x.shape[:-1], 3, self.heads, -1)
        return qkv[..., 0, :, :], qkv[..., 1, :, :], qkv[..., 2, :, :]

    def attend(self, x: Array, query: Array, keys: Array, values: Array, seen: Array) -> Array:
        """Return x [R, Q, W] after attention to keys and values [R, L, heads, d] where seen [R, Q, L]."""
        scores = jnp.einsum("rqhd,rlhd->rhql", query, keys) / query.shape[-1] ** 0.5
        weights = jax.nn.softmax(jnp.where(seen[:, None], scores, NEVER), axis=-1)
        mixed = jnp.einsum("rhql,rlhd->rqhd", weights, values).reshape(x.shape)
        x = x + self.out(mixed)
        return x + self.outer(nn.gelu(self.inner(self.norm_inner(x))))


class Transformer(nn.Module):
    """Blocks and a last norm."""

    layers: int
    heads: int
    width: int
    hidden: int

    def setup(self):
        self.blocks = [Block(self.heads, self.width, self.hidden) for _ in range(self.layers)]
        self.norm = nn.LayerNorm()

    def __call__(self, x: Array, seen: Array) -> tuple[Array, Cache]:
        """Return features [R, L, W] of whole sequences x [R, L, W], which see [R, L, L], and keys and values."""
        kept = []
        for block in self.blocks:
            query, keys, values = block.project(x)
            x = block.attend(x, query, keys, values, seen)
            kept.append((keys, values))
        return self.norm(x), Cache(*(jnp.stack(each) for each in zip(*kept, strict=True)))

    def extend(self, x: Array, cache: Cache, at: Array, seen: Array) -> tuple[Array, Cache]:
        """Return features [R, Q, W] of further positions x [R, Q, W], and the cache with them.

        Args:
          at: [] int32, the position of the first of them, the same for all rows.
          seen: [R, Q, L] which positions of the cache each of them sees, itself included.
        """
        kept = []
        for layer, block in enumerate(self.blocks):
            query, keys, values = block.project(x)
            keys, values = (
                jax.lax.dynamic_update_slice(old[layer], new, (0, at, 0, 0))
                for old, new in zip(cache, (keys, values), strict=True)
            )
            x = block.attend(x, query, keys, values, seen)
            kept.append((keys, values))
        return self.norm(x), Cache(*(jnp.stack(each) for each in zip(*kept, strict=True)))


def no_cache(layers: int, rows: int, length: int, heads: int, width: int) -> Cache:
    """Return a cache with room for `length` positions of `rows` rows, of which none is taken."""
    shape = (layers, rows, length, heads, width // heads)
    return Cache(jnp.zeros(shape), jnp.zeros(shape))


def with_room(cache: Cache, length: int) -> Cache:
    """Return the cache with zeros behind its positions, up to `length` of them."""
    return Cache(*(jnp.pad(x, [(0, 0), (0, 0), (0, length - x.shape[2]), (0, 0), (0, 0)]) for x in cache))
