"""Quantisers against slow references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.ops import quantise

RNG = np.random.default_rng(3)


def test_bins_are_nearest_in_symlog_and_err_by_half_a_bin_at_most():
    x = RNG.uniform(-1.5, 1.5, (5, 7)).astype(np.float32)
    code = np.asarray(quantise.to_bins(jnp.asarray(x), 1.0, 9))
    centres = np.linspace(-np.log(2), np.log(2), 9)
    inside = np.sign(x) * np.log1p(np.abs(x))
    np.testing.assert_array_equal(code, np.abs(inside[..., None] - centres).argmin(axis=-1))
    back = np.asarray(quantise.from_bins(jnp.asarray(code), 1.0, 9))
    clipped = np.clip(inside, -np.log(2), np.log(2))
    assert np.abs(np.sign(back) * np.log1p(np.abs(back)) - clipped).max() <= np.log(2) / 8 + 1e-6


def test_zero_has_a_bin_and_comes_back_as_zero():
    code = quantise.to_bins(jnp.zeros(3), 4.0, 33)
    np.testing.assert_array_equal(quantise.from_bins(code, 4.0, 33), np.zeros(3))


@pytest.mark.parametrize("levels", [(4, 4, 4), (5, 3), (8, 8, 8)])
def test_fsq_uses_every_code_and_codes_give_the_numbers_back(levels):
    z = jnp.asarray(RNG.uniform(-2.5, 2.5, (20_000, len(levels))), jnp.float32)
    numbers = quantise.fsq(z, levels)
    code = np.asarray(quantise.fsq_code(numbers, levels))
    assert set(code.tolist()) == set(range(int(np.prod(levels))))
    np.testing.assert_allclose(quantise.fsq_numbers(jnp.asarray(code), levels), numbers, atol=1e-5)
    assert float(jnp.abs(numbers).max()) <= 1.0 + 1e-5
    for column, level in enumerate(levels):
        assert len(np.unique(np.round(np.asarray(numbers)[:, column], 4))) == level


def test_gradients_pass_the_rounding():
    z = jnp.asarray(RNG.normal(size=(6, 2)), jnp.float32)
    slope = jax.grad(lambda z: quantise.fsq(z, (5, 5)).sum())(z)
    smooth = jax.grad(lambda z: (quantise.bound(z, (5, 5)) / 2).sum())(z)
    np.testing.assert_allclose(slope, smooth, rtol=1e-5)
    assert float(jnp.abs(slope).min()) > 0


def test_the_nearest_code_and_the_moved_codebook_are_those_of_numpy():
    z, book = RNG.normal(size=(11, 3)).astype(np.float32), RNG.normal(size=(5, 3)).astype(np.float32)
    code = np.asarray(quantise.nearest(jnp.asarray(z), jnp.asarray(book)))
    np.testing.assert_array_equal(code, ((z[:, None] - book[None]) ** 2).sum(-1).argmin(-1))
    counts, sums = RNG.uniform(1, 2, 5).astype(np.float32), RNG.normal(size=(5, 3)).astype(np.float32)
    weight = (RNG.random(11) < 0.7).astype(np.float32)
    want_counts, want_sums = 0.8 * counts, 0.8 * sums
    for row, which, counted in zip(z, code, weight, strict=True):
        want_counts[which] += 0.2 * counted
        want_sums[which] += 0.2 * counted * row
    found = quantise.moved_codebook(*(jnp.asarray(x) for x in (counts, sums, z, code, weight)), 0.8)
    for got, want in zip(found, (want_counts, want_sums, want_sums / want_counts[:, None]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
