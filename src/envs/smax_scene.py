"""Draws a SMAX battle: units with their health, and lines from attackers to targets."""

from typing import Any

import numpy as np

from tandem.scene import Disc, Drawing, Line, Rebuild, Scene

MOVES = ("up", "right", "down", "left", "stop")
MARGIN = 1.0  # of the map, around the units


def make(world: Any, rebuilt: Rebuild | None = None) -> Drawing:
    """Return how to draw the battle of JaxMARL's `world`: allies in their own colours, enemies in one."""
    allies, enemies = world.num_allies, world.num_enemies
    radii, full_health = np.asarray(world.unit_type_radiuses), np.asarray(world.unit_type_health)
    heals = np.asarray(
        getattr(world, "healer", np.zeros(allies + enemies, bool))
    )  # medivacs' actions target their own side
    ranges, shorthands = np.asarray(world.unit_type_attack_ranges), list(world.unit_type_shorthands)

    def disc(i: int, units: Any) -> Disc:
        kind = int(units.unit_types[i])
        x, y = (float(part) for part in units.unit_positions[i])
        mine = i < allies
        health = float(units.unit_health[i] / full_health[kind])
        return Disc(
            x,
            y,
            float(radii[kind]),
            i if mine else "opponent",
            shorthands[kind],
            str(i if mine else i - allies),
            health,
        )

    def scene(state: Any, action: np.ndarray | None) -> Scene:
        units = state.world.state
        alive, positions = np.asarray(units.unit_alive), np.asarray(units.unit_positions, float)
        figures: list = [Disc(positions[i][0], positions[i][1], 0.25, "grid", "") for i in np.flatnonzero(~alive)]
        for i in np.flatnonzero(alive[:allies]) if action is not None else ():
            number = int(action[i]) - len(MOVES)
            target = number if heals[i] else allies + number
            if (
                number >= 0
                and alive[target]
                and np.linalg.norm(positions[i] - positions[target]) < ranges[int(units.unit_types[i])]
            ):
                figures.append(Line(tuple(positions[i]), tuple(positions[target]), int(i)))
        figures += [disc(int(i), units) for i in np.flatnonzero(alive)]
        return Scene(tuple(figures), _around(positions))

    return Drawing(
        agents=tuple(f"ally {i}" for i in range(allies)),
        actions=tuple(
            (*MOVES, *(f"{'heal' if heals[ally] else 'hit'} {i}" for i in range(enemies))) for ally in range(allies)
        ),
        scene=scene,
        rebuilt=rebuilt,
    )


def _around(positions: np.ndarray) -> tuple[float, float, float, float]:
    """Return left, bottom, right, top of the units [U, 2] with a margin."""
    low, high = positions.min(axis=0) - MARGIN, positions.max(axis=0) + MARGIN
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
