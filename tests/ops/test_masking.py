import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings

from tandem.ops.masking import entropy, kl_divergence, masked_logits, masked_softmax, renormalise

LEGAL = hnp.arrays(bool, (3, 5)).filter(lambda legal: legal.any(axis=-1).all())
NUMBERS = hnp.arrays(np.float32, (3, 5), elements=st.floats(-1e4, 1e4, width=32))
WEIGHTS = hnp.arrays(np.float32, (3, 5), elements=st.sampled_from([0.0, 0.25, 1.0, 7.0]))


@settings(deadline=None, max_examples=50)
@given(NUMBERS, LEGAL)
def test_masked_softmax_is_the_softmax_over_legal_actions(logits, legal):
    probabilities = np.asarray(masked_softmax(logits, legal))
    assert np.all(probabilities[~legal] == 0)
    for row in range(3):
        x = logits[row][legal[row]].astype(np.float64)
        expected = np.exp(x - x.max()) / np.sum(np.exp(x - x.max()))
        np.testing.assert_allclose(probabilities[row][legal[row]], expected, atol=1e-6)


def test_masked_logits_are_finite():
    assert np.all(np.isfinite(masked_logits(jnp.zeros(3), jnp.array([True, False, True]))))


@settings(deadline=None, max_examples=50)
@given(WEIGHTS, LEGAL)
def test_renormalise_keeps_proportions_and_falls_back_to_uniform(weights, legal):
    probabilities = np.asarray(renormalise(weights, legal))
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, rtol=1e-5)
    for row in range(3):
        kept = np.where(legal[row], weights[row], 0.0)
        expected = kept / kept.sum() if kept.sum() > 0 else legal[row] / legal[row].sum()
        np.testing.assert_allclose(probabilities[row], expected, rtol=1e-5)


def test_entropy_counts_zeros_for_nothing():
    np.testing.assert_allclose(entropy(jnp.array([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])), [np.log(2.0), 0.0], atol=1e-7)
    assert np.all(np.isfinite(jax.grad(entropy)(jnp.array([0.0, 0.5, 0.5]))))


def test_kl_divergence_is_the_definition_with_zeros():
    p, q = jnp.array([0.0, 0.25, 0.75]), jnp.array([0.5, 0.5, 0.0])
    np.testing.assert_allclose(kl_divergence(p, p), 0.0, atol=1e-7)
    np.testing.assert_allclose(
        kl_divergence(p, jnp.array([0.0, 0.5, 0.5])), 0.25 * np.log(0.5) + 0.75 * np.log(1.5), rtol=1e-5
    )
    assert np.isfinite(kl_divergence(p, q)) and kl_divergence(p, q) > 10.0
    assert np.all(np.isfinite(jax.grad(kl_divergence, argnums=1)(p, jnp.array([0.0, 0.5, 0.5]))))
