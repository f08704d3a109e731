"""A small convolutional encoder of pictures, for observations that are images."""

import math

import flax.linen as nn
import jax.numpy as jnp

from tandem.core import Array, EnvSpec, Image
from tandem.models.dense import Dense

# (channels, side of the kernel, stride) of each layer; Mnih et al. 2013, "Playing Atari with deep reinforcement
# learning", section 5. The borders are padded, so that small pictures do not vanish.
LAYERS = ((16, 8, 4), (32, 4, 2))


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
        for i, (channels, side, stride) in enumerate(LAYERS):
            layer = nn.Conv(channels, (side, side), (stride, stride), "SAME", kernel_init=start, name=f"layer_{i}")
            shown = nn.relu(layer(shown))
        features = nn.relu(Dense(self.size, kernel_init=start, name="out")(shown.reshape(len(shown), -1)))
        features = features.reshape(*x.shape[:-1], self.count * self.size)
        return jnp.concatenate([features, x[..., pixels:]], axis=-1)


def eyes(spec: EnvSpec, size: int, count: int = 1) -> Pictures | None:
    """Return what reads `count` observations that are pictures; None where they are numbers already."""
    return Pictures(spec.obs.shape, count, size) if isinstance(spec.obs, Image) else None


def flat(obs: Array) -> Array:
    """Return observations [B, T, N, ...] as rows of numbers [B, T, N, O]."""
    return obs.reshape(*obs.shape[:3], -1)
