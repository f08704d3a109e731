"""Numbers as choices: there and back, and densities, entropies and divergences against plain sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from tandem.ops.number_bins import binned, choice_of, number_of
from tests.reference.compiled import quick_jit

B, N, A, K = 2, 5, 3, 7
KNOWN = binned(K)


def drawn(seed: int):
    """Return (outputs of p, outputs of q [B, N, A K], legal [B, N, A]); every agent has a number at least."""
    rng = np.random.default_rng(seed)
    sure = np.eye(A, dtype=bool)[rng.integers(A, size=(B, N))]
    p, q = (rng.normal(size=(B, N, A * K)).astype(np.float32) for _ in range(2))
    return p, q, (rng.random((B, N, A)) < 0.6) | sure


@pytest.mark.parametrize("bins", [2, 7, 256])
def test_choices_become_numbers_and_choices_again_and_numbers_the_nearest_choices(bins):
    every = jnp.arange(bins)
    numbers = number_of(every, bins)
    np.testing.assert_allclose(numbers, np.linspace(-1, 1, bins), atol=1e-6)
    np.testing.assert_array_equal(choice_of(numbers, bins), every)
    some = np.random.default_rng(0).uniform(-1.4, 1.4, 200).astype(np.float32)
    back = number_of(choice_of(jnp.asarray(some), bins), bins)
    assert np.abs(back - np.clip(some, -1, 1)).max() <= 1.0 / (bins - 1) + 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_what_is_said_of_numbers_is_the_sum_of_what_plain_sums_say_of_each(seed):
    p, q, legal = drawn(seed)
    rng = np.random.default_rng(seed)
    choice = rng.integers(K, size=(B, N, A))
    action = np.where(legal, np.linspace(-1, 1, K)[choice], 0.0).astype(np.float32)
    log_prob, entropy = quick_jit(KNOWN.log_prob)(p, legal, action), quick_jit(KNOWN.entropy)(p, legal)
    divergence, shown = quick_jit(KNOWN.kl_divergence)(p, q, legal), quick_jit(KNOWN.describe)(p, legal)
    mode = quick_jit(KNOWN.mode)(p, legal)
    for row in np.ndindex(B, N):
        ours, theirs = (special.softmax(x[row].reshape(A, K).astype(float), axis=-1) for x in (p, q))
        has = np.flatnonzero(legal[row])
        np.testing.assert_allclose(log_prob[row], sum(np.log(ours[a, choice[row][a]]) for a in has), rtol=1e-4)
        np.testing.assert_allclose(entropy[row], sum(stats.entropy(ours[a]) for a in has), rtol=1e-4)
        np.testing.assert_allclose(divergence[row], sum(stats.entropy(ours[a], theirs[a]) for a in has), rtol=1e-3)
        for a in range(A):
            there = a in has
            best = np.linspace(-1, 1, K)[np.argmax(ours[a])] if there else 0.0
            np.testing.assert_allclose(mode[row][a], best, atol=1e-6)
            np.testing.assert_allclose(shown[row][a], ours[a] @ np.linspace(-1, 1, K) if there else 0.0, atol=1e-5)


def test_samples_come_as_often_as_they_should_and_padding_is_zero_and_gets_no_gradient():
    p, q, legal = drawn(5)
    keys = jax.random.split(jax.random.key(1), 4096)
    samples = np.asarray(quick_jit(jax.vmap(lambda key: KNOWN.sample(key, p, legal)))(keys))
    shares = special.softmax(p.reshape(B, N, A, K), axis=-1)
    for k, number in enumerate(np.linspace(-1, 1, K)):
        often = (np.abs(samples - number) < 1e-6).mean(axis=0)
        # Six standard errors, of 0.5 / 64 at most: a false alarm is rarer than one in a million.
        assert (np.abs(often - shares[..., k]) < 0.05)[legal].all()
    assert not samples[:, ~legal].any() and not np.asarray(KNOWN.mode(p, legal))[~legal].any()

    def numbers(p):
        return (KNOWN.log_prob(p, legal, samples[0]) + KNOWN.entropy(p, legal) + KNOWN.kl_divergence(p, q, legal)).sum()

    slope = np.asarray(quick_jit(jax.grad(numbers))(p)).reshape(B, N, A, K)
    assert np.isfinite(slope).all() and not slope[~legal].any() and (np.abs(slope[legal]) > 0).any(axis=-1).all()
