import jax
import jax.numpy as jnp
import numpy as np

from src.ops.losses import cosine_loss, cross_entropy, masked_mean, scale_gradient
from src.ops.masking import masked_logits

KEY = jax.random.key(0)


def test_cross_entropy_is_the_definition_and_least_at_the_target():
    logits, target = jax.random.normal(KEY, (2, 3, 7)), jax.nn.softmax(jax.random.normal(jax.random.key(1), (2, 3, 7)))
    x = np.asarray(logits, np.float64)
    expected = -np.sum(np.asarray(target) * (x - np.log(np.sum(np.exp(x), -1, keepdims=True))), -1)
    np.testing.assert_allclose(cross_entropy(logits, target), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(lambda x: cross_entropy(x, target[0, 0]))(jnp.log(target[0, 0])), 0.0, atol=1e-6)


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
