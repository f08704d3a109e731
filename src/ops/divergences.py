"""Divergences of a policy from the data's policy, as exact sums over an agent's actions.

Penalties of behaviour-regularised actor-critics (Wu et al. 2019, "Behavior regularized offline reinforcement learning",
section 3; Kumar et al. 2019, "Stabilizing off-policy Q-learning via bootstrapping error reduction", section 5). Both
policies are distributions [..., A] that are zero on illegal actions. The data's policy is estimated, and tiny
probabilities in it are unreliable, so they have the floor RAREST.

A new penalty is a function with the arguments of these and a name in `DIVERGENCES`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from tandem.core import Array
from tandem.ops.backups import supported
from tandem.ops.masking import kl_divergence

RAREST = 1e-4
SMOOTH = 1e-3  # mmd: width over which its tip is rounded, because the root has no finite slope there


class Options(NamedTuple):
    """Settings of divergences; each reads its own."""

    threshold: float = 0.3  # support: least probability of the data's actions, as a share of the likeliest's
    kernel_width: float = 10.0  # mmd


Divergence = Callable[[Array, Array, Options], Array]  # policy, behaviour [..., A] -> [...]


def kl(policy: Array, behaviour: Array, options: Options) -> Array:
    """Return KL(policy || behaviour) in nats: it punishes actions that the data avoid, but not omissions."""
    del options
    return kl_divergence(policy, jnp.maximum(behaviour, RAREST))


def js(policy: Array, behaviour: Array, options: Options) -> Array:
    """Return the Jensen-Shannon divergence, at most log 2; its pull vanishes at large distances."""
    del options
    middle = 0.5 * (policy + behaviour)
    return 0.5 * (kl_divergence(policy, middle) + kl_divergence(behaviour, middle))


def tv(policy: Array, behaviour: Array, options: Options) -> Array:
    """Return the total variation, at most 1: the share of decisions that differ."""
    del options
    return 0.5 * jnp.sum(jnp.abs(policy - behaviour), axis=-1)


def mmd(policy: Array, behaviour: Array, options: Options) -> Array:
    """Return the maximum mean discrepancy under a Laplacian kernel on one-hot actions, exp(-|x - y|_1 / (2 width)).

    Of two actions it is 1 or exp(-1 / width), so the sum over all pairs is (1 - exp(-1 / width)) |policy - behaviour|^2
    exactly. So the width only scales it. BEAR estimates it from a few samples.
    """
    square = (1.0 - jnp.exp(-1.0 / options.kernel_width)) * jnp.sum((policy - behaviour) ** 2, axis=-1)
    return jnp.sqrt(square + SMOOTH**2) - SMOOTH


def support(policy: Array, behaviour: Array, options: Options) -> Array:
    """Return the probability of actions that are too rare in the data; all others are free."""
    return jnp.sum(jnp.where(supported(behaviour, options.threshold), 0.0, policy), axis=-1)


DIVERGENCES: dict[str, Divergence] = {"kl": kl, "js": js, "tv": tv, "mmd": mmd, "support": support}
