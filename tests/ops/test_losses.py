import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.ops.losses import (
    clipped_policy_loss, clipped_value_loss, cosine_loss, cross_entropy, huber, masked_mean, scale_gradient,
)  # fmt: skip
from tandem.ops.masking import masked_logits

KEY = jax.random.key(0)


def test_cross_entropy_is_the_definition_and_least_at_the_target():
    logits, target = jax.random.normal(KEY, (2, 3, 7)), jax.nn.softmax(jax.random.normal(jax.random.key(1), (2, 3, 7)))
    x = np.asarray(logits, np.float64)
    expected = -np.sum(np.asarray(target) * (x - np.log(np.sum(np.exp(x), -1, keepdims=True))), -1)
    np.testing.assert_allclose(cross_entropy(logits, target), expected, rtol=1e-5)
    np.testing.assert_allclose(
        jax.grad(lambda x: cross_entropy(x, target[0, 0]))(jnp.log(target[0, 0])), 0.0, atol=1e-6
    )


def test_cross_entropy_survives_masked_and_huge_logits():
    legal = jnp.array([True, False, True])
    value, gradient = jax.value_and_grad(lambda x: cross_entropy(masked_logits(x, legal), jnp.array([1.0, 0.0, 0.0])))(
        jnp.array([-500.0, 80.0, 500.0])
    )
    assert value == 1000.0
    np.testing.assert_allclose(gradient, [-1.0, 0.0, 1.0])


def test_cosine_loss_is_minus_the_cosine_and_stops_at_the_target():
    a, b = jax.random.normal(KEY, (5, 3)), jax.random.normal(jax.random.key(1), (5, 3))
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    expected = -np.sum(x * y, -1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)
    np.testing.assert_allclose(cosine_loss(a, b), expected, rtol=1e-5)
    np.testing.assert_allclose(cosine_loss(a, 3.0 * a), -1.0, rtol=1e-6)
    to_prediction, to_target = jax.grad(lambda a, b: jnp.sum(cosine_loss(a, b)), argnums=(0, 1))(a, b)
    assert np.all(to_target == 0) and np.any(to_prediction != 0)


def test_cosine_loss_of_zero_vectors_has_a_finite_gradient():
    value, gradient = jax.value_and_grad(cosine_loss)(jnp.zeros(3), jnp.ones(3))
    assert value == 0.0 and np.all(np.isfinite(gradient))


def test_scale_gradient_changes_the_gradient_only():
    x = jax.random.normal(KEY, (11,)) * 1e3
    np.testing.assert_array_equal(scale_gradient(x, 0.3), x)
    np.testing.assert_allclose(jax.grad(lambda x: jnp.sum(scale_gradient(x, 0.3) ** 2))(x), 0.6 * x, rtol=1e-6)


def test_masked_mean_ignores_what_is_masked():
    x = jnp.array([1.0, jnp.nan, 5.0, jnp.inf])
    assert masked_mean(x, jnp.array([True, False, True, False])) == 3.0
    assert masked_mean(x, jnp.zeros(4)) == 0.0


def test_huber_is_half_the_square_near_zero_and_its_tangent_beyond():
    error = np.random.default_rng(3).normal(0.0, 20.0, 101).astype(np.float32)
    for delta in (0.3, 10.0):
        size = np.abs(error)
        slow = np.where(size <= delta, 0.5 * error**2, delta * (size - 0.5 * delta))
        np.testing.assert_allclose(huber(jnp.asarray(error), delta), slow, rtol=1e-5)
        slope = jax.vmap(jax.grad(lambda x: huber(x, delta)))(jnp.asarray(error))
        np.testing.assert_allclose(slope, np.clip(error, -delta, delta), rtol=1e-5)
    assert float(jax.grad(lambda x: huber(x, 1.0))(0.0)) == 0.0


@pytest.mark.parametrize("clip", [0.1, 0.4])
def test_the_policy_loss_stops_rewarding_moves_beyond_the_clip(clip):
    rng = np.random.default_rng(4)
    old, new, advantage = (rng.normal(size=101).astype(np.float32) for _ in range(3))
    ratio = np.exp(new.astype(np.float64) - old)
    slow = [-min(r * a, min(max(r, 1 - clip), 1 + clip) * a) for r, a in zip(ratio, advantage, strict=True)]
    np.testing.assert_allclose(
        clipped_policy_loss(*map(jnp.asarray, (new, old, advantage)), clip), slow, rtol=1e-4, atol=1e-6
    )


def test_the_value_loss_is_that_of_the_clipped_value_where_this_is_larger():
    target, old = jnp.zeros(4), jnp.array([3.0, 3.0, 3.0, -1.0])
    value = jnp.array([1.0, 2.8, 5.0, -1.1])
    losses = clipped_value_loss(lambda e: e**2, value, old, target, 0.5)
    np.testing.assert_allclose(losses, [2.5**2, 2.8**2, 5.0**2, 1.1**2], rtol=1e-6)
