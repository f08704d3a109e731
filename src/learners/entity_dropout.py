"""Hiding things at random from those who learn, so that larger teams look like those of training.

REFIL (Iqbal et al. 2021, "Randomized entity-wise factorization for multi-agent reinforcement learning") and
FlickerFusion (2410.15876) train on random parts of what there is. Here an agent does not see some things in a whole
sequence, as if they were out of its sight. Nothing is hidden when it acts.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tandem.core import Array, Key, Model, Transition, setting

Hide = Callable[[Transition, Key], Transition]


def entity_dropout_setting() -> Any:
    """Return the setting of learners from recorded data."""
    return setting(
        0.0, "encoder=entities: with what probability each thing but itself is hidden from an agent in a sequence that "
        "it learns from; 0 = nothing is", low=0.0, high=0.95,
    )  # fmt: skip


def make_hide(share: float, model: Model) -> Hide | None:
    """Return what hides each thing with a probability; None where nothing is hidden.

    Raises:
      ValueError: the network sees no things.
    """
    if share == 0.0:
        return None
    if not model.things:
        raise ValueError(
            f"learner_args.entity_dropout={share}: this network reads observations flat, so there is nothing to hide; "
            "set it to 0, or choose network_args.encoder=entities"
        )

    def hide(traj: Transition, key: Key) -> Transition:
        batch, _, agents, _ = traj.obs.shape
        return hidden(jax.random.bernoulli(key, share, (batch, agents, model.things)), traj)

    return hide


def hidden(flags: Array, traj: Transition) -> Transition:
    """Return sequences [B, T, ...] in which agents do not see what flags [B, N, C] mark, in a row and after it."""

    def mark(obs: Array) -> Array:
        each = jnp.broadcast_to(flags[:, None], (*obs.shape[:-1], flags.shape[-1]))
        return jnp.concatenate([obs, each.astype(obs.dtype)], axis=-1)

    return traj.replace(obs=mark(traj.obs), next_obs=mark(traj.next_obs))
