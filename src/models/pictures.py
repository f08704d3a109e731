"""A small convolutional encoder of pictures, for observations that are images."""

import math

import flax.linen as nn
import jax.numpy as jnp

from tandem.core import Array, EnvSpec, Image
from tandem.models.dense import Dense

# (channels, stride) of each layer, whose kernel is twice as wide; Mnih et al. 2013, "Playing Atari with deep
# reinforcement learning", section 5. The borders are padded, so that small pictures do not vanish.
LAYERS = ((16, 4), (32, 2))


class Convolution(nn.Module):
    """A convolution whose kernel is twice as wide as its stride, by products of matrices.

    It is nn.Conv with padding SAME, and has its parameters. In the loops of a learner XLA computes the gradient of a
    convolution on a processor as loops over single numbers: with 320 pictures of 32 x 64 we measured 0.95 s instead of
    0.04 s outside of loops.
    """

    channels: int
    stride: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map x [B, H, W, C] to [B, H / stride, W / stride, channels], rounded up."""
        stride, depth = self.stride, x.shape[-1]
        start = nn.initializers.orthogonal(2**0.5)
        kernel = self.param("kernel", start, (2 * stride, 2 * stride, depth, self.channels))
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        rows, columns = (-(-side // stride) for side in x.shape[1:3])
        missing = [(count + 1) * stride - side for count, side in zip((rows, columns), x.shape[1:3])]
        x = jnp.pad(x, [(0, 0), *((less // 2, less - less // 2) for less in missing), (0, 0)])
        # Squares of stride x stride pixels as features; an output reads the four squares at (i, j) to (i + 1, j + 1).
        x = x.reshape(-1, rows + 1, stride, columns + 1, stride, depth).swapaxes(2, 3)
        squares = x.reshape(-1, rows + 1, columns + 1, stride * stride * depth)
        weights = kernel.reshape(2, stride, 2, stride, depth, self.channels).swapaxes(1, 2)
        weights = weights.reshape(2, 2, -1, self.channels)
        made = [squares[:, i : i + rows, j : j + columns] @ weights[i, j] for i in (0, 1) for j in (0, 1)]
        return sum(made) + jnp.broadcast_to(bias, made[0].shape)


class Pictures(nn.Module):
    """What pictures show. All of them are read by the same layers; the numbers behind them stay as they are."""

    shape: tuple[int, int, int]  # height, width, channels
    count: int  # pictures in one row of numbers
    size: int  # features of each

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map x [..., count * H * W * C + R] to features [..., count * size + R]."""
        pixels = self.count * math.prod(self.shape)
        start = nn.initializers.orthogonal(2**0.5)
        shown = x[..., :pixels].reshape(-1, *self.shape)
        for i, (channels, stride) in enumerate(LAYERS):
            shown = nn.relu(Convolution(channels, stride, name=f"layer_{i}")(shown))
        features = nn.relu(Dense(self.size, kernel_init=start, name="out")(shown.reshape(len(shown), -1)))
        features = features.reshape(*x.shape[:-1], self.count * self.size)
        return jnp.concatenate([features, x[..., pixels:]], axis=-1)


def eyes(spec: EnvSpec, size: int, count: int = 1) -> Pictures | None:
    """Return what reads `count` observations that are pictures; None where they are numbers already."""
    return Pictures(spec.obs.shape, count, size) if isinstance(spec.obs, Image) else None


def flat(obs: Array) -> Array:
    """Return observations [B, T, N, ...] as rows of numbers [B, T, N, O]."""
    return obs.reshape(*obs.shape[:3], -1)
