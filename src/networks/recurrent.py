"""Memory along a sequence."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from src.core import Array
from src.networks.dense import Dense


class GRU(nn.Module):
    """A gated recurrent unit (Cho et al. 2014, in the form whose reset gate acts after the product) over time axis 1.

    What the inputs add to the gates is one product for the whole sequence; only the product with the memory is made step
    by step.
    """

    hidden: int

    @nn.compact
    def __call__(self, memory: Array, x: Array, first: Array) -> tuple[Array, Array]:
        """Return the memory [B, ..., H] after the last step and the memories [B, T, ..., H] after each.

        Args:
          memory: [B, ..., H] before the first step.
          x: [B, T, ..., F] inputs.
          first: [B, T] bool; where set, the memory is zero before that step.
        """
        kernel = self.param("memory", _three_orthogonal, (self.hidden, 3 * self.hidden))
        bias = self.param("memory_bias", nn.initializers.zeros, (self.hidden,))
        inputs = Dense(3 * self.hidden, kernel_init=nn.initializers.orthogonal(1.0), name="input")(jnp.moveaxis(x, 1, 0))
        inputs = inputs.reshape(x.shape[1], -1, 3 * self.hidden)  # [T, R, 3 H], a row for each sequence of each agent
        rows_per_sequence = inputs.shape[1] // x.shape[0]
        going_on = 1.0 - jnp.repeat(first.swapaxes(0, 1), rows_per_sequence, axis=1)[..., None].astype(x.dtype)

        def step(memory: Array, row: tuple[Array, Array]):
            memory = memory * row[1]
            new_memory = gate(memory, row[0], memory @ kernel, bias)
            return new_memory, new_memory

        last, every = jax.lax.scan(step, memory.reshape(-1, self.hidden), (inputs, going_on))
        every = jnp.moveaxis(every.reshape(x.shape[1], *memory.shape), 0, 1)
        return last.reshape(memory.shape), every


def gate(memory: Array, inputs: Array, recalled: Array, bias: Array) -> Array:
    """Return the next memory [R, H] of memory [R, H], and what inputs and memory add to the gates [R, 3 H]."""
    hidden = memory.shape[-1]
    reset, update = (
        jax.nn.sigmoid(inputs[:, i * hidden : (i + 1) * hidden] + recalled[:, i * hidden : (i + 1) * hidden]) for i in (0, 1)
    )
    candidate = jnp.tanh(inputs[:, 2 * hidden :] + reset * (recalled[:, 2 * hidden :] + bias[None]))
    return (1.0 - update) * candidate + update * memory


def _three_orthogonal(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
    """Return three orthogonal matrices side by side [H, 3 H], one for each gate."""
    one = nn.initializers.orthogonal(1.0)
    return jnp.concatenate([one(k, (shape[0], shape[0]), dtype) for k in jax.random.split(key, 3)], axis=1)
