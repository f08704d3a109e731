"""Mixtures of rounded logistics against slow references."""

import jax
import jax.numpy as jnp
import numpy as np

from tandem.ops.discretised import Mixture, log_prob, mode, sample

RNG = np.random.default_rng(5)
V = 7
LOGITS, CENTRE, SCALE = RNG.normal(size=(4, 3)), RNG.uniform(-1, 8, (4, 3)), RNG.uniform(0.12, 2, (4, 3))
MIXTURE = Mixture(*(jnp.asarray(x, jnp.float32) for x in (LOGITS, CENTRE, SCALE)))


def slow(row: int, code: int) -> float:
    """Return the probability of a whole number, by the definition."""

    def below(x: float, centre: float, scale: float) -> float:
        return 1.0 / (1.0 + np.exp(-(x - centre) / scale))

    weights = np.exp(LOGITS[row]) / np.exp(LOGITS[row]).sum()
    parts = []
    for centre, scale in zip(CENTRE[row], SCALE[row], strict=True):
        high = 1.0 if code == V - 1 else below(code + 0.5, centre, scale)
        parts.append(high - (0.0 if code == 0 else below(code - 0.5, centre, scale)))
    return float(weights @ parts)


def test_probabilities_are_those_of_the_definition_and_sum_to_one():
    codes = jnp.broadcast_to(jnp.arange(V)[:, None], (V, 4))
    spread = jax.tree.map(lambda x: jnp.broadcast_to(x, (V, *x.shape)), MIXTURE)
    found = np.exp(np.asarray(log_prob(spread, codes, V)))
    want = [[slow(row, code) for row in range(4)] for code in range(V)]
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=0), 1.0, rtol=1e-5)


def test_draws_come_as_often_as_they_are_likely():
    many = jax.tree.map(lambda x: jnp.broadcast_to(x, (100_000, *x.shape)), MIXTURE)
    luck = jax.random.uniform(jax.random.key(1), (2, 100_000, 4), minval=1e-6, maxval=1.0 - 1e-6)
    drawn = np.asarray(jax.jit(sample, static_argnums=3)(*luck, many, V))
    shares = np.stack([(drawn == code).mean(axis=0) for code in range(V)])
    want = np.array([[slow(row, code) for row in range(4)] for code in range(V)])
    # Six standard errors of a share are 0.0095 at most, and there are 28 shares: false once in 10^7.
    assert np.abs(shares - want).max() < 0.0095
    likeliest = CENTRE[np.arange(4), LOGITS.argmax(axis=-1)]
    np.testing.assert_array_equal(mode(MIXTURE, V), np.clip(np.round(likeliest), 0, V - 1))


def test_gradients_are_finite_far_from_the_truth():
    far = MIXTURE._replace(centre=MIXTURE.centre + 1e4, scale=jnp.full_like(MIXTURE.scale, 0.12))
    slopes = jax.grad(lambda m: log_prob(m, jnp.array([0, 3, 6, 2]), V).sum())(far)
    assert all(bool(jnp.isfinite(x).all()) for x in slopes)
