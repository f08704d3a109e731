"""Describes the features of SMAX's observations."""

from typing import Any

import numpy as np

from tandem.core import Vector
from tandem.envs.layout import laid_out
from tandem.envs.smax import units
from tandem.envs.smax.battle import NO_TARGET

POSITION = (1, 2)  # the features of a unit that are its position


def of_ally(world: Any, number: int) -> Vector:
    """Return the space of an ally's observations; `number` is its index among JaxMARL's agents.

    Allies and enemies are in JaxMARL's order, without the agent itself. Units that are dead or out of sight are
    zeros, and a dead agent sees only zeros.
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
    """Return the space of the global state: all units with their positions on the map; dead units are zeros.

    The features of side and type that follow add nothing new, so they describe no entity.
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
    """Return the first action that targets each kind of unit.

    A medivac's actions target all allies, itself included. Medivacs that are the first ally (as on all maps) target the
    others without a gap. A medivac in the middle would have no valid first action.
    """
    if not _heals(world, number):
        return {"enemy": NO_TARGET}
    return {"ally": NO_TARGET + 1} if number == 0 else {}


def _heals(world: Any, number: int) -> bool:
    return units.NAMES[int(world.scenario[number])] == "medivac"
