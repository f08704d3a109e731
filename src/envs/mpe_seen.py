"""Where everything is in a multi-particle scenario, from what the team sees: for pictures of imagined observations.

An agent is where it says that it is. Where scenarios do not show agents their own place, landmarks do not move, and an
agent is where it has to be to see them as it does. Everything else is where those who see it see it in the mean.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tandem.core import Entities, Vector

LANDMARKS = ("landmark", "food", "forest")  # in JaxMARL's order, behind the agents
LEADER = 0  # who alone speaks, but in simple_reference, where both do


class View(NamedTuple):
    """What an agent's observation says of places."""

    number: int  # the agent's among JaxMARL's entities
    own: Entities | None  # None where it does not see its own place
    landmarks: list[tuple[Entities, np.ndarray]]  # with the numbers of what they describe
    agents: list[tuple[Entities, np.ndarray]]
    message: Entities | None


def make(world: Any, team: Sequence[str], spaces: Sequence[Vector]) -> Callable[[Any, np.ndarray], Any] | None:
    """Return rebuilt(state, obs [N, O]) -> state, as a Drawing has it; None where nobody sees a place.

    Args:
      world: JaxMARL's environment.
      team: names of the trained agents.
      spaces: what each of them observes.
    """
    views = [_view(world, name, space) for name, space in zip(team, spaces, strict=True)]
    if not any(view.own or view.landmarks for view in views):
        return None
    fixed = not any(view.own for view in views)

    def rebuilt(state: Any, obs: np.ndarray) -> Any:
        places = np.array(state.world.p_pos, float)
        said = np.zeros_like(state.world.c)
        seen: dict[int, list[np.ndarray]] = {}
        for view, row in zip(views, np.asarray(obs, float), strict=True):
            here = places[view.number] = _here(view, row, places)
            if view.message and said.size:
                said[_speaker(world, view)] = view.message.rows(row)[0]
            for block, numbers in view.agents if fixed else view.agents + view.landmarks:
                for number, offset in _offsets(block, numbers, row):
                    seen.setdefault(number, []).append(here + offset)
        own = {view.number for view in views}
        for number, found in seen.items():
            if number not in own:
                places[number] = np.mean(found, axis=0)
        return state.replace(world=state.world.replace(p_pos=places, c=said))

    return rebuilt


def _view(world: Any, name: str, space: Vector) -> View:
    """Return what a trained agent sees of places."""
    blocks = {block.kind: block for block in space.entities}
    number, count = world.agents.index(name), getattr(world, "num_adversaries", 0)
    sides = [[j for j in range(*ends) if j != number] for ends in ((0, count), (count, world.num_agents))]
    allies, enemies = sides if number < count else sides[::-1]
    rows = {"ally": allies, "enemy": enemies, "last_enemy": enemies[-1:]}
    start = world.num_agents
    for kind in LANDMARKS:
        if kind in blocks:
            rows[kind] = list(range(start, start + blocks[kind].count))
            start += blocks[kind].count
    placed = [(block, np.array(rows[kind])) for kind, block in blocks.items() if kind in rows and block.place]
    own = blocks.get("own")
    return View(
        number=number,
        own=own if own and own.place else None,
        landmarks=[pair for pair in placed if pair[0].kind in LANDMARKS],
        agents=[pair for pair in placed if pair[0].kind not in LANDMARKS],
        message=blocks.get("message"),
    )


def _here(view: View, row: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the place [2] of who sees row [O]; where it was if it sees neither that nor landmarks."""
    if view.own:
        return np.asarray(view.own.rows(row))[0, list(view.own.place)]
    found = [
        places[number] - offset
        for block, numbers in view.landmarks for number, offset in _offsets(block, numbers, row)
    ]  # fmt: skip
    return np.mean(found, axis=0) if found else places[view.number]


def _offsets(block: Entities, numbers: np.ndarray, row: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return (number, place [2] from the observer) of each thing of a kind that row [O] shows."""
    rows = np.asarray(block.rows(row))
    shown = np.ones(len(rows), bool) if (found := block.shown(rows)) is None else np.asarray(found)
    return [(int(n), each[list(block.place)]) for n, each, there in zip(numbers, rows, shown) if there]


def _speaker(world: Any, view: View) -> int:
    """Return whose message an agent hears."""
    return 1 - view.number if world.num_agents == 2 else LEADER
