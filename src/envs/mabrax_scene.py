"""Draws a robot of MABrax from the side, with limbs in the colours of their agents; the camera follows it."""

from typing import Any

import numpy as np

from tandem.scene import Disc, Drawing, Line, Scene

HALF_WIDTH, BELOW, ABOVE = 1.6, 0.4, 1.9  # metres visible around the torso
SPHERE, CAPSULE = 2, 3  # MuJoCo's codes of geometry types


def make(system: Any, drives: list[np.ndarray]) -> Drawing:
    """Return how to draw a robot.

    Args:
      system: brax's.
      drives: of each agent, the indices of its actuators.
    """
    links = {int(dof): link for link, dofs in enumerate(_dofs(system)) for dof in dofs}
    joints = [[links[int(system.actuator.qd_id[i])] for i in actuators] for actuators in drives]
    driver = {link: agent for agent, driven in enumerate(joints) for link in driven}
    limbs = _limbs(system)

    def scene(state: Any, action: np.ndarray | None) -> Scene:
        del action
        position, rotation = (
            np.asarray(x, float) for x in (state.world.pipeline_state.x.pos, state.world.pipeline_state.x.rot)
        )
        here = position[0, 0]
        figures: list = [Line((-HALF_WIDTH, 0.0), (HALF_WIDTH, 0.0), "grid")]
        for metre in range(int(np.ceil(here - HALF_WIDTH)), int(np.floor(here + HALF_WIDTH)) + 1):
            figures.append(Line((metre - here, 0.0), (metre - here, -0.08), "quiet"))
        for link, ends, radius in limbs:
            points = [position[link] + _rotate(rotation[link], end) for end in ends]
            spots = [(float(point[0] - here), float(point[2])) for point in points]
            colour = driver.get(link, "landmark")
            if len(spots) == 2:
                figures.append(Line(spots[0], spots[1], colour))
            figures += [Disc(*spot, radius, colour) for spot in spots]
        caption = f"from the side; marks every metre, now at {here:.1f} m"
        return Scene(tuple(figures), (-HALF_WIDTH, -BELOW, HALF_WIDTH, ABOVE), caption)

    names = tuple(tuple(system.link_names[link] or f"joint {link}" for link in driven) for driven in joints)
    return Drawing(agents=tuple(f"agent {i}" for i in range(len(drives))), actions=names, scene=scene)


def _dofs(system: Any) -> list[range]:
    """Return the degrees of freedom of each link; its type tells how many: "f" six, a digit that many."""
    ranges, start = [], 0
    for kind in system.link_types:
        count = 6 if kind == "f" else int(kind)
        ranges.append(range(start, start + count))
        start += count
    return ranges


def _limbs(system: Any) -> list[tuple[int, list[np.ndarray], float]]:
    """Return (link, ends in the link's frame, radius) of every capsule and every ball that is part of the robot."""
    limbs = []
    for body, kind, position, rotation, size in zip(
        system.geom_bodyid, system.geom_type, system.geom_pos, system.geom_quat, system.geom_size, strict=True
    ):
        link = int(body) - 1  # body 0 is the world, with the floor
        if link < 0 or kind not in (SPHERE, CAPSULE):
            continue
        axis = _rotate(np.asarray(rotation, float), np.array([0.0, 0.0, float(size[1])]))
        middle = np.asarray(position, float)
        ends = [middle] if kind == SPHERE else [middle - axis, middle + axis]
        limbs.append((link, ends, float(size[0])))
    return limbs


def _rotate(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return a vector [3] turned by a unit quaternion [4], its real part first."""
    real, imaginary = quaternion[0], quaternion[1:]
    across = np.cross(imaginary, vector)
    return vector + 2.0 * (real * across + np.cross(imaginary, across))
