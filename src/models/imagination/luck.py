"""Which tokens of a team share their luck when they are drawn, so that what is dreamt agrees with itself.

Tokens of a step are independent given what is known, as the layout `one` has it. Drawn so, a thing that dies with
probability 1/2 would lose half of its features, and others in each agent's eyes. With the same luck for all features of
a thing, and for all who see it, it dies whole and for all, and the distribution of each token is what it was.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Array, Key, Vector

OWN = "own"


class Ties(NamedTuple):
    """What shares its luck; static."""

    things: tuple[int, ...]  # [K] of which thing each token tells
    by_all: tuple[bool, ...]  # [K] whether it is the same thing for all agents


def no_ties(slots: int) -> Ties:
    """Return ties of nothing."""
    return Ties(tuple(range(slots)), (False,) * slots)


def of_features(space: Vector) -> Ties:
    """Return the ties of tokens that are an observation's features, by what these describe.

    An agent's own features are its own. Other things have the same place in all agents' lists, or nearly so.
    """
    things, by_all = np.arange(space.size), np.zeros(space.size, bool)
    number = space.size
    for block in space.entities:
        for thing in range(block.count):
            for start, width in block.parts:
                lies = slice(start + thing * width, start + (thing + 1) * width)
                things[lies], by_all[lies] = number, block.kind != OWN
            number += 1
    return Ties(tuple(np.unique(things, return_inverse=True)[1].tolist()), tuple(by_all.tolist()))


def draw(key: Key, ties: Ties, batch: tuple[int, ...]) -> tuple[Array, Array]:
    """Return two uniform numbers in (0, 1) for each token [..., N, K], by which a token is drawn.

    The first, by which a component is chosen, is one for all tokens of a thing; the second is each token's.

    Args:
      batch: [..., N].
    """
    count, slots = max(ties.things) + 1, len(ties.things)
    both = jax.random.uniform(key, (*batch, count + slots), minval=1e-6, maxval=1.0 - 1e-6)
    thing, token = both[..., np.array(ties.things)], both[..., count:]
    same = np.array(ties.by_all).reshape((1,) * len(batch) + (-1,))
    return jnp.where(same, thing[..., :1, :], thing), jnp.where(same, token[..., :1, :], token)
