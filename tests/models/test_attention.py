"""Attention between agents: both ways of computing it against loops over agents and heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.models.attention import AgentAttention, TransformerBlock
from tests.reference.compiled import quick_jit

HEADS, WIDTH = 3, 6
BROADCAST, EINSUM = 5, 9  # teams on either side of the size from which products of matrices are used


def attend(params, x: np.ndarray) -> np.ndarray:
    """Return softmax(Q K^T / sqrt(d)) V of one team [N, D], an agent and a head at a time."""
    dense = {name: jax.tree.map(np.float64, params[name]["rows"]) for name in ("qkv", "out")}
    qkv = x @ dense["qkv"]["kernel"] + dense["qkv"]["bias"]
    query, key, value = np.split(qkv, 3, axis=-1)
    d = WIDTH // HEADS
    mixed = np.zeros_like(x)
    for head in range(HEADS):
        part = slice(head * d, (head + 1) * d)
        for i in range(len(x)):
            scores = np.exp([query[i, part] @ key[j, part] / np.sqrt(d) for j in range(len(x))])
            mixed[i, part] = sum(s * value[j, part] for j, s in enumerate(scores / scores.sum()))
    return mixed @ dense["out"]["kernel"] + dense["out"]["bias"]


def layer_on(layer, num_agents: int, *leading: int):
    """Return (random parameters, input [..., N, D], output) of a layer."""
    draw = np.random.default_rng(1).normal
    x = draw(size=(*leading, num_agents, WIDTH)).astype(np.float32)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x)
    params = jax.tree.map(lambda p: draw(scale=0.5, size=p.shape).astype(p.dtype), shapes)
    return params, x, np.array(quick_jit(layer.apply)(params, x))


@pytest.mark.parametrize("num_agents", [BROADCAST, EINSUM])
def test_attention_equals_the_formula_for_small_and_for_large_teams(num_agents):
    params, x, mixed = layer_on(AgentAttention(HEADS), num_agents, 2)
    expected = [attend(params["params"], np.array(team, np.float64)) for team in x]
    np.testing.assert_allclose(mixed, expected, rtol=1e-4, atol=1e-5)


def test_a_block_keeps_its_shape_and_adds_to_its_input():
    block = TransformerBlock(HEADS, hidden=7)
    params, x, out = layer_on(block, BROADCAST, 2, 4)
    assert out.shape == x.shape
    silent = jax.tree.map(np.zeros_like, params)
    np.testing.assert_array_equal(quick_jit(block.apply)(silent, x), x)


def test_a_block_in_bfloat16_is_finite_and_near_float32():
    params, x, exact = layer_on(TransformerBlock(HEADS, hidden=7), EINSUM)
    coarse = quick_jit(TransformerBlock(HEADS, hidden=7, dtype=jnp.bfloat16).apply)(params, x.astype(jnp.bfloat16))
    assert coarse.dtype == jnp.bfloat16 and jnp.isfinite(coarse.astype(jnp.float32)).all()
    np.testing.assert_allclose(coarse.astype(jnp.float32), exact, atol=0.05 * float(jnp.abs(exact).max()))
