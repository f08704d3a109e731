"""What an observer makes of the things that it sees: embeddings by kind, relations between things, pooling.

The parts are those of Deep Sets (Zaheer et al. 2017) and of attention over entities (Iqbal et al. 2021, "REFIL"). What
is new here is cheap relations: a pair is described by how far its two things are apart, so that a pair takes a few
multiplications and no matrix product.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array
from tandem.models.dense import Dense
from tandem.models.entities.config import EntityConfig
from tandem.models.entities.view import ALLY, Kind, View, distance, length

FAR = 10.0  # stands for the distance to nobody
NEVER = -1e9


class Encoder(nn.Module):
    """What is seen, to what is known of all of it and to what is known of each thing in it."""

    config: EntityConfig

    @nn.compact
    def __call__(self, seen: View) -> tuple[Array, dict[str, Array]]:
        """Map what observers see [...] to features [..., F] and to tokens {kind: [..., C, H]}."""
        config, size = self.config, self.config.entity_size
        start = nn.initializers.orthogonal(2**0.5)
        own = None if seen.own is None else nn.relu(Dense(size, kernel_init=start, name="own")(seen.own))
        features, tokens = [] if own is None else [own], {}
        for kind in seen.kinds:
            known = [kind.rows]
            if kind.place is not None:
                if own is not None:
                    known.append(length(kind.place)[..., None])
                for other in seen.kinds:
                    if _relates(config.relations, kind, other):
                        known.append(Relation(config.relation_size, name=f"{kind.name}_to_{other.name}")(kind, other))
            token = Dense(size, kernel_init=start, name=f"{kind.name}_token")(jnp.concatenate(known, axis=-1))
            if own is not None:
                token = token + Dense(size, use_bias=False, name=f"{kind.name}_own")(own)[..., None, :]
            tokens[kind.name] = _left(kind, nn.relu(token))
            features += Pool(config.pooling, name=f"{kind.name}_pool")(tokens[kind.name], kind.shown)
        return jnp.concatenate(features, axis=-1), tokens


def _left(kind: Kind, tokens: Array) -> Array:
    """Return tokens [..., C, H], zeros for what is hidden.

    An action aimed at a thing is still there to be judged when that thing is hidden, so its token stays.
    """
    if kind.hidden is None or kind.first_action >= 0:
        return tokens
    return jnp.where(kind.hidden[..., None], 0.0, tokens)


def _relates(relations: str, kind: Kind, other: Kind) -> bool:
    """Return whether things of one kind take up their distances to those of another."""
    if other.place is None or relations == "none":
        return False
    return relations == "all" or (other.name == ALLY and kind.name != ALLY)


class Relation(nn.Module):
    """What things are to those of another kind, who they are and how far away, put together by mean and maximum."""

    size: int

    @nn.compact
    def __call__(self, kind: Kind, other: Kind) -> Array:
        """Return what each thing is to all others [..., C, 2 R + 2]."""
        apart = distance(kind.place, other.place)  # [..., C, E]
        who = Dense(self.size, name="who")(other.rows)[..., None, :, :]  # [..., 1, E, R]
        mine = Dense(self.size, use_bias=False, name="mine")(length(kind.place)[..., None])[..., None, :]
        # A product with a matrix of one row: the gradient of a broadcast product is a slow sum on CPU.
        away = Dense(self.size, use_bias=False, kernel_init=nn.initializers.normal(1.0), name="away")(apart[..., None])
        pair = nn.relu(who + mine + away)  # [..., C, E, R]
        if other.shown is None:
            near, far, mean = apart.min(axis=-1), apart.max(axis=-1), pair.mean(axis=-2)
        else:
            there = other.shown[..., None, :]
            near = jnp.min(jnp.where(there, apart, FAR), axis=-1)
            far = jnp.max(jnp.where(there, apart, 0.0), axis=-1)
            pair = jnp.where(there[..., None], pair, 0.0)
            mean = pair.sum(axis=-2) / jnp.maximum(there.sum(axis=-1), 1)[..., None]
        return jnp.concatenate([mean, most(pair), near[..., None], far[..., None]], axis=-1)


class Pool(nn.Module):
    """Things of one kind put together, whatever their number and order."""

    pooling: str

    @nn.compact
    def __call__(self, tokens: Array, shown: Array | None) -> list[Array]:
        """Return summaries [..., H] of non-negative tokens [..., C, H]; zeros where nothing is shown.

        Attention is additive (Bahdanau et al. 2015): the tokens themselves say how much they matter, because they
        are made of what the observer knows as well.
        """
        found = []
        if shown is not None:
            tokens = jnp.where(shown[..., None], tokens, 0.0)
        if "attention" in self.pooling:
            scores = Dense(1, name="score")(tokens)[..., 0]
            scores = scores if shown is None else jnp.where(shown, scores, NEVER)
            found.append(jnp.einsum("...c,...ch->...h", jax.nn.softmax(scores, axis=-1), tokens))
        if "max" in self.pooling:
            found.append(most(tokens))
        if self.pooling == "mean":
            total = tokens.shape[-2] if shown is None else jnp.maximum(shown.sum(axis=-1), 1)[..., None]
            found.append(jnp.sum(tokens, axis=-2) / total)
        return found


@jax.custom_vjp
def most(x: Array) -> Array:
    """Return the maximum [..., F] over the last axis but one of x [..., C, F].

    Its gradient goes undivided to every entry that is the greatest. JAX's own maximum divides the gradient among them
    and takes three times as long. Equal entries are common only as zeros of a rectifier, which pass no gradient.
    """
    return jnp.max(x, axis=-2)


def _most_forward(x: Array) -> tuple[Array, tuple[Array, Array]]:
    greatest = jnp.max(x, axis=-2)
    return greatest, (x, greatest)


def _most_backward(kept: tuple[Array, Array], slope: Array) -> tuple[Array]:
    x, greatest = kept
    return (jnp.where(x == greatest[..., None, :], slope[..., None, :], 0.0),)


most.defvjp(_most_forward, _most_backward)
