"""The value transform and two-hot distributions against float64, far from zero and close to it."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from tandem.ops.support import inverse_transform, make_support, mean, to_two_hot, transform
from tests.reference import support as reference

SCALARS = np.array([-3e6, -884.0, -100.0, -25.0, -1.0, -1e-4, -1e-12, 0.0, 1e-7, 0.5, 7.0, 1234.5, 1e6], np.float32)


@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 0.1])
def test_transform_is_the_papers(epsilon: float):
    np.testing.assert_allclose(
        transform(SCALARS, epsilon), reference.transform(SCALARS, epsilon), rtol=1e-6, atol=1e-15
    )


@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 0.1])
def test_inverse_undoes_the_transform_at_every_scale_and_sign(epsilon: float):
    np.testing.assert_allclose(inverse_transform(transform(SCALARS, epsilon), epsilon), SCALARS, rtol=2e-6)


@settings(deadline=None, max_examples=50)
@given(st.floats(-1e7, 1e7, width=32))
def test_inverse_undoes_the_transform(x: float):
    np.testing.assert_allclose(inverse_transform(transform(jnp.float32(x))), np.float32(x), rtol=2e-6, atol=1e-30)


@pytest.mark.parametrize(("low", "high", "num_bins"), [(-8.0, 8.0, 51), (-3.0, 5.0, 17), (0.0, 2.0, 3)])
def test_two_hot_is_the_references_and_its_mean_comes_back(low: float, high: float, num_bins: int):
    bins = np.linspace(low, high, num_bins)
    inside = np.asarray(inverse_transform(np.linspace(low, high, 211).astype(np.float32)))
    probabilities = np.asarray(to_two_hot(inside, low, high, num_bins))
    expected = np.stack([reference.two_hot(y, bins) for y in reference.transform(inside, 1e-3)])
    np.testing.assert_allclose(probabilities, expected, atol=2e-5)
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, atol=1e-6)
    assert np.all((probabilities > 0).sum(-1) <= 2)
    logits = np.log(np.maximum(probabilities, 1e-30))
    np.testing.assert_allclose(mean(logits, low, high), inside, rtol=2e-5, atol=2e-5)


def test_scalars_beyond_the_support_go_to_its_ends():
    support = make_support(-4.0, 4.0, 9)
    probabilities = support.target(jnp.array([[-1e9, 1e9, -30.0]]))
    assert probabilities.shape == (1, 3, support.num_bins)
    np.testing.assert_array_equal(np.argmax(probabilities, -1), [[0, 8, 0]])
    np.testing.assert_array_equal(np.max(probabilities, -1), 1.0)


def test_zero_logits_stand_for_zero():
    assert abs(float(mean(jnp.zeros(51), -8.0, 8.0))) < 1e-5


def test_half_precision_logits_are_decoded_in_full():
    logits = jnp.log(to_two_hot(jnp.array([40.0, -7.0]), -8.0, 8.0, 51) + 1e-9).astype(jnp.bfloat16)
    assert mean(logits, -8.0, 8.0).dtype == jnp.float32


def test_gradients_are_finite_and_right():
    support = make_support(-8.0, 8.0, 51)
    scalars = jnp.array([-70.0, -1e-6, 0.0, 0.3, 55.0])
    slope = jax.vmap(jax.grad(lambda x: inverse_transform(transform(x))))(scalars)
    np.testing.assert_allclose(slope, 1.0, rtol=1e-5)
    bins = jnp.linspace(-8.0, 8.0, 51)
    through_target = jax.vmap(jax.grad(lambda x: jnp.sum(support.target(x) * bins)))(jnp.array([-70.1, 0.3, 55.0]))
    np.testing.assert_allclose(through_target, jax.vmap(jax.grad(transform))(jnp.array([-70.1, 0.3, 55.0])), rtol=1e-4)
    for logits in (jnp.zeros(51), 1e4 * jnp.eye(51)[0]):
        assert np.all(np.isfinite(jax.grad(support.mean)(logits)))
