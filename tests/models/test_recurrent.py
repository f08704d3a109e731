"""The recurrent unit against its formulas."""

import jax
import jax.numpy as jnp
import numpy as np

from tandem.models import recurrent
from tests.reference.compiled import quick_jit

T, R, H = 5, 3, 4


def inputs() -> tuple[jax.Array, ...]:
    """Return (memory, inputs, going_on, kernel, bias), with memories forgotten here and there."""
    rng = np.random.default_rng(0)
    shapes = ((R, H), (T, R, 3 * H), (T, R, 1), (H, 3 * H), (H,))
    memory, x, _, kernel, bias = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)
    return memory, x, jnp.asarray(rng.random((T, R, 1)) < 0.7, jnp.float32), kernel, bias


def slow(memory, x, going_on, kernel, bias):
    """Return the memories [T, R, H], by the formulas of Cho et al. with the reset after the product."""
    every = []
    for t in range(T):
        memory = memory * going_on[t]
        of_reset, of_update, of_candidate = jnp.split(x[t], 3, axis=-1)
        by_reset, by_update, by_candidate = jnp.split(memory @ kernel, 3, axis=-1)
        reset, update = 1 / (1 + jnp.exp(-of_reset - by_reset)), 1 / (1 + jnp.exp(-of_update - by_update))
        candidate = jnp.tanh(of_candidate + reset * (by_candidate + bias[None]))
        memory = (1 - update) * candidate + update * memory
        every.append(memory)
    return jnp.stack(every)


def test_memories_follow_the_formulas():
    np.testing.assert_allclose(quick_jit(recurrent.unroll)(*inputs()), slow(*inputs()), atol=1e-5)
