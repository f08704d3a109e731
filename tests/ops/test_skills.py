"""Sums over skills against loops, and the bounds that they keep."""

import jax.numpy as jnp
import numpy as np

from tandem.ops import skills

B, K, A = 6, 3, 4
RNG = np.random.default_rng(0)
POSTERIOR, PRIOR = RNG.normal(size=(2, B, K)) * 2
POLICY = RNG.dirichlet(np.ones(A), (B, K))


def shares(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def low(x) -> jnp.ndarray:
    return jnp.asarray(x, jnp.float32)


def test_the_bound_is_a_sum_over_skills_and_is_reached_by_the_true_posterior():
    q, p, done = shares(POSTERIOR), shares(PRIOR), np.log(POLICY[..., 1])
    missed, apart = skills.bound(low(POSTERIOR), low(PRIOR), low(done))
    for b in range(B):
        np.testing.assert_allclose(missed[b], -sum(q[b, k] * done[b, k] for k in range(K)), rtol=1e-5)
        np.testing.assert_allclose(apart[b], sum(q[b, k] * np.log(q[b, k] / p[b, k]) for k in range(K)), rtol=1e-4)
    truth = -np.log([sum(p[b, k] * POLICY[b, k, 1] for k in range(K)) for b in range(B)])
    assert (np.asarray(missed + apart) > truth - 1e-5).all()
    exact = sum(skills.bound(low(np.log(p) + done), low(PRIOR), low(done)))
    np.testing.assert_allclose(exact, truth, rtol=1e-4)


def test_information_is_what_an_action_tells_of_the_skill():
    p = shares(PRIOR)
    found = skills.information(low(p), low(POLICY))
    for b in range(B):
        mixed = [sum(p[b, k] * POLICY[b, k, a] for k in range(K)) for a in range(A)]
        told = sum(p[b, k] * POLICY[b, k, a] * np.log(POLICY[b, k, a] / mixed[a]) for k in range(K) for a in range(A))
        np.testing.assert_allclose(found[b], told, rtol=1e-4)
    same, apart = jnp.ones((1, K, A)) / A, jnp.eye(K, A)[None]
    np.testing.assert_allclose(skills.information(jnp.ones((1, K)) / K, same), 0.0, atol=1e-6)
    np.testing.assert_allclose(skills.information(jnp.ones((1, K)) / K, apart), np.log(K), rtol=1e-5)


def test_the_entropy_of_the_mean_is_not_the_mean_of_entropies_and_weights_count():
    sure = jnp.eye(K)
    np.testing.assert_allclose(skills.mean_entropy(sure, jnp.ones(K)), np.log(K), rtol=1e-5)
    weight = np.array([3.0, 1.0, 0.0])
    want = -sum(x * np.log(x) for x in (0.75, 0.25))
    np.testing.assert_allclose(skills.mean_entropy(sure, low(weight)), want, rtol=1e-5)
