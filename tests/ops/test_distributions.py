"""Drawing actions: densities, entropies and divergences against scipy and slow sums, and
padding that counts in nothing.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from tandem.core import Discrete, Numbers
from tandem.ops import distributions
from tandem.ops.distributions import CATEGORICAL, GAUSSIAN, SQUASHED, squashed_draw, squashed_outputs
from tests.reference.compiled import quick_jit

B, N, A = 2, 5, 3
SEEDS = st.integers(0, 2**30)
quick = settings(max_examples=25, deadline=None)


def drawn(seed: int, width: int):
    """Return (outputs of p, outputs of q, legal [B, N, A]) as arrays of NumPy; every row has something legal."""
    rng = np.random.default_rng(seed)
    sure = np.eye(A, dtype=bool)[rng.integers(A, size=(B, N))]
    p, q = (rng.normal(size=(B, N, width)).astype(np.float32) for _ in range(2))
    return p, q, (rng.random((B, N, A)) < 0.6) | sure


@cache
def compiled(distribution, name: str):
    return quick_jit(getattr(distribution, name))


def gaussian(outputs, legal, row):
    """Return (means, standard deviations) of the numbers that one agent has, in double precision."""
    mean, log_std = np.split(outputs[row].astype(float), 2)
    return mean[legal[row]], np.exp(log_std[legal[row]])


@quick
@given(SEEDS)
def test_a_gaussians_density_is_that_of_scipy_over_the_numbers_that_an_agent_has(seed):
    outputs, _, legal = drawn(seed, 2 * A)
    action = np.random.default_rng(seed).normal(0.0, 2.0, (B, N, A)).astype(np.float32)
    found = compiled(GAUSSIAN, "log_prob")(outputs, legal, action)
    for row in np.ndindex(B, N):
        mean, std = gaussian(outputs, legal, row)
        expected = stats.norm.logpdf(action[row][legal[row]], mean, std).sum()
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-4)


@quick
@given(SEEDS)
def test_a_gaussians_entropy_is_that_of_scipy_and_its_divergence_that_of_an_integral(seed):
    p, q, legal = drawn(seed, 2 * A)
    entropy, divergence = compiled(GAUSSIAN, "entropy")(p, legal), compiled(GAUSSIAN, "kl_divergence")(p, q, legal)
    nodes, weights = special.roots_hermitenorm(
        20
    )  # exact: the integrand is a polynomial of degree two under the normal
    for row in np.ndindex(B, N):
        (p_mean, p_std), (q_mean, q_std) = gaussian(p, legal, row), gaussian(q, legal, row)
        np.testing.assert_allclose(entropy[row], stats.norm.entropy(p_mean, p_std).sum(), rtol=1e-4, atol=1e-4)
        at = p_mean[:, None] + p_std[:, None] * nodes
        ratio = stats.norm.logpdf(at.T, p_mean, p_std) - stats.norm.logpdf(at.T, q_mean, q_std)
        expected = (ratio.T @ weights).sum() / np.sqrt(2.0 * np.pi)
        np.testing.assert_allclose(divergence[row], expected, rtol=1e-3, atol=1e-4)


@quick
@given(SEEDS)
def test_a_squashed_gaussians_density_is_the_slope_of_its_cumulative_distribution(seed):
    outputs, _, legal = drawn(seed, 2 * A)
    action = np.tanh(np.random.default_rng(seed).normal(0.0, 1.0, (B, N, A))).astype(np.float32)
    found, near = compiled(SQUASHED, "log_prob")(outputs, legal, action), 1e-5
    for row in np.ndindex(B, N):
        mean, std = gaussian(outputs, legal, row)
        at = action[row][legal[row]].astype(float)
        wide = np.minimum(near, 0.1 * (1.0 - np.abs(at)))
        above, below = (stats.norm.cdf(np.arctanh(at + sign * wide), mean, std) for sign in (1.0, -1.0))
        density = (above - below) / (2.0 * wide)
        sure = density > 1e-3  # where it is tiny, the difference of the two is rounding
        if sure.all():
            np.testing.assert_allclose(found[row], np.log(density).sum(), rtol=1e-3, atol=2e-2)


@quick
@given(SEEDS)
def test_a_squashed_gaussians_entropy_is_an_integral_over_the_actions(seed):
    outputs, _, legal = drawn(seed, 2 * A)
    outputs = np.concatenate(np.split(outputs, 2, axis=-1)[:1] + [0.5 * np.split(outputs, 2, axis=-1)[1]], axis=-1)
    found = compiled(SQUASHED, "entropy")(outputs, legal)
    for row in np.ndindex(B, N):
        total = 0.0
        for mean, std in zip(*gaussian(outputs, legal, row), strict=True):

            def term(u: float, mean=mean, std=std) -> float:  # density times -log density of tanh(u), by du
                return stats.norm.pdf(u, mean, std) * (2.0 * np.log(1.0 / np.cosh(u)) - stats.norm.logpdf(u, mean, std))

            grid = np.linspace(mean - 9.0 * std, mean + 9.0 * std, 801)
            total += integrate.trapezoid(term(grid), grid)
        np.testing.assert_allclose(found[row], total, atol=3e-2)  # 32 points


def test_a_squashed_draw_knows_its_own_density_also_where_float32_rounds_to_one():
    outputs, _, legal = drawn(4, 2 * A)
    action, log_prob = squashed_draw(jax.random.key(2), outputs, legal)
    assert (np.abs(action) < 1).all() and not action[~legal].any()
    np.testing.assert_allclose(log_prob, SQUASHED.log_prob(outputs, legal, action), rtol=1e-3, atol=2e-3)
    far = jnp.concatenate([jnp.full((1, A), 15.0), jnp.zeros((1, A))], axis=-1)
    every = jnp.ones((1, A), bool)
    (action, log_prob), slope = (
        squashed_draw(jax.random.key(2), far, every),
        jax.grad(lambda x: squashed_draw(jax.random.key(2), x, every)[1].sum())(far),
    )
    assert (action > 1 - 1e-6).all() and np.isfinite(log_prob).all() and (log_prob > 60).all()
    np.testing.assert_allclose(slope[0, :A], 2.0, atol=1e-3)  # log(1 - tanh(u)^2) falls by 2 a step there
    assert np.isfinite(SQUASHED.log_prob(far, every, jnp.ones_like(action))).all()


def test_deviations_of_a_squashed_gaussian_are_bounded_and_keep_a_slope():
    said = jnp.array([-40.0, -8.0, 0.0, 5.0, 40.0])[:, None]
    log_std = squashed_outputs(jnp.zeros_like(said), said)[:, 1]
    assert (np.diff(log_std) >= 0).all() and log_std[0] >= -5.0 and log_std[-1] <= 2.01 and abs(log_std[2]) < 0.2
    slope = jax.vmap(jax.grad(lambda x: squashed_outputs(jnp.zeros(1), x[None])[1]))(said[:, 0])
    assert (slope[1:4] > 0.01).all() and (slope[2] > 0.8)


@quick
@given(SEEDS)
def test_a_categoricals_numbers_are_those_of_plain_sums_over_legal_actions(seed):
    p, q, legal = drawn(seed, A)
    action = np.array([[np.flatnonzero(legal[b, n])[-1] for n in range(N)] for b in range(B)])
    found = {name: compiled(CATEGORICAL, name)(p, legal) for name in ("entropy", "describe", "mode")}
    log_prob = compiled(CATEGORICAL, "log_prob")(p, legal, action)
    divergence = compiled(CATEGORICAL, "kl_divergence")(p, q, legal)
    for row in np.ndindex(B, N):
        one, other = (special.softmax(outputs[row][legal[row]].astype(float)) for outputs in (p, q))
        np.testing.assert_allclose(found["describe"][row][legal[row]], one, rtol=1e-4)
        assert not np.asarray(found["describe"])[row][~legal[row]].any()
        assert found["mode"][row] == np.flatnonzero(legal[row])[np.argmax(one)]
        np.testing.assert_allclose(log_prob[row], np.log(one[-1]), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["entropy"][row], stats.entropy(one), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(divergence[row], stats.entropy(one, other), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("distribution, width", [(CATEGORICAL, A), (GAUSSIAN, 2 * A), (SQUASHED, 2 * A)])
def test_what_is_padding_moves_nothing_and_gets_no_gradient(distribution, width):
    p, q, legal = drawn(3, width)
    padding = np.concatenate([~legal] * (width // A), axis=-1)
    action = distribution.sample(jax.random.key(0), p, legal)

    def numbers(p, q):
        divergence = distribution.kl_divergence(p, q, legal)
        return jnp.stack([distribution.log_prob(p, legal, action), distribution.entropy(p, legal), divergence])

    moved = np.where(padding, p + 3.0, p)
    np.testing.assert_allclose(numbers(moved, q), numbers(p, q), rtol=1e-5, atol=1e-6)
    gradients = jax.grad(lambda p, q: numbers(p, q).sum(), argnums=(0, 1))(p, q)
    assert padding.any() and all(np.isfinite(gradient).all() and not gradient[padding].any() for gradient in gradients)
    if distribution is not CATEGORICAL:
        assert not action[~legal].any() and not distribution.mode(p, legal)[~legal].any()


def test_samples_of_a_gaussian_have_its_means_and_deviations_and_its_mode_is_its_mean():
    outputs, _, legal = drawn(5, 2 * A)
    keys = jax.random.split(jax.random.key(1), 4096)
    samples = np.asarray(jax.vmap(lambda key: GAUSSIAN.sample(key, outputs, legal))(keys))
    mean, std = np.split(outputs, 2, axis=-1)[0], np.exp(np.split(outputs, 2, axis=-1)[1])
    # Six standard errors of the mean, and of the deviation (std / sqrt(2 n)): a false alarm is
    # rarer than one in a million.
    assert (np.abs(samples.mean(axis=0) - mean) < 6 * std / 64)[legal].all()
    assert (np.abs(samples.std(axis=0) - std) < 6 * std / 90)[legal].all()
    np.testing.assert_array_equal(GAUSSIAN.mode(outputs, legal), np.where(legal, mean, 0.0))


def test_outputs_hold_means_and_then_deviations_that_all_rows_share():
    mean = jnp.arange(6.0).reshape(2, 3)
    outputs = distributions.gaussian_outputs(mean, jnp.log(jnp.array([1.0, 2.0, 3.0])))
    np.testing.assert_allclose(outputs[1], [3.0, 4.0, 5.0, 0.0, np.log(2.0), np.log(3.0)], rtol=1e-6)


@pytest.mark.parametrize("actions, expected", [(Discrete(A), CATEGORICAL), (Numbers(A), GAUSSIAN)])
def test_the_space_of_actions_says_how_they_are_drawn(actions, expected):
    assert distributions.of(actions) is expected
