"""Groups of categorical latents against slow references, and which side of a divergence learns."""

import jax
import jax.numpy as jnp
import numpy as np

from tandem.ops import latents

RNG = np.random.default_rng(0)
POSTERIOR, PRIOR = (jnp.asarray(RNG.normal(size=(5, 3, 4)) * 2, jnp.float32) for _ in range(2))


def probabilities(logits) -> np.ndarray:
    raised = np.exp(np.asarray(logits, np.float64))
    return raised / raised.sum(-1, keepdims=True)


def slow_divergence(p: np.ndarray, q: np.ndarray) -> float:
    return sum(p[g, c] * np.log(p[g, c] / q[g, c]) for g in range(p.shape[0]) for c in range(p.shape[1]))


def test_a_divergence_is_summed_over_groups():
    want = [slow_divergence(probabilities(a), probabilities(b)) for a, b in zip(POSTERIOR, PRIOR, strict=True)]
    np.testing.assert_allclose(latents.divergence(POSTERIOR, PRIOR), want, rtol=1e-5)


def test_a_hundredth_of_every_categorical_is_uniform():
    mixed = probabilities(latents.mixed_logits(PRIOR))
    np.testing.assert_allclose(mixed, 0.99 * probabilities(PRIOR) + 0.01 / 4, rtol=1e-5)


def test_the_prior_learns_in_full_and_the_posterior_by_a_tenth():
    def total(pair):
        return latents.balanced_divergence(*pair).sum()

    def plain(pair):
        return latents.divergence(*pair).sum()

    found, full = (jax.grad(each)((POSTERIOR, PRIOR)) for each in (total, plain))
    far = latents.divergence(POSTERIOR, PRIOR) > latents.FREE_NATS
    assert 0 < int(far.sum())
    np.testing.assert_allclose(found[0][far], 0.1 * full[0][far], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found[1][far], full[1][far], rtol=1e-5, atol=1e-7)


def test_what_is_nearer_than_the_free_nats_is_left_alone():
    near = POSTERIOR + 0.01
    slopes = jax.grad(lambda pair: latents.balanced_divergence(*pair).sum())((POSTERIOR, near))
    assert all(float(jnp.abs(slope).max()) == 0 for slope in slopes)
    np.testing.assert_allclose(latents.balanced_divergence(POSTERIOR, near), 1.1, rtol=1e-6)


def test_draws_are_one_hot_as_likely_as_their_probabilities_and_pass_the_gradient_of_these():
    luck = jax.random.uniform(jax.random.key(0), (4000, 5, 3))
    drawn = latents.straight_through(jnp.broadcast_to(PRIOR, (4000, 5, 3, 4)), luck)
    np.testing.assert_allclose(np.sort(drawn[0], axis=-1), np.eye(4)[3] * np.ones((5, 3, 4)), atol=1e-6)
    np.testing.assert_allclose(drawn.mean(0), probabilities(PRIOR), atol=0.03)
    weight = jnp.asarray(RNG.normal(size=(5, 3, 4)), jnp.float32)
    found = jax.grad(lambda logits: jnp.sum(weight * latents.straight_through(logits, luck[0])))(PRIOR)
    want = jax.grad(lambda logits: jnp.sum(weight * jax.nn.softmax(logits, axis=-1)))(PRIOR)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


def test_without_luck_the_likeliest_class_is_taken():
    chosen = latents.straight_through(PRIOR, None)
    np.testing.assert_array_equal(jnp.argmax(chosen, axis=-1), jnp.argmax(PRIOR, axis=-1))
