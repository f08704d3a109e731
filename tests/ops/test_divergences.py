"""Divergences from the data's policy against sums written out, and what each leaves free."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.ops import divergences
from tandem.ops.divergences import DIVERGENCES, Options

ROWS, A, OPTIONS = 50, 5, Options(threshold=0.3, kernel_width=2.0)


def distributions(seed: int = 0):
    """Return policies and behaviours [ROWS, A] with zeros here and there; the first two are alike."""
    rng = np.random.default_rng(seed)
    both = rng.dirichlet(np.ones(A), (2, ROWS)) * (rng.random((2, ROWS, A)) < 0.8)
    both[..., 0] += 0.1
    both /= both.sum(axis=-1, keepdims=True)
    both[1, 0] = both[0, 0]
    return both


def kl(p, q):
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True) if a > 0)


def mmd(p, q):
    """Return the discrepancy as a sum over all pairs of actions."""
    of_pair = lambda a, b: math.exp(-(0.0 if a == b else 2.0) / (2 * OPTIONS.kernel_width))  # noqa: E731
    pairs = [(a, b, of_pair(a, b)) for a in range(A) for b in range(A)]
    square = sum(k * (p[a] * p[b] - 2 * p[a] * q[b] + q[a] * q[b]) for a, b, k in pairs)
    return math.sqrt(max(square, 0.0) + 1e-6) - 1e-3


SLOW = {
    "kl": lambda p, q: kl(p, np.maximum(q, 1e-4)),
    "js": lambda p, q: 0.5 * kl(p, (p + q) / 2) + 0.5 * kl(q, (p + q) / 2),
    "tv": lambda p, q: max(sum(p[a] - q[a] for a in range(A) if m >> a & 1) for m in range(2**A)),
    "mmd": mmd,
    "support": lambda p, q: sum(p[a] for a in range(A) if q[a] <= 0.3 * max(q)),
}


@pytest.mark.parametrize("name", DIVERGENCES)
def test_it_equals_its_slow_reference_and_has_a_slope_everywhere(name):
    policy, behaviour = distributions()
    run = jax.jit(jax.vmap(jax.value_and_grad(lambda p, q: DIVERGENCES[name](p, q, OPTIONS))))
    found, slope = run(jnp.float32(policy), jnp.float32(behaviour))
    expected = [SLOW[name](p, q) for p, q in zip(policy, behaviour, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert np.isfinite(np.asarray(slope)).all()
    if name in ("js", "tv", "mmd"):
        assert abs(float(found[0])) < 1e-5


def test_the_discrepancy_that_is_drawn_comes_to_the_one_that_is_summed():
    rng, (policy, behaviour) = np.random.default_rng(1), distributions(1)
    p, q = policy[3], behaviour[3]
    mine, other, mine_too, other_too = (rng.choice(A, size=40000, p=x) for x in (p, q, p, q))
    kernel = lambda a, b: np.where(a == b, 1.0, math.exp(-1.0 / OPTIONS.kernel_width))  # noqa: E731
    drawn = (kernel(mine, mine_too) - 2 * kernel(mine, other) + kernel(other, other_too)).mean()
    exact = float(divergences.mmd(jnp.float32(p), jnp.float32(q), OPTIONS) + divergences.SMOOTH) ** 2
    np.testing.assert_allclose(drawn, exact, atol=0.01)


def test_within_the_support_everything_is_free():
    behaviour, policy = jnp.array([0.6, 0.35, 0.05]), jnp.array([0.0, 1.0, 0.0])
    assert float(divergences.support(policy, behaviour, OPTIONS)) == 0.0
    assert (
        float(divergences.mmd(policy, behaviour, OPTIONS)) > 0.1
        and float(divergences.kl(policy, behaviour, OPTIONS)) > 1.0
    )
