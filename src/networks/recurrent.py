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

        every = unroll(memory.reshape(-1, self.hidden), inputs, going_on, kernel, bias)
        return every[-1].reshape(memory.shape), jnp.moveaxis(every.reshape(x.shape[1], *memory.shape), 0, 1)


@jax.custom_vjp
def unroll(memory: Array, inputs: Array, going_on: Array, kernel: Array, bias: Array) -> Array:
    """Return the memories [T, R, H] after each step.

    Its gradient is written by hand. Of the work of going back only one product per step needs to wait for its turn; the
    gates are made again, and the kernel's gradient is summed, for all steps at once. JAX's own gradient of the loop does
    it all step by step and stores every gate (SPEED).

    Args:
      memory: [R, H] before the first step.
      inputs: [T, R, 3 H] what the inputs add to the reset gate, the update gate and the candidate.
      going_on: [T, R, 1] 0 where the memory is forgotten before the step, else 1; no gradient reaches it.
      kernel: [H, 3 H].
      bias: [H] beside the memory in the candidate.
    """

    def step(memory: Array, row: tuple[Array, Array]):
        memory = memory * row[1]
        _, update, candidate, _ = _gates(row[0], memory @ kernel, bias)
        memory = (1.0 - update) * candidate + update * memory
        return memory, memory

    return jax.lax.scan(step, memory, (inputs, going_on))[1]


def _forward(memory: Array, inputs: Array, going_on: Array, kernel: Array, bias: Array):
    every = unroll(memory, inputs, going_on, kernel, bias)
    return every, (memory, inputs, going_on, kernel, bias, every)


def _backward(stored: tuple[Array, ...], gradient: Array):
    """Return the gradients by the arguments of `unroll`, of the gradient [T, R, H] by what it returned."""
    memory, inputs, going_on, kernel, bias, every = stored
    before = jnp.concatenate([memory[None], every[:-1]]) * going_on
    rows = before.reshape(-1, before.shape[-1])  # [T R, H]
    reset, update, candidate, recalled = _gates(inputs, (rows @ kernel).reshape(inputs.shape), bias)
    by_update = (before - candidate) * update * (1.0 - update)
    by_candidate = (1.0 - update) * (1.0 - candidate**2)
    by_reset = recalled * reset * (1.0 - reset)

    def step(later: Array, row: tuple[Array, ...]):
        gradient, going_on, reset, update, by_reset, by_update, by_candidate = row
        gradient = gradient + later
        to_candidate = gradient * by_candidate
        to_gates = jnp.concatenate([to_candidate * by_reset, gradient * by_update, to_candidate * reset], axis=-1)
        return (gradient * update + to_gates @ kernel.T) * going_on, (to_gates, to_candidate)

    steps = (gradient, going_on, reset, update, by_reset, by_update, by_candidate)
    to_memory, (to_gates, to_candidate) = jax.lax.scan(step, jnp.zeros_like(memory), steps, reverse=True)
    hidden = memory.shape[-1]
    to_inputs = jnp.concatenate([to_gates[..., : 2 * hidden], to_candidate], axis=-1)
    to_kernel = rows.T @ to_gates.reshape(-1, 3 * hidden)
    to_bias = jnp.sum(to_gates[..., 2 * hidden :], axis=(0, 1))
    return to_memory, to_inputs, jnp.zeros_like(going_on), to_kernel, to_bias


unroll.defvjp(_forward, _backward)


def _gates(inputs: Array, recalled: Array, bias: Array) -> tuple[Array, Array, Array, Array]:
    """Return (reset, update, candidate, what the candidate recalls), [..., H] each, of two contributions [..., 3 H]."""
    hidden = bias.shape[0]
    by_input, by_memory = ([x[..., i * hidden : (i + 1) * hidden] for i in range(3)] for x in (inputs, recalled))
    reset, update = (jax.nn.sigmoid(by_input[i] + by_memory[i]) for i in (0, 1))
    recalled = by_memory[2] + bias.reshape((1,) * (inputs.ndim - 1) + (-1,))
    return reset, update, jnp.tanh(by_input[2] + reset * recalled), recalled


def _three_orthogonal(key: Array, shape: tuple[int, int], dtype=jnp.float32) -> Array:
    """Return three orthogonal matrices side by side [H, 3 H], one for each gate."""
    one = nn.initializers.orthogonal(1.0)
    return jnp.concatenate([one(k, (shape[0], shape[0]), dtype) for k in jax.random.split(key, 3)], axis=1)
