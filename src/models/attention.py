"""Attention between the agents of a team, written for few agents."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array
from tandem.models.dense import Dense


class AgentAttention(nn.Module):
    """Multi-head self-attention over the agent axis (Vaswani et al. 2017, section 3.2).

    Scores are broadcast products summed over the head's width instead of batched matrix products. For teams of a few
    agents, XLA's CPU backend runs thousands of tiny matrix products far slower than one fused elementwise loop.
    """

    num_heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [..., N, D] to [..., N, D]."""
        num_agents, width = x.shape[-2:]
        head_width = width // self.num_heads
        qkv = Dense(3 * width, dtype=self.dtype, name="qkv")(x)
        qkv = qkv.reshape(*x.shape[:-1], 3, self.num_heads, head_width)
        query, key, value = (qkv[..., i, :, :] for i in range(3))  # [..., N, H, d]
        if num_agents <= 8:
            scores = jnp.sum(query[..., :, None, :, :] * key[..., None, :, :, :], axis=-1)  # [..., N, N, H]
            weights = jax.nn.softmax(scores / head_width**0.5, axis=-2)
            mixed = jnp.sum(weights[..., None] * value[..., None, :, :, :], axis=-3)  # [..., N, H, d]
        else:
            scores = jnp.einsum("...qhd,...khd->...qkh", query, key)
            weights = jax.nn.softmax(scores / head_width**0.5, axis=-2)
            mixed = jnp.einsum("...qkh,...khd->...qhd", weights, value)
        return Dense(width, dtype=self.dtype, name="out")(mixed.reshape(x.shape))


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward block over the agent axis. It has no dropout, so acting equals learning."""

    num_heads: int
    hidden: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [..., N, D] to [..., N, D]."""
        x = x + AgentAttention(self.num_heads, self.dtype)(nn.LayerNorm(dtype=self.dtype)(x))
        hidden = nn.relu(Dense(self.hidden, dtype=self.dtype)(nn.LayerNorm(dtype=self.dtype)(x)))
        return x + Dense(x.shape[-1], dtype=self.dtype)(hidden)
