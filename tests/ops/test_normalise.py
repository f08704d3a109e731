"""Running and per-batch scales against slow references."""

import jax.numpy as jnp
import numpy as np
import pytest

from tandem.ops.normalise import add_moments, divisor, mean_and_std, no_moments, standardise
from tests.reference import advantages as reference

DECAY = 0.8


def test_running_mean_and_spread_weigh_batches_by_their_age():
    rng = np.random.default_rng(1)
    batches = [rng.normal(3.0 * i, 1.0 + i, size=7).astype(np.float32) for i in range(5)]
    masks = [rng.random(7) < 0.6 for _ in batches]
    moments = no_moments()
    for i, (batch, mask) in enumerate(zip(batches, masks, strict=True)):
        moments = add_moments(moments, jnp.asarray(batch), jnp.asarray(mask), DECAY)
        expected = reference.weighted_mean_and_std(batches[: i + 1], masks[: i + 1], DECAY)
        np.testing.assert_allclose(mean_and_std(moments), expected, rtol=1e-4)


def test_nothing_seen_leaves_things_as_they_are():
    assert tuple(map(float, mean_and_std(no_moments()))) == (0.0, 1.0)
    moments = add_moments(no_moments(), jnp.array([1.0, 3.0]), jnp.array([True, True]), DECAY)
    same = add_moments(moments, jnp.array([5.0, 9.0]), jnp.array([False, False]), DECAY)
    np.testing.assert_array_equal(mean_and_std(same), mean_and_std(moments))


@pytest.mark.parametrize("size", [-7.0, 300.0])
def test_what_becomes_constant_is_not_blown_up_when_divided_by_its_spread(size):
    moments, constant = (
        add_moments(no_moments(), size * jnp.array([0.2, 1.0, 1.9]), jnp.ones(3), DECAY),
        jnp.full(5, size),
    )
    for _ in range(200):  # the spread at first is forgotten
        moments = add_moments(moments, constant, jnp.ones(5), DECAY)
    mean, std = mean_and_std(moments)
    assert float(abs(size) / divisor(moments)) == pytest.approx(10.0, rel=1e-4)
    assert float(abs(size) / std) == pytest.approx(100.0, rel=1e-4)
    assert float(abs(constant[0] - mean) / std) < 1e-3  # rounding is not taken for a spread


def test_what_was_always_zero_stays_zero_when_divided_by_its_spread():
    moments = add_moments(no_moments(), jnp.zeros(5), jnp.ones(5), DECAY)
    assert float(0.0 / mean_and_std(moments)[1]) == float(0.0 / divisor(moments)) == 0.0


def test_the_floor_leaves_alone_what_varies():
    moments = add_moments(no_moments(), jnp.array([4.0, 6.0]), jnp.ones(2), DECAY)
    assert float(divisor(moments)) == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_standardised_values_have_mean_zero_and_spread_one_where_they_count(share):
    rng = np.random.default_rng(2)
    x, mask = rng.normal(7.0, 3.0, size=(11, 5)).astype(np.float32), rng.random((11, 5)) < share
    found = np.asarray(standardise(jnp.asarray(x), jnp.asarray(mask)))
    np.testing.assert_allclose(found[mask], (x[mask] - x[mask].mean()) / x[mask].std(), rtol=1e-4, atol=1e-5)
    assert not found[~mask].any()
    assert not np.asarray(standardise(jnp.asarray(x), jnp.zeros_like(mask))).any()


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_masked_may_be_anything(odd):
    rng = np.random.default_rng(3)
    x, mask = rng.normal(2.0, 3.0, size=(7, 5)).astype(np.float32), rng.random((7, 5)) < 0.6
    spoilt, mask = jnp.asarray(np.where(mask, x, odd)), jnp.asarray(mask)
    np.testing.assert_array_equal(standardise(spoilt, mask), standardise(jnp.asarray(x), mask))
    found, expected = (add_moments(no_moments(), values, mask, DECAY) for values in (spoilt, jnp.asarray(x)))
    np.testing.assert_array_equal(mean_and_std(found), mean_and_std(expected))
