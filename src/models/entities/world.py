"""A world model's parts over entities: tokens of things inside each agent's latent, and what moves them.

An agent's latent has a part about the whole observation and a token of each thing that the agent sees, so that the
things persist in imagined steps. A token of zeros stands for an absent thing. The tokens of teammates move by the
teammates' own latents and actions. All other tokens move by the agent's action, by the teammates nearby, and by the
number of agents that aim at them. Kinds in `LatentSpace.masked` have a mask: their tokens of zeros stay
zeros, and nothing else depends on them.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Array, Vector
from tandem.models.attention import TransformerBlock
from tandem.models.dense import Dense
from tandem.models.entities.config import EntityConfig
from tandem.models.entities.encoder import Encoder
from tandem.models.entities.latent import LatentSpace
from tandem.models.entities.view import ALLY, TINY, view


class EntityRepresentation(nn.Module):
    """Each agent's own observation to its latent: the only input of the decentralised policy."""

    config: EntityConfig
    space: LatentSpace
    obs: Vector
    hidden: int

    @nn.compact
    def __call__(self, obs: Array) -> Array:
        """Map obs [..., N, O] to latents [..., N, D]."""
        seen = view(self.obs, obs)
        features, tokens = Encoder(self.config, name="entities")(seen)
        shown = {kind.name: kind.shown for kind in seen.kinds}
        x = nn.relu(Dense(self.hidden)(features))
        whole = nn.LayerNorm()(Dense(self.space.own)(x))
        there = {name: x if shown[name] is None else x * shown[name][..., None] for name, x in tokens.items()}
        there = {name: bounded(x) for name, x in there.items()}
        for name in self.space.masked:
            there[name] = present(there[name], shown[name])
        return self.space.join(whole, there)


class EntityDynamics(nn.Module):
    """One environment step in latent space: agents talk to each other, things move, and the team is paid for it."""

    space: LatentSpace
    hidden: int
    attention: int  # width of what agents exchange; 0 = they do not
    attention_heads: int
    attention_layers: int
    relation_size: int

    @nn.compact
    def __call__(self, latent: Array, action: Array) -> Array:
        """Map latent [..., N, D] and action [..., N] to the next latent [..., N, D]."""
        space = self.space
        whole, tokens = space.whole(latent), space.tokens(latent)
        x = jnp.concatenate([whole, space.played(latent, action)], axis=-1)
        if self.attention:
            said = Dense(self.attention, name="token")(x)
            for _ in range(self.attention_layers):
                said = TransformerBlock(self.attention_heads, self.attention)(said)
            x = jnp.concatenate([x, said], axis=-1)
        x = nn.relu(Dense(self.hidden, name="hidden")(x))
        moved = self._move(x, tokens, action)
        # The maximum alone: attention to imagined things costs half of the step again, and taught no more.
        pooled = jnp.concatenate([moved[name].max(axis=-2) for name in moved], axis=-1)
        change = Dense(space.own, name="change")(x) + Dense(space.own, use_bias=False, name="pooled")(pooled)
        return space.join(nn.LayerNorm()(whole + change), moved)

    def _move(self, x: Array, tokens: dict[str, Array], action: Array) -> dict[str, Array]:
        """Return the tokens {kind: [..., N, C, h]} after the agents, who know x [..., N, H], have acted."""
        size, moved, names = self.space.token, {}, sorted(tokens, key=lambda name: name != ALLY)
        there = self.space.there(tokens)
        team = ALLY in tokens and tokens[ALLY].shape[-2] == x.shape[-2] - 1
        # One product for all that agents say to things, because many narrow ones are slow.
        said = jnp.split(Dense(size * (len(names) + team), name="agent")(x), len(names) + team, axis=-1)
        for name, own in zip(names, said):
            related = name != ALLY and ALLY in moved
            inputs = Dense(size + related * self.relation_size, use_bias=False, name=name)(tokens[name])
            inputs, mine = inputs[..., :size] + own[..., None, :], inputs[..., size:]
            if name == ALLY and team:
                inputs += others(said[-1])
            if related:
                inputs += self._near(name, mine, moved[ALLY], there.get(ALLY))
            if name == self.space.target:
                inputs += self._hits(action)
            moved[name] = bounded(nn.relu(tokens[name] + Dense(size, name=f"{name}_change")(nn.relu(inputs))))
            if name in there:
                moved[name] = present(moved[name], there[name])
        return {name: moved[name] for name, _ in self.space.kinds}

    def _near(self, name: str, mine: Array, allies: Array, there: Array | None) -> Array:
        """Return relations [..., C, h] of things with features `mine` [..., C, R] to teammates' tokens [..., E, h].

        Args:
          there: [..., E] bool, which teammates count; None = all.
        """
        theirs = Dense(self.relation_size, name=f"{name}_ally")(allies)[..., None, :, :]
        pair = nn.relu(mine[..., :, None, :] + theirs)
        if there is not None:
            pair = jnp.where(there[..., None, :, None], pair, 0.0)
        return Dense(self.space.token, use_bias=False, name=f"{name}_near")(pair.max(axis=-2))

    def _hits(self, action: Array) -> Array:
        """Return what the agents' aims are to each target [..., N, C, h]: the agent's own, and everybody's."""
        own = self.space.aimed(action)[..., None]  # [..., N, C, 1]
        team = jnp.broadcast_to(own.sum(axis=-3, keepdims=True), own.shape)
        return Dense(self.space.token, use_bias=False, name="hits")(jnp.concatenate([own, team], axis=-1))


def others(x: Array) -> Array:
    """Return what each agent sees of the others' x [..., N, F]: [..., N, N - 1, F], in the agents' order."""
    n = x.shape[-2]
    before = np.arange(n - 1)[None, :] < np.arange(n)[:, None]  # [N, N - 1]
    before = before.reshape((1,) * (x.ndim - 2) + (n, n - 1, 1))
    # A choice between two slices: the gradient of an indexed read is a scatter, slow on CPU.
    return jnp.where(before, x[..., None, :-1, :], x[..., None, 1:, :])


def bounded(tokens: Array) -> Array:
    """Return tokens [..., h] of a length that cannot grow from step to step; zeros stay zeros."""
    return tokens * jax.lax.rsqrt(jnp.mean(tokens**2, axis=-1, keepdims=True) + 1.0)


def present(tokens: Array, there: Array) -> Array:
    """Return tokens [..., C, h], never zeros for things that are there [..., C], and zeros for all others."""
    return jnp.where(there[..., None], tokens + TINY, 0.0)


class RelationalHead(nn.Module):
    """A centralised head: agents look at each other, and the mean and the maximum of what they know are judged.

    It does not depend on the agents' order. The layer between agents is that of permutation-invariant critics (Liu et
    al. 2020, "PIC", section 4.1, with the mean over all as neighbourhood); the maximum keeps what one agent alone
    does, which drowns in a mean of many.
    """

    hidden: int
    num_bins: int

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """Map [..., N, F] to float32 logits [..., V], uniform at first."""
        each = nn.relu(Dense(self.hidden, name="each")(features))
        team = Dense(self.hidden, use_bias=False, name="others")(each.mean(axis=-2))
        each = nn.relu(Dense(self.hidden, name="itself")(each) + team[..., None, :])
        team = jnp.concatenate([each.mean(axis=-2), each.max(axis=-2)], axis=-1)
        team = nn.relu(Dense(self.hidden, name="team")(team))
        return Dense(self.num_bins, kernel_init=nn.initializers.zeros, name="bins")(team)


class TokenProjection(nn.Module):
    """What is compared of predicted and real latents: the whole, and each token in a space of its own."""

    space: LatentSpace
    size: int

    @nn.compact
    def __call__(self, latent: Array) -> Array:
        """Map latent [..., N, D] to [..., N, P]."""
        parts = [Dense(self.size, name="whole")(self.space.whole(latent))]
        for name, tokens in self.space.tokens(latent).items():
            each = Dense(max(self.size // 8, 1), name=name)(tokens)
            parts.append(each.reshape(*latent.shape[:-1], -1))
        return jnp.concatenate(parts, axis=-1)
