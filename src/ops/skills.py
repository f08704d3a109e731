"""Skills: a policy that is a mixture of K, and how the one that was used is inferred. All sums over K are exact.

The bound on the likelihood of actions is that of variational autoencoders (Kingma and Welling 2014, "Auto-encoding
variational Bayes", equation 3), with a prior that is learned. ODIS (Zhang et al. 2023, "Discovering generalizable
multi-agent coordination skills from multi-task offline data") samples a skill where these are sums.
"""

import jax
import jax.numpy as jnp

from tandem.core import Array
from tandem.ops.masking import entropy, kl_divergence


def bound(posterior: Array, prior: Array, log_prob: Array) -> tuple[Array, Array]:
    """Return -E_q[log beta(a|z)] and KL(q || p), both [...]; their sum is at least -log sum_z p(z) beta(a|z).

    Args:
      posterior: logits [..., K] of q, which saw what was done.
      prior: logits [..., K] of p, which did not.
      log_prob: [..., K] of what was done, under each skill.
    """
    inferred, guessed = jax.nn.log_softmax(posterior, axis=-1), jax.nn.log_softmax(prior, axis=-1)
    share = jnp.exp(inferred)
    return -jnp.sum(share * log_prob, axis=-1), jnp.sum(share * (inferred - guessed), axis=-1)


def information(prior: Array, policy: Array) -> Array:
    """Return I(z; a) [...] in nats: how much an action tells of the skill, sum_z p(z) KL(beta_z || sum_z p(z) beta_z).

    Args:
      prior: probabilities [..., K].
      policy: probabilities [..., K, A] of each skill, zero on illegal actions.
    """
    mixed = jnp.sum(prior[..., None] * policy, axis=-2, keepdims=True)
    return jnp.sum(prior * kl_divergence(policy, mixed), axis=-1)


def mean_entropy(prior: Array, weight: Array) -> Array:
    """Return the entropy [] in nats of the weighted mean of distributions [..., K]: log K where all are used alike."""
    total = jnp.maximum(jnp.sum(weight), 1e-9)
    return entropy(jnp.sum(prior * weight[..., None], axis=tuple(range(weight.ndim))) / total)
