"""How an agent's latent is made up: what it knows as a whole, and what it knows of each thing.

A latent is one vector [D], as everywhere; networks that read observations flat have one without things in it. Who
needs features of an action asks the latent's space as well, because an action may be aimed at a thing, and is then
described by what is known of that thing.
"""

import dataclasses

import jax
import jax.numpy as jnp

from tandem.core import Array, Discrete, Vector
from tandem.models.entities.view import OWN


@dataclasses.dataclass(frozen=True)
class LatentSpace:
    """Sizes and places in a latent; hashable."""

    own: int  # width of what an agent knows as a whole
    num_actions: int
    token: int = 0  # width of what it knows of each thing
    kinds: tuple[tuple[str, int], ...] = ()  # (name, count) of the things, in order
    target: str = ""  # the kind that actions aim at; "" = none
    first_action: int = 0  # the action that aims at the first of them
    masked: tuple[str, ...] = ()  # the kinds whose tokens stay zeros, and count for nothing, once they are zeros

    @property
    def size(self) -> int:
        return self.own + self.token * sum(count for _, count in self.kinds)

    @property
    def num_targets(self) -> int:
        return dict(self.kinds)[self.target] if self.target else 0

    @property
    def num_plain(self) -> int:
        """Return how many actions aim at nothing."""
        return self.num_actions - self.num_targets

    def whole(self, latent: Array) -> Array:
        """Return what an agent knows as a whole [..., own] of latents [..., D]."""
        return latent[..., : self.own] if self.kinds else latent

    def tokens(self, latent: Array) -> dict[str, Array]:
        """Return what is known of each thing, {kind: [..., C, token]}, of latents [..., D]."""
        found, start = {}, self.own
        for name, count in self.kinds:
            part = latent[..., start : start + count * self.token]
            found[name] = part.reshape(*latent.shape[:-1], count, self.token)
            start += count * self.token
        return found

    def there(self, tokens: dict[str, Array]) -> dict[str, Array]:
        """Return which things of the masked kinds have a token, {kind: [..., C] bool}."""
        return {name: jnp.any(tokens[name] != 0, axis=-1) for name in self.masked}

    def join(self, whole: Array, tokens: dict[str, Array]) -> Array:
        """Return latents [..., D] of their parts."""
        flat = [tokens[name].reshape(*whole.shape[:-1], -1) for name, _ in self.kinds]
        return jnp.concatenate([whole, *flat], axis=-1)

    def aimed(self, action: Array, dtype: jnp.dtype = jnp.float32) -> Array:
        """Return which thing actions [...] aim at, one-hot [..., C]; all zeros where at none."""
        return jax.nn.one_hot(action - self.first_action, self.num_targets, dtype=dtype)

    def played(self, latent: Array, action: Array, dtype: jnp.dtype = jnp.float32) -> Array:
        """Return features [..., F] of the actions [...] of agents with latents [..., D]."""
        if not self.target:
            return jax.nn.one_hot(action, self.num_actions, dtype=dtype)
        aimed = self.aimed(action, dtype)
        behind = action >= self.first_action + self.num_targets
        plain = jnp.where(behind, action - self.num_targets, action)
        at_target = aimed.sum(axis=-1, keepdims=True)
        shot = jnp.sum(aimed[..., None] * self.tokens(latent)[self.target].astype(dtype), axis=-2)
        plain = jax.nn.one_hot(plain, self.num_plain, dtype=dtype) * (1.0 - at_target)
        return jnp.concatenate([plain, at_target, shot], axis=-1)

    def outputs(self, plain: Array, at_targets: Array) -> Array:
        """Return outputs [..., A] for all actions, of those that aim at nothing and of those at targets [..., C]."""
        first = self.first_action
        return jnp.concatenate([plain[..., :first], at_targets, plain[..., first:]], axis=-1)


def latent_space(own: int, token: int, obs: Vector, actions: Discrete, mask_absent: bool = False) -> LatentSpace:
    """Return the space of latents that hold a token of each thing in an observation.

    Args:
      mask_absent: whether things that an observation marks as absent stay absent in imagined steps.
    """
    blocks = [block for block in obs.entities if block.kind != OWN]
    target = next((block for block in blocks if block.first_action >= 0), None)
    return LatentSpace(
        own=own,
        num_actions=actions.size,
        token=token,
        kinds=tuple((block.kind, block.count) for block in blocks),
        target=target.kind if target else "",
        first_action=target.first_action if target else 0,
        masked=tuple(block.kind for block in blocks if block.absent and mask_absent),
    )
