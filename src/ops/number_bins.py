"""Continuous actions as choices: each number of an agent's action is one of K, equidistant from -1 to 1.

The distribution of a number can then have any shape, also several peaks, and its bounds are choices of their own.
Numbers are independent given what the policy sees, so log-probabilities and entropies add up (Tang & Agrawal 2020,
"Discretizing continuous action space for on-policy optimization", section 4). MARIE (Zhang et al. 2024) has 256.
"""

from functools import cache

import jax
import jax.numpy as jnp

from tandem.core import Array, Distribution, Key
from tandem.ops.distributions import draw


def number_of(choice: Array, bins: int) -> Array:
    """Return the numbers [...] in [-1, 1] that choices [...] stand for."""
    return choice.astype(jnp.float32) * (2.0 / (bins - 1)) - 1.0


def choice_of(number: Array, bins: int) -> Array:
    """Return the nearest choices [...] int32 to numbers [...]; beyond the bounds that is the bound."""
    return jnp.round((jnp.clip(number, -1.0, 1.0) + 1.0) * (0.5 * (bins - 1))).astype(jnp.int32)


@cache
def binned(bins: int) -> Distribution:
    """Return the distribution of numbers by outputs [..., A K]: K logits for each; numbers nobody has are zero."""

    def logs(outputs: Array) -> Array:
        """Return log-probabilities [..., A, K]."""
        return jax.nn.log_softmax(outputs.reshape(*outputs.shape[:-1], -1, bins), axis=-1)

    def over_numbers(terms: Array, legal: Array) -> Array:
        """Return sums [...] of terms [..., A, K] over the choices of the numbers that an agent has."""
        return jnp.sum(jnp.where(legal, jnp.sum(terms, axis=-1), 0.0), axis=-1)

    def played(choice: Array, legal: Array) -> Array:
        return jnp.where(legal, number_of(choice, bins), 0.0)

    def sample(key: Key, outputs: Array, legal: Array) -> Array:
        return played(draw(key, logs(outputs)), legal)

    def mode(outputs: Array, legal: Array) -> Array:
        return played(jnp.argmax(logs(outputs), axis=-1), legal)

    def log_prob(outputs: Array, legal: Array, action: Array) -> Array:
        # A product with the one-hot choice: the gradient of an indexed read is a scatter, slow on CPU.
        return over_numbers(logs(outputs) * jax.nn.one_hot(choice_of(action, bins), bins), legal)

    def entropy(outputs: Array, legal: Array) -> Array:
        found = logs(outputs)
        return -over_numbers(jnp.exp(found) * found, legal)

    def kl_divergence(p: Array, q: Array, legal: Array) -> Array:
        return over_numbers(jnp.exp(logs(p)) * (logs(p) - logs(q)), legal)

    def mean(outputs: Array, legal: Array) -> Array:
        share = jnp.exp(logs(outputs))
        numbers = jnp.broadcast_to(number_of(jnp.arange(bins), bins), share.shape)
        return jnp.where(legal, jnp.sum(share * numbers, axis=-1), 0.0)

    return Distribution(
        sample=sample, mode=mode, log_prob=log_prob, entropy=entropy, kl_divergence=kl_divergence, describe=mean
    )  # fmt: skip
