"""A flat observation taken apart into the things that it describes."""

from typing import NamedTuple

import jax.numpy as jnp

from tandem.core import Array, Entities, Vector

OWN, ALLY = "own", "ally"
TINY = 1e-6  # under a root, because its slope at zero has no bound; in tokens, which then differ from zeros


class Kind(NamedTuple):
    """The things of one kind that an observation shows."""

    name: str
    rows: Array  # [..., C, W] features of each
    shown: Array | None  # [..., C] bool: is there and seen; None: all are
    place: Array | None  # [..., C, P] where each is; None: unknown
    first_action: int  # the action that targets the first of them; -1 = none does
    hidden: Array | None = None  # [..., C] bool: is left out of training, and so not shown; None: nothing is


class View(NamedTuple):
    """What one observer sees; a view of the global state has no observer."""

    own: Array | None  # [..., W] what it knows of itself
    awake: Array | None  # [...] bool: it is alive itself, as far as its features tell; None: always
    kinds: tuple[Kind, ...]  # all else, in the order of the observation


def view(space: Vector, obs: Array) -> View:
    """Take observations [..., O] apart. Places are as the observer sees them, where it knows its own.

    Observations [..., O + C] say of each of the C things beside the observer whether it is hidden.
    """
    blocks = {block.kind: block for block in space.entities}
    own = blocks.pop(OWN, None)
    origin = None
    if own is not None:
        rows = own.rows(obs)
        origin = rows[..., list(own.place)] if own.place else None
    kinds = tuple(_kind(block, obs, origin) for block in blocks.values())
    if obs.shape[-1] > space.size:
        kinds = _hidden(kinds, obs[..., space.size :] > 0.5)
    if own is None:
        return View(None, None, kinds)
    shown = own.shown(rows)
    return View(_scaled(own, rows)[..., 0, :], None if shown is None else shown[..., 0], kinds)


def num_things(space: Vector) -> int:
    """Return how many things beside the observer an observation shows."""
    return sum(block.count for block in space.entities if block.kind != OWN)


def _hidden(kinds: tuple[Kind, ...], flags: Array) -> tuple[Kind, ...]:
    """Return kinds of which those things are not shown that are marked by flags [..., C]."""
    found, start = [], 0
    for kind in kinds:
        hidden = flags[..., start : start + kind.rows.shape[-2]]
        start += hidden.shape[-1]
        found.append(kind._replace(shown=~hidden if kind.shown is None else kind.shown & ~hidden, hidden=hidden))
    return tuple(found)


def shares_map(space: Vector) -> bool:
    """Return whether agents with such observations see all the same things, and know where on the map they are."""
    blocks = {block.kind: block for block in space.entities}
    own = blocks.get(OWN)
    return own is not None and bool(own.place) and not any(block.absent for block in space.entities)


def team_view(space: Vector, obs: Array) -> View:
    """Take a team's observations [..., N, O] apart, in which all see the same things: what is there, once.

    The agents are a kind, of what each knows of itself. All else is as the first agent sees it, its place on the map.
    """
    blocks = {block.kind: block for block in space.entities}
    own, first = blocks.pop(OWN), obs[..., 0, :]
    agents = own.rows(obs)[..., 0, :]  # [..., N, W]
    origin = own.rows(first)[..., list(own.place)]
    kinds = [Kind(ALLY, _scaled(own, agents), None, agents[..., list(own.place)], -1)]
    for block in (block for name, block in blocks.items() if name != ALLY):
        seen = _kind(block, first, None)
        if block.place and block.relative:
            place = seen.place + jnp.broadcast_to(origin, seen.place.shape)
            rest = [i for i in range(block.width) if i not in block.place]
            seen = seen._replace(place=place, rows=jnp.concatenate([place, seen.rows[..., rest]], axis=-1))
        kinds.append(seen._replace(first_action=-1))
    return View(None, None, tuple(kinds))


def _kind(block: Entities, obs: Array, origin: Array | None) -> Kind:
    rows = block.rows(obs)
    shown, scaled = block.shown(rows), _scaled(block, rows)
    if not block.place:
        return Kind(block.kind, scaled, shown, None, block.first_action)
    place = scaled[..., list(block.place)]
    if origin is not None and not block.relative:
        place = place - jnp.broadcast_to(origin, place.shape)
        scaled = jnp.concatenate([scaled, place], axis=-1)
    return Kind(block.kind, scaled, shown, place, block.first_action)


def _scaled(block: Entities, rows: Array) -> Array:
    return rows / jnp.broadcast_to(jnp.array(block.scale, rows.dtype), rows.shape) if block.scale else rows


def distance(a: Array, b: Array) -> Array:
    """Return the distances [..., A, B] between places [..., A, P] and [..., B, P]."""
    return jnp.sqrt(TINY + sum((a[..., :, None, i] - b[..., None, :, i]) ** 2 for i in range(a.shape[-1])))


def length(place: Array) -> Array:
    """Return how far places [..., P] are from the observer [...]."""
    return jnp.sqrt(TINY + sum(place[..., i] ** 2 for i in range(place.shape[-1])))
