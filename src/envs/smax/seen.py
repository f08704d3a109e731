"""Where all units of a SMAX battle are, from what the allies see: for pictures of imagined observations.

An ally is where it says that it is, with the health that it says it has. An enemy is where those who see it see it in
the mean. An enemy that nobody sees is dead if it could not have left the sight of a living ally since the last step;
else it stays where it was seen last.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

OWN_TYPE, OTHERS_TYPE = 4, 7  # where the one-hot types begin in the features of the agent itself, and of another unit
LIKELY = 0.5  # a type's feature above this says that there is a unit; learned codes do not give exact zeros


def make(world: Any) -> Callable[[Any, np.ndarray], Any] | None:
    """Return rebuilt(state, obs [N, O]) -> state, as a Drawing has it; None where observations are no list of units.

    Args:
      world: JaxMARL's environment.
    """
    if world.observation_type == "conic":
        return None
    allies, each, width = world.num_allies, len(world.unit_features), len(world.own_features)
    size = np.array([world.map_width, world.map_height], float)
    sight, full_health, speed = (
        np.asarray(x, float) for x in (world.unit_type_sight_ranges, world.unit_type_health, world.unit_type_velocities)
    )
    seconds = world.time_per_step * world.world_steps_per_env_step

    def rebuilt(state: Any, obs: np.ndarray) -> Any:
        units, obs = state.world.state, np.asarray(obs, float)
        places, health = np.array(units.unit_positions, float), np.array(units.unit_health, float)
        alive, kinds = np.array(units.unit_alive), np.asarray(units.unit_types, int)
        own = obs[:, -width:]
        others = obs[:, (allies - 1) * each : -width].reshape(allies, -1, each)  # [N, M, F] the enemies
        living = own[:, OWN_TYPE:].max(axis=1) > LIKELY
        alive[:allies] = living
        places[:allies][living] = (own[:, 1:3] * size)[living]
        health[:allies] = np.where(living, own[:, 0] * full_health[kinds[:allies]], 0.0)
        range_of = sight[kinds[:allies]]
        seen = living[:, None] & (others[..., OTHERS_TYPE:].max(axis=-1) > LIKELY)
        for enemy in range(others.shape[1]):
            who, unit = seen[:, enemy], allies + enemy
            if who.any():
                rows = others[who, enemy]
                places[unit] = (places[:allies][who] + rows[:, 1:3] * range_of[who, None]).mean(axis=0)
                health[unit], alive[unit] = rows[:, 0].mean() * full_health[kinds[unit]], True
            elif living.any():
                away = np.linalg.norm(places[:allies][living] - places[unit], axis=1)
                if (away + speed[kinds[unit]] * seconds < range_of[living]).any():
                    health[unit], alive[unit] = 0.0, False
        after = units.replace(unit_positions=places, unit_health=health, unit_alive=alive)
        return state.replace(world=state.world.replace(state=after))

    return rebuilt
