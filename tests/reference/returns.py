"""Value targets and masks in plain Python, one row after the other."""

import numpy as np


def n_step_target(
    reward, terminated, truncated, next_value, discount: float, n_step: int, start: int
) -> tuple[float, int]:
    """Return (discounted return from row `start`, last row it used), walking until n
    rewards are in or the episode ends.

    `next_value[j]` is the value of what really came after row j.
    """
    total, factor = 0.0, 1.0
    for row in range(start, start + n_step):
        total += factor * reward[row]
        factor *= discount
        if terminated[row]:
            return total, row
        if truncated[row]:
            break
    return total + factor * next_value[row], row


def masks(terminated, truncated, unroll: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (alive, known) [U + 1], by walking from row 0 to each position and remembering how the episode ended."""
    alive, known = [], []
    for position in range(unroll + 1):
        end = None
        for row in range(position):
            if end is None and (terminated[row] or truncated[row]):
                end = "true end" if terminated[row] else "cut off"
        alive.append(float(end is None))
        known.append(float(end != "cut off"))
    return np.array(alive), np.array(known)
