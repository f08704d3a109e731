"""What an episode of a scenario is judged by, beside its return; read from the game's own objects."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Measure = Callable[[Any], float]  # of the unwrapped environment
OCCUPIED = 0.1  # MPE's own benchmark counts a landmark as occupied when an agent is this near


@dataclasses.dataclass(frozen=True)
class Measures:
    """Named numbers of an episode."""

    counts: Mapping[str, Measure] = dataclasses.field(default_factory=dict)  # summed over the steps
    finals: Mapping[str, Measure] = dataclasses.field(default_factory=dict)  # of the last state
    changes: Mapping[str, Measure] = dataclasses.field(
        default_factory=dict
    )  # of the last state, less those of the first


def of_scenario(name: str) -> Measures:
    """Return what is measured in a scenario; nothing where the return and the length say all."""
    return _MEASURES.get(name, Measures())


class Meter:
    """Keeps the measures of one episode."""

    def __init__(self, measures: Measures, world: Any):
        self._measures, self._world = measures, world
        self._totals = dict.fromkeys(measures.counts, 0.0)
        self._start = {name: measure(world) for name, measure in measures.changes.items()}

    def count(self) -> None:
        """Take a step into account."""
        for name, measure in self._measures.counts.items():
            self._totals[name] += measure(self._world)

    def read(self) -> dict[str, float]:
        """Return {name: value} so far."""
        finals = {name: measure(self._world) for name, measure in self._measures.finals.items()}
        changes = {name: measure(self._world) - self._start[name] for name, measure in self._measures.changes.items()}
        return self._totals | finals | changes


def _positions(entities: Any) -> np.ndarray:
    return np.array([entity.state.p_pos for entity in entities])


def _distances(here: Any, there: Any) -> np.ndarray:
    """Return [M, L] distances between two groups of MPE's entities."""
    apart = _positions(here)[:, None] - _positions(there)[None, :]
    return np.sqrt((apart * apart).sum(axis=-1))


def _touching(here: Any, there: Any) -> np.ndarray:
    """Return [M, L] bool: which pairs of two groups touch."""
    reach = np.add.outer([entity.size for entity in here], [entity.size for entity in there])
    return _distances(here, there) < reach


def _collisions(game: Any) -> float:
    """Return the number of pairs of agents that touch."""
    agents = game.world.agents
    return float(_touching(agents, agents).sum() - len(agents)) / 2  # each pair twice, and everyone touches itself


def _to_nearest(game: Any) -> np.ndarray:
    """Return [L], for each landmark, the distance to the nearest agent."""
    return _distances(game.world.agents, game.world.landmarks).min(axis=0)


def _catches(game: Any) -> float:
    """Return the number of pairs of a pursuer and a prey that touch."""
    hunters = [agent for agent in game.world.agents if agent.adversary]
    prey = [agent for agent in game.world.agents if not agent.adversary]
    return float(_touching(hunters, prey).sum())


_MEASURES = {
    "simple_spread": Measures(
        counts={"collisions": _collisions},
        finals={
            "landmark_distance": lambda game: float(_to_nearest(game).mean()),
            "occupied": lambda game: float((_to_nearest(game) < OCCUPIED).sum()),
        },
    ),
    "simple_tag": Measures(counts={"catches": _catches}),
    "simple_world_comm": Measures(counts={"catches": _catches}),
    "pursuit": Measures(finals={"caught": lambda game: float(game.env.evaders_gone.sum())}),
    "multiwalker": Measures(
        finals={"fallen": lambda game: float(np.sum(game.env.fallen_walkers))},
        changes={"distance": lambda game: float(game.env.package.position.x)},
    ),
    # The share of the way to the wall that the ball has come.
    "pistonball": Measures(
        finals={
            "progress": lambda game: 1.0 - (game.ball_prev_pos - game.wall_width) / game.distance_to_wall_at_game_start
        }
    ),
    "knights_archers_zombies": Measures(finals={"survivors": lambda game: float(len(game.player_list))}),
    "space_invaders": Measures(
        finals={"lives": lambda game: float(sum(max(int(life), 0) for life in game.ale.allLives()))}
    ),
}
