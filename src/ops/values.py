"""What a state is worth to a world model."""

import jax.numpy as jnp

from src.core import Array, Params, WorldModel


def state_value(model: WorldModel, params: Params, latent: Array) -> Array:
    """Return the value head's opinion [...] of latent [..., N, D], nobody having committed."""
    nobody = jnp.zeros(latent.shape[:-1], bool)
    return model.value_mean(model.value(params, latent, jnp.zeros(nobody.shape, jnp.int32), nobody))
