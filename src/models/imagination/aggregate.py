"""How an agent takes up what all agents see and do at one step; time is the transformer's."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array
from tandem.models.attention import TransformerBlock
from tandem.models.dense import Dense


class TeamAttention(nn.Module):
    """One layer of attention over agents, with a learned score for each pair of agents and head.

    The score lets a head look at one particular teammate, whatever it does: an observation shows teammates by their
    places in a list, and who is in which place differs between agents.
    """

    heads: int
    width: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map what agents see and do [..., N, W] to what is added to it [..., N, W]."""
        agents = x.shape[-2]
        qkv = Dense(3 * self.width, name="qkv")(nn.LayerNorm()(x))
        qkv = qkv.reshape(*x.shape[:-1], 3, self.heads, -1)
        query, key, value = (qkv[..., i, :, :] for i in range(3))  # [..., N, H, d]
        pairs = self.param("pairs", nn.initializers.normal(1.0), (agents, agents, self.heads))
        # Broadcast products, as in models/attention.py: for few agents quicker than tiny matrix products.
        scores = jnp.sum(query[..., :, None, :, :] * key[..., None, :, :, :], axis=-1) / query.shape[-1] ** 0.5
        scores = scores + jnp.broadcast_to(pairs, scores.shape)
        weights = jax.nn.softmax(scores, axis=-2)
        mixed = jnp.sum(weights[..., None] * value[..., None, :, :, :], axis=-3)
        return Dense(self.width, name="out")(mixed.reshape(x.shape))


class Perceiver(nn.Module):
    """Learned queries, one for each agent, that read all agents' tokens and actions (Jaegle et al. 2021).

    MARIE (Zhang et al. 2024), with an embedding for a token's place in the observation beside that of its agent,
    without which the codes of an observation are a bag.
    """

    heads: int
    width: int
    depth: int = 2

    @nn.compact
    def __call__(self, pieces: Array) -> Array:
        """Map embedded tokens and actions [..., N, K + 1, W] to what is added to each agent's [..., N, W]."""
        agents, slots = pieces.shape[-3:-1]
        start = nn.initializers.normal(0.02)
        places = (
            self.param("slots", start, (slots, self.width))[None]
            + self.param("agents", start, (agents, self.width))[:, None]
        )
        read = pieces + jnp.broadcast_to(places, pieces.shape)
        read = nn.LayerNorm()(read.reshape(*pieces.shape[:-3], agents * slots, self.width))
        queries = self.param("queries", nn.initializers.normal(1.0), (agents, self.width))
        x = jnp.broadcast_to(queries, (*pieces.shape[:-3], agents, self.width))
        x = x + self._read(nn.LayerNorm()(x), read)
        x = x + Dense(self.width)(nn.gelu(Dense(4 * self.width)(nn.LayerNorm()(x))))
        for _ in range(self.depth):
            x = TransformerBlock(self.heads, 4 * self.width)(x)
        return x

    def _read(self, x: Array, read: Array) -> Array:
        query = Dense(self.width, name="query")(x).reshape(*x.shape[:-1], self.heads, -1)
        kv = Dense(2 * self.width, name="kv")(read).reshape(*read.shape[:-1], 2, self.heads, -1)
        scores = jnp.einsum("...qhd,...lhd->...hql", query, kv[..., 0, :, :]) / query.shape[-1] ** 0.5
        mixed = jnp.einsum("...hql,...lhd->...qhd", jax.nn.softmax(scores, axis=-1), kv[..., 1, :, :])
        return Dense(self.width, name="out")(mixed.reshape(x.shape))
