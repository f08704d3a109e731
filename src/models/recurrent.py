"""Memory along a sequence."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array, PyTree
from tandem.models.dense import Dense


def blank(memory: str, *shape: int) -> PyTree:
    """Return a memory of this shape before the first step; () if it is "none"."""
    return () if memory == "none" else jnp.zeros(shape)


class GRU(nn.Module):
    """A gated recurrent unit (Cho et al. 2014, in the form whose reset gate acts after the product) over time axis 1.

    The inputs' contribution to the gates is one product for the whole sequence. Only the product with the memory is
    computed step by step.
    """

    hidden: int

    @nn.compact
    def __call__(self, memory: Array, x: Array, first: Array) -> tuple[Array, Array]:
        """Return the memory [B, ..., H] after the last step and the memories [B, T, ..., H] after each.

        Args:
          memory: [B, ..., H] before the first step.
          x: [B, T, ..., F] inputs.
          first: [B, T] bool; if set, the memory is zero before that step.
        """
        kernel = self.param("memory", _three_orthogonal, (self.hidden, 3 * self.hidden))
        bias = self.param("memory_bias", nn.initializers.zeros, (self.hidden,))
        inputs = Dense(3 * self.hidden, kernel_init=nn.initializers.orthogonal(1.0), name="input")(
            jnp.moveaxis(x, 1, 0)
        )
        inputs = inputs.reshape(x.shape[1], -1, 3 * self.hidden)  # [T, R, 3 H], a row for each sequence of each agent
        rows_per_sequence = inputs.shape[1] // x.shape[0]
        going_on = 1.0 - jnp.repeat(first.swapaxes(0, 1), rows_per_sequence, axis=1)[..., None].astype(x.dtype)

        every = unroll(memory.reshape(-1, self.hidden), inputs, going_on, kernel, bias)
        return every[-1].reshape(memory.shape), jnp.moveaxis(every.reshape(x.shape[1], *memory.shape), 0, 1)


def unroll(memory: Array, inputs: Array, going_on: Array, kernel: Array, bias: Array) -> Array:
    """Return the memories [T, R, H] after each step.

    The gradient is JAX's own, because one written by hand was slower: 183 ms instead of 130 (T=128, R=96, H=128, one
    busy core). It computed the gates again and summed the kernel's gradient for all steps at once.

    Args:
      memory: [R, H] before the first step.
      inputs: [T, R, 3 H] the inputs' contribution to the reset gate, the update gate and the candidate.
      going_on: [T, R, 1] 0 if the memory is reset before the step, else 1.
      kernel: [H, 3 H].
      bias: [H] beside the memory in the candidate.
    """

    def step(memory: Array, row: tuple[Array, Array]):
        memory = memory * row[1]
        by_input, by_memory = (jnp.split(x, 3, axis=-1) for x in (row[0], memory @ kernel))
        reset, update = (jax.nn.sigmoid(by_input[i] + by_memory[i]) for i in (0, 1))
        candidate = jnp.tanh(by_input[2] + reset * (by_memory[2] + bias[None]))
        memory = (1.0 - update) * candidate + update * memory
        return memory, memory

    return jax.lax.scan(step, memory, (inputs, going_on))[1]


def _three_orthogonal(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
    """Return three orthogonal matrices side by side [H, 3 H], one for each gate."""
    one = nn.initializers.orthogonal(1.0)
    return jnp.concatenate([one(k, (shape[0], shape[0]), dtype) for k in jax.random.split(key, 3)], axis=1)
