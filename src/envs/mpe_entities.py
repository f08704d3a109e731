"""Describes the features of multi-particle observations, in the order of `get_obs` in JaxMARL's scenarios.

Positions are relative to the agent's, except its own, which is absolute. Other agents come in JaxMARL's order, without
the agent. JaxMARL shows only some agents' velocities. If it shows that of one enemy among several, this enemy has the
kind "last_enemy".

In simple_speaker_listener and simple_reference, messages name a landmark by its index in the block, which is no
feature. A network that treats all landmarks alike has to add the index.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from tandem.core import Vector
from tandem.envs.layout import Piece, laid_out

VELOCITY, MOTION = ("own", 1, 2), ("own", 1, 4)  # MOTION: velocity and position


@dataclasses.dataclass(frozen=True)
class Seat:
    """An agent's place in a scenario."""

    number: int  # in JaxMARL's list of agents, where adversaries come first
    adversary: bool
    allies: int  # other agents of its side
    enemies: int

    def others(self) -> list[Piece]:
        """Return the positions of the other agents."""
        allies, enemies = ("ally", self.allies, 2), ("enemy", self.enemies, 2)
        return [allies, enemies] if self.adversary else [enemies, allies]


def of_agent(scenario: str, world: Any, agent: str) -> Vector:
    """Return the space of an agent's observations.

    Args:
      scenario: short name of the scenario.
      world: JaxMARL's environment.
      agent: the agent's name.
    """
    number, adversaries = world.agents.index(agent), getattr(world, "num_adversaries", 0)
    good, adversary = world.num_agents - adversaries, number < adversaries
    allies, enemies = (adversaries - 1, good) if adversary else (good - 1, adversaries)
    seat = Seat(number, adversary, allies, enemies)
    pieces, absent = LAYOUTS[scenario](world, seat), dict.fromkeys(_hidden(scenario, seat), 0.0)
    places = dict.fromkeys(_placed(scenario), (0, 1)) | ({"own": (2, 3)} if MOTION in pieces else {})
    return laid_out(pieces, absent=absent, places=places, relative=True)


def _hidden(scenario: str, seat: Seat) -> tuple[str, ...]:
    """Return the kinds of things whose rows are zeros if the agent does not see them."""
    if scenario == "simple_world_comm":  # forests hide agents in them, but not from the leader
        return () if seat.number == 0 else ("ally", "enemy")
    if scenario.startswith("simple_facmac"):  # far landmarks and far agents are not shown
        return ("landmark", "ally", "enemy", "last_enemy")
    return ()


def _placed(scenario: str) -> tuple[str, ...]:
    """Return the kinds of things whose rows begin with a position relative to the agent's."""
    goal = ("goal",) if scenario in ("simple_push", "simple_adversary") else ()
    return ("landmark", "food", "forest", "ally", "enemy", "last_enemy", *goal)


def _simple(world: Any, seat: Seat) -> list[Piece]:
    return [VELOCITY, _landmarks(world)]


def _spread(world: Any, seat: Seat) -> list[Piece]:
    silence = ("ally", seat.allies, world.dim_c)  # messages that nobody can send: always zeros
    return [MOTION, _landmarks(world), *seat.others(), silence]


def _tag(world: Any, seat: Seat) -> list[Piece]:
    if not seat.adversary:
        return [MOTION, _landmarks(world), *seat.others()]
    if seat.enemies == 1:
        return [MOTION, _landmarks(world), *seat.others(), ("enemy", 1, 2)]
    last = ("last_enemy", 1, 2)  # its position, then its velocity
    return [MOTION, _landmarks(world), ("ally", seat.allies, 2), ("enemy", seat.enemies - 1, 2), last, last]


def _facmac(world: Any, seat: Seat) -> list[Piece]:
    padding = [] if seat.adversary else [("", 1, 2)]
    return [*_tag(world, seat), *padding]


def _world_comm(world: Any, seat: Seat) -> list[Piece]:
    places = [("landmark", world.num_obs, 2), ("food", world.num_food, 2), ("forest", world.num_forests, 2)]
    inside = ("forest", world.num_forests, 1)  # 1 if the agent is in it, else -1
    seen = [MOTION, *places, *seat.others()]
    if not seat.adversary:
        return [*seen, inside, ("ally", seat.allies, 2)]
    word = ("own" if seat.number == 0 else "message", 1, world.dim_c)  # the leader's message, which the leader sees too
    return [*seen, ("enemy", seat.enemies, 2), inside, word]


def _push(world: Any, seat: Seat) -> list[Piece]:
    if seat.adversary:
        return [VELOCITY, _landmarks(world), *seat.others()]
    goal = ("goal", 1, 5)  # its position, and the agent's colour, which identifies the landmark
    return [VELOCITY, goal, _landmarks(world), ("landmark", world.num_landmarks, 3), *seat.others()]


def _adversary(world: Any, seat: Seat) -> list[Piece]:
    goal = [] if seat.adversary else [("goal", 1, 2)]
    return [*goal, _landmarks(world), *seat.others()]


def _speaker_listener(world: Any, seat: Seat) -> list[Piece]:
    if seat.number == 0:
        return [("goal", 1, world.num_landmarks)]  # a colour with a number for each landmark
    return [VELOCITY, _landmarks(world), ("message", 1, world.dim_c)]


def _reference(world: Any, seat: Seat) -> list[Piece]:
    marks = ("landmark", world.num_landmarks, 1)  # a colour that marks the other agent's goal
    return [VELOCITY, _landmarks(world), marks, ("message", 1, world.dim_c)]


def _crypto(world: Any, seat: Seat) -> list[Piece]:
    goal, key, message = ((kind, 1, world.dim_c) for kind in ("goal", "key", "message"))
    return [[message], [goal, key], [key, message]][seat.number]  # eve, alice, bob


def _landmarks(world: Any) -> Piece:
    return ("landmark", world.num_landmarks, 2)


LAYOUTS: dict[str, Callable[[Any, Seat], list[Piece]]] = {
    "simple": _simple,
    "simple_spread": _spread,
    "simple_tag": _tag,
    "simple_world_comm": _world_comm,
    "simple_crypto": _crypto,
    "simple_speaker_listener": _speaker_listener,
    "simple_push": _push,
    "simple_adversary": _adversary,
    "simple_reference": _reference,
    "simple_facmac": _facmac,
    "simple_facmac_3a": _facmac,
    "simple_facmac_6a": _facmac,
    "simple_facmac_9a": _facmac,
}
