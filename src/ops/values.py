"""A world model's values of states."""

import jax.numpy as jnp

from tandem.core import Array, Params, TeamValue


def state_value(value: TeamValue, params: Params, latent: Array) -> Array:
    """Return the value head's value [...] of latent [..., N, D] without commitments."""
    nobody = jnp.zeros(latent.shape[:-1], bool)
    return committed_value(value, params, latent, jnp.zeros(nobody.shape, jnp.int32), nobody)


def committed_value(value: TeamValue, params: Params, latent: Array, action: Array, committed: Array) -> Array:
    """Return the value head's value [...] of latent [..., N, D] if some agents have committed
    [..., N] to their actions [..., N].
    """
    return value.codec.mean(value.logits(params, latent, action, committed))
