"""Backups: functions that map the Q-values of a state's actions to the state's value.

A backup maps

    values [..., A]      Q-values of a target network, from which the result is computed
    judge [..., A]       Q-values that choose an action; double Q-learning takes the online network's (van
                         Hasselt et al. 2016, "Deep reinforcement learning with double Q-learning", equation 4)
    legal [..., A]       bool; illegal actions have no influence, whatever their values
    behaviour [..., A]   probabilities of the data's policy, zero on illegal actions; None if the backup does not use
                         it

to a value [...]. All but `greedy` use the behaviour.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tandem.core import Array
from tandem.ops.masking import TINY, masked_logits

Backup = Callable[[Array, Array, Array, Array | None], Array]


def greedy(values: Array, judge: Array, legal: Array, behaviour: Array | None = None) -> Array:
    """Return the value of `judge`'s best action: Q-learning, or double Q-learning if `judge` is another network."""
    del behaviour
    best = jnp.argmax(masked_logits(judge, legal), axis=-1)
    return chosen(values, best)


def support(threshold: float) -> Backup:
    """Return the greedy backup among frequent actions of the behaviour: beta / max beta > threshold.

    Discrete BCQ (Fujimoto et al. 2019, "Benchmarking batch deep reinforcement learning algorithms", equation 5).
    """

    def backup(values: Array, judge: Array, legal: Array, behaviour: Array | None) -> Array:
        return greedy(values, judge, legal & supported(behaviour, threshold))

    return backup


def supported(behaviour: Array, threshold: float) -> Array:
    """Return which actions of a behaviour [..., A] are frequent enough, [..., A] bool."""
    return behaviour > threshold * jnp.max(behaviour, axis=-1, keepdims=True)


def soft_behaviour(temperature: float) -> Backup:
    """Return alpha log sum_b beta(b) exp(Q(b) / alpha): the best value net of alpha KL(policy || beta).

    The closed form of behaviour-regularised backups with a KL divergence (Wu et al. 2019, "Behavior regularized offline
    reinforcement learning", section 4). For small alpha it approaches the greatest value in the behaviour's support,
    and for large alpha the behaviour's own value.

    Args:
      temperature: alpha, in units of the values.
    """

    def backup(values: Array, judge: Array, legal: Array, behaviour: Array | None) -> Array:
        del judge
        weighed = jnp.where(legal, values / temperature + _log(behaviour), -jnp.inf)
        return temperature * jax.nn.logsumexp(weighed, axis=-1)

    return backup


def reweighted(temperature: float) -> Backup:
    """Return sum_b p(b) Q(b) with p = beta exp(Q / alpha) / Z: `soft_behaviour` without the penalty.

    Implicit constraint Q-learning (Yang et al. 2021, "Believe what you see",
    equation 10) estimates it by weights of the data's actions; of a known distribution over few actions it is exact.

    Args:
      temperature: alpha, in units of the values.
    """

    def backup(values: Array, judge: Array, legal: Array, behaviour: Array | None) -> Array:
        policy = jax.nn.softmax(jnp.where(legal, values / temperature + _log(behaviour), -jnp.inf), axis=-1)
        return expected(values, judge, legal, policy)

    return backup


def expected(values: Array, judge: Array, legal: Array, behaviour: Array | None) -> Array:
    """Return the behaviour's own value, sum_b beta(b) Q(b): expected SARSA."""
    del judge
    return jnp.sum(jnp.where(legal, values * behaviour, 0.0), axis=-1)


def expectile(level: float) -> Backup:
    """Return the expectile of the values under the behaviour; `level` 0.5 is their mean, towards 1 it is their maximum.

    In-sample maxima of Kostrikov et al. 2022, "Offline reinforcement learning with implicit Q-learning", equation 4.
    There a network is fitted to it; of a known distribution over few actions it is exact: for a level of at least a
    half it is the greatest mean in which values above any threshold weigh `level` and the others 1 - `level` (Bellini
    et al. 2014, "Generalized quantiles as risk measures", proposition 8).

    Raises:
      ValueError: `level` is not in [0.5, 1).
    """
    if not 0.5 <= level < 1.0:
        raise ValueError(f"an expectile's level has to be at least 0.5 and less than 1, got {level}")

    def backup(values: Array, judge: Array, legal: Array, behaviour: Array | None) -> Array:
        del judge
        shares, values = jnp.where(legal, behaviour, 0.0), jnp.where(legal, values, 0.0)
        above = values[..., None, :] > values[..., :, None]  # [..., threshold, A]
        weights = jnp.where(above, level, 1.0 - level) * shares[..., None, :]
        means = jnp.sum(weights * values[..., None, :], axis=-1) / jnp.sum(weights, axis=-1)
        return jnp.max(means, axis=-1)

    return backup


def chosen(values: Array, action: Array) -> Array:
    """Return the values [...] of actions [...] among values [..., A].

    A product with the one-hot action: the gradient of an indexed read is a scatter, slow on CPU. What was not chosen
    may be anything, also not a number.
    """
    picked = jax.nn.one_hot(action, values.shape[-1], dtype=bool)
    return jnp.sum(jnp.where(picked, values, 0.0), axis=-1)


def _log(probabilities: Array) -> Array:
    return jnp.where(probabilities > 0, jnp.log(jnp.maximum(probabilities, TINY)), -jnp.inf)
