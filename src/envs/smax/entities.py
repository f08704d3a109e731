"""What the features of SMAX's observations describe."""

from typing import Any

import numpy as np

from tandem.core import Vector
from tandem.envs.layout import laid_out
from tandem.envs.smax import units
from tandem.envs.smax.battle import NO_TARGET

POSITION = (1, 2)  # where a unit's features say where it is


def of_ally(world: Any, number: int) -> Vector:
    """Return the space of an ally's observations; `number` is its index among JaxMARL's agents.

    Allies and enemies are in JaxMARL's order, without the agent itself. It sees zeros where a unit is dead or out of
    sight, and nothing but zeros when it is dead itself.
    """
    if world.observation_type == "conic":
        return Vector(world.obs_size)
    each, own = len(world.unit_features), len(world.own_features)
    pieces = [("ally", world.num_allies - 1, each), ("enemy", world.num_enemies, each), ("own", 1, own)]
    return laid_out(
        pieces,
        first_actions=_targets(world, number),
        absent=dict.fromkeys(("ally", "enemy", "own"), 0.0),
        places=dict.fromkeys(("ally", "enemy"), POSITION),
        relative=True,  # in units of sight; its own place is in units of the map
    )


def of_state(world: Any) -> Vector:
    """Return the space of the global state: all units at their places on the map; the dead are zeros.

    Who is on which side, and of which type, follows in features that say nothing new.
    """
    width, units_on_map = len(world.own_features), world.num_allies + world.num_enemies
    scale = np.ones(width)
    scale[list(POSITION)] = world.map_width, world.map_height
    both = ("ally", "enemy")
    return laid_out(
        [("ally", world.num_allies, width), ("enemy", world.num_enemies, width), ("", 1, 2 * units_on_map)],
        absent=dict.fromkeys(both, 0.0),
        places=dict.fromkeys(both, POSITION),
        scales=dict.fromkeys(both, scale.tolist()),
    )


def _targets(world: Any, number: int) -> dict[str, int]:
    """Return which action aims at the first of whom.

    A medivac's actions aim at all allies, itself included. The first ally, which medivacs are on all maps, aims at the
    others without a gap; for one in the middle no first action would be right.
    """
    if not _heals(world, number):
        return {"enemy": NO_TARGET}
    return {"ally": NO_TARGET + 1} if number == 0 else {}


def _heals(world: Any, number: int) -> bool:
    return units.NAMES[int(world.scenario[number])] == "medivac"
