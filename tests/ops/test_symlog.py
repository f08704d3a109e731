"""The symmetric logarithm and its bins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.ops import symlog

X = np.concatenate([np.random.default_rng(1).normal(0, 3, 40), [0.0, 1e-4, -1e-4, 7.0, -7.0]]).astype(np.float32)


def test_symexp_undoes_symlog():
    np.testing.assert_allclose(symlog.symexp(symlog.symlog(X)), X, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(symlog.symlog(X), np.sign(X) * np.log1p(np.abs(X)), rtol=1e-5)


@pytest.mark.parametrize("num_bins", [11, 12])
def test_two_hot_targets_have_the_scalar_as_their_mean_and_lie_on_its_two_neighbours(num_bins):
    bins = symlog.symexp_bins(2.0, num_bins)
    within = X[np.abs(X) <= float(bins[-1])]
    target = np.asarray(symlog.two_hot(jnp.asarray(within), bins))
    np.testing.assert_allclose(target @ np.asarray(bins), within, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(target.sum(axis=-1), 1.0, rtol=1e-6)
    for row, x in zip(target, within, strict=True):
        on = np.flatnonzero(row > 1e-7)
        assert len(on) <= 2 and np.abs(np.asarray(bins)[on] - x).max() <= np.diff(np.asarray(bins)).max() + 1e-6
    assert (float(bins[num_bins // 2]) == 0.0) == (num_bins % 2 == 1)


def test_scalars_beyond_the_bins_go_to_the_last():
    bins = symlog.symexp_bins(2.0, 11)
    np.testing.assert_array_equal(symlog.two_hot(jnp.array([-1e3, 1e3]), bins), np.eye(11)[[0, 10]])


def test_what_was_learned_from_many_scalars_is_their_mean():
    bins, draws = symlog.symexp_bins(3.0, 21), jnp.asarray(np.random.default_rng(2).exponential(2.0, 500), jnp.float32)
    learned = jnp.log(symlog.two_hot(draws, bins).mean(axis=0) + 1e-12)
    assert abs(float(symlog.mean(learned, bins)) - float(jnp.clip(draws, bins[0], bins[-1]).mean())) < 1e-3
    assert bool(jnp.isfinite(jax.grad(lambda x: symlog.mean(x, bins).sum())(jnp.zeros((3, 21)))).all())
