"""Penalties for a Q-learner's loss that keep the Q-values of actions outside the recorded data low.

Conservative Q-learning (Kumar et al. 2020, equation 4): a soft maximum over actions, minus the value of the data's
actions. Penalties differ in the actions of the maximum. All are in units of the values, so a weight acts as
weight / (factor on the rewards). Illegal actions never contribute, whatever their values.

A new penalty is a function with the arguments of these and a name in `PENALTIES`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tandem.core import Array, Key
from tandem.ops.backups import chosen
from tandem.ops.masking import masked_logits, masked_softmax

RAREST = 1e-5  # floor of the data's probabilities


class Seen(NamedTuple):
    """A penalty's inputs; N agents, A actions, M fitted values: one of the team, or one of each agent."""

    values: Array  # [..., N, A]
    legal: Array  # [..., N, A] bool
    action: Array  # [..., N] int32 that the data play
    alive: Array  # [..., N] bool
    team: Callable[[Array], Array]  # one value for each agent [..., N] -> [..., M], falls with none of them
    behaviour: Array  # [..., N, A] probabilities of the policy that made the data, zero on illegal actions


class Options(NamedTuple):
    """Settings of penalties; each reads its own."""

    samples: int = 20  # joint: K, random joint actions
    temperature: float = 0.0  # counterfactual: 0 = equal weights; else larger weights for agents that leave the data


Conservatism = Callable[[Seen, Options, Key], Array]  # -> penalties [..., N], or [..., M]


def agent(seen: Seen, options: Options, key: Key) -> Array:
    """Return log sum_b exp Q_i(b) - Q_i(a) of each agent [..., N]: CQL on every agent's own values."""
    del options, key
    return _soft_maximum(seen.values, seen.legal) - chosen(_legal_values(seen), seen.action)


def joint(seen: Seen, options: Options, key: Key) -> Array:
    """Return log sum_k exp Q_tot(b_k) - Q_tot(a) [..., M] over K random legal joint actions and the data's own."""
    drawn, values = by_lot(key, seen.legal, options.samples), _legal_values(seen)
    total = jax.vmap(lambda action: seen.team(_picked(values, action)))(drawn)
    of_data = seen.team(chosen(values, seen.action))
    return jax.nn.logsumexp(jnp.concatenate([total, of_data[None]]), axis=0) - of_data


def _picked(values: Array, action: Array) -> Array:
    """Return what `chosen` does, where all values are numbers: of many actions a matrix product is the fastest."""
    picked = jax.nn.one_hot(action, values.shape[-1], dtype=values.dtype)
    return jnp.einsum("...a,...a->...", picked, values, precision=jax.lax.Precision.HIGHEST)


def by_lot(key: Key, legal: Array, samples: int) -> Array:
    """Return uniformly random legal actions [samples, ...] for each agent of legal [..., A].

    One random number per draw, where Gumbel-max needs A.
    """
    place = jnp.cumsum(legal, axis=-1)  # index among the legal actions, from 1 on

    def draw(luck: Array) -> Array:
        skipped = jnp.floor(luck * place[..., -1])
        return jnp.sum(place <= skipped[..., None], axis=-1, dtype=jnp.int32)

    return jax.vmap(draw)(jax.random.uniform(key, (samples, *legal.shape[:-1])))


def counterfactual(seen: Seen, options: Options, key: Key) -> Array:
    """Return sum_i l_i [log sum_b exp Q_tot(b, a_others) - Q_tot(a)] [..., 1]: one agent leaves the data at a time.

    Shao et al. 2023, "Counterfactual conservative Q-learning for offline multi-agent reinforcement learning", section
    4. The weights l of living agents sum to one: they are equal, or softmax(temperature KL(softmax Q_tot || beta_i)).
    """
    del key
    values = _legal_values(seen)
    of_data, alone = chosen(values, seen.action), jnp.eye(values.shape[-2], dtype=bool)

    def if_played(who: Array, value: Array) -> Array:
        return seen.team(jnp.where(jnp.broadcast_to(who, of_data.shape), value, of_data))[..., 0]

    each = jax.vmap(jax.vmap(if_played, in_axes=(0, None)), in_axes=(None, -1), out_axes=-1)
    totals = jnp.moveaxis(each(alone, values), 0, -2)  # [..., N, A]
    gap = _soft_maximum(totals, seen.legal) - seen.team(of_data)
    return jnp.sum(_shares(seen, options, totals) * gap, axis=-1, keepdims=True)


def _shares(seen: Seen, options: Options, totals: Array) -> Array:
    """Return the agents' weights [..., N], without a gradient."""
    if options.temperature == 0.0:
        return seen.alive / jnp.maximum(jnp.sum(seen.alive, axis=-1, keepdims=True), 1)
    policy = masked_softmax(totals, seen.legal)
    logs = jax.nn.log_softmax(masked_logits(totals, seen.legal), axis=-1)
    apart = logs - jnp.log(jnp.maximum(seen.behaviour, RAREST))
    strayed = jnp.sum(jnp.where(policy > 0, policy * apart, 0.0), axis=-1)
    return jax.lax.stop_gradient(masked_softmax(options.temperature * strayed, seen.alive) * seen.alive)


def maximum(seen: Seen, options: Options, key: Key) -> Array:
    """Return max_b Q_tot(b) - Q_tot(a) [..., M]; the team's best joint action consists of the agents' best actions."""
    del options, key
    best = jnp.max(masked_logits(seen.values, seen.legal), axis=-1)
    return seen.team(best) - seen.team(chosen(_legal_values(seen), seen.action))


def _legal_values(seen: Seen) -> Array:
    return jnp.where(seen.legal, seen.values, 0.0)


def _soft_maximum(values: Array, legal: Array) -> Array:
    return jax.nn.logsumexp(masked_logits(values, legal), axis=-1)


PENALTIES: dict[str, Conservatism] = {
    "agent": agent, "joint": joint, "counterfactual": counterfactual, "max": maximum,
}  # fmt: skip
