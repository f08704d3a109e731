"""How a soft actor-critic takes expectations over an agent's own actions: exact sums over a list, or a draw of numbers.

A list of actions has exact sums (Christodoulou 2019, "Soft actor-critic for discrete action settings"). Numbers are
drawn as a function of the policy's parameters, so the critics' slope by the action reaches the policy (Haarnoja et al.
2018, "Soft actor-critic: off-policy maximum entropy deep reinforcement learning", equations 11 and 12).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tandem.core import Array, Key, Params, SoftActorCritic, Transition
from tandem.ops.backups import chosen
from tandem.ops.distributions import draw, squashed_draw
from tandem.ops.masking import masked_logits


class Promise(NamedTuple):
    """What the agents' policies promise at some rows."""

    gain: Array  # [..., N] mean of the lesser critic's values under the policy
    entropy: Array  # [..., N] of the policy in nats; one draw's estimate of it where actions are numbers
    policy: Array  # [..., N, A] probabilities; the numbers drawn


class Expectations(NamedTuple):
    """Expectations over an agent's own actions, by its kind of actions."""

    # params, target critics, traj, key -> the promise of the rows' true successors; others play a draw
    after: Callable[[Params, Params, Transition, Key], Promise]
    # params, traj, key -> the critics' values of the stored actions [K, B, T, N], and the promise of the rows, whose
    # gradients reach the policy alone; others play the stored actions
    now: Callable[[Params, Transition, Key], tuple[Array, Promise]]
    choosing: Callable[[Array], Array]  # legal [..., A] -> whether there is anything to choose [...]
    wanted: Callable[[Array], Array]  # legal [..., A] -> target entropy [...] in nats, zero where there is no choice


def exact(face: SoftActorCritic, exploration: float) -> Expectations:
    """Return sums over a list of actions; the target entropy is that of another than one action with a probability."""

    def after(params: Params, target: Params, traj: Transition, key: Key) -> Promise:
        logits = masked_logits(face.policy(params, traj.next_obs), traj.next_legal)
        action = draw(key, logits)
        return summed(logits, face.critics(params | {"critics": target}, traj.next_obs, traj.next_state, action))

    def now(params: Params, traj: Transition, key: Key) -> tuple[Array, Promise]:
        del key
        values = face.critics(params, traj.obs, traj.state, traj.action)  # [K, B, T, N, A]
        logits = masked_logits(face.policy(params, traj.obs), traj.legal)
        played = chosen(values, jnp.broadcast_to(traj.action, values.shape[:-1]))
        return played, summed(logits, jax.lax.stop_gradient(values))

    def choosing(legal: Array) -> Array:
        return jnp.sum(legal, axis=-1) > 1

    return Expectations(after, now, choosing, lambda legal: wanted_entropy(legal, exploration))


def summed(logits: Array, values: Array) -> Promise:
    """Return the promise [...] of policies with masked logits [..., A] by values [K, ..., A]."""
    policy, logs = jax.nn.softmax(logits, axis=-1), jax.nn.log_softmax(logits, axis=-1)

    def mean(x: Array) -> Array:
        # Illegal actions have a log-probability of -1e9, which times zero is fine, also in the gradient.
        return jnp.sum(jnp.where(policy > 0, policy * x, 0.0), axis=-1)

    return Promise(mean(jnp.min(values, axis=0)), -mean(logs), policy)


def wanted_entropy(legal: Array, exploration: float) -> Array:
    """Return the entropy [...] in nats of playing one of n legal actions [..., A], and with chance e one of the others.

    -(1 - e) log(1 - e) - e log(e / (n - 1)); zero where there is no choice.
    """
    others = jnp.maximum(jnp.sum(legal, axis=-1) - 1.0, 1.0)
    one, rest = 1.0 - exploration, exploration
    entropy = -one * jnp.log(one) - rest * (jnp.log(rest) - jnp.log(others))
    return jnp.where(jnp.sum(legal, axis=-1) > 1, entropy, 0.0)


def drawn(face: SoftActorCritic, entropy_per_number: float) -> Expectations:
    """Return estimates by one draw of numbers; the target entropy is proportional to how many an agent has.

    The target of Haarnoja et al. 2018, "Soft actor-critic algorithms and applications", appendix D, is -1 for each.
    """

    def after(params: Params, target: Params, traj: Transition, key: Key) -> Promise:
        action, log_prob = squashed_draw(key, face.policy(params, traj.next_obs), traj.next_legal)
        networks = params | {"critics": target}
        values = face.critics(networks, traj.next_obs, traj.next_state, action, action)
        return Promise(jnp.min(values, axis=0), -log_prob, action)

    def now(params: Params, traj: Transition, key: Key) -> tuple[Array, Promise]:
        action, log_prob = squashed_draw(key, face.policy(params, traj.obs), traj.legal)
        fixed = jax.lax.stop_gradient(params)
        played = face.critics(params, traj.obs, traj.state, traj.action, traj.action)
        values = face.critics(fixed, traj.obs, traj.state, traj.action, action)
        return played, Promise(jnp.min(values, axis=0), -log_prob, action)

    def wanted(legal: Array) -> Array:
        return entropy_per_number * jnp.sum(legal, axis=-1)

    return Expectations(after, now, lambda legal: jnp.any(legal, axis=-1), wanted)
