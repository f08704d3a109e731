"""Interpolates curves of several seeds at common points, and finds where they first reach a threshold."""

from collections.abc import Sequence

import numpy as np

MOST_POINTS = 200


def common_grid(xs: Sequence[np.ndarray]) -> np.ndarray:
    """Return the points [X] within the range that all curves cover: all that any of them has, or evenly spaced ones.

    Empty if the curves' ranges do not overlap.
    """
    low, high = max(x[0] for x in xs), min(x[-1] for x in xs)
    points = np.unique(np.concatenate(xs))
    points = points[(points >= low) & (points <= high)]
    return np.linspace(low, high, MOST_POINTS) if len(points) > MOST_POINTS else points


def on_grid(grid: np.ndarray, curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the curves' values [R, X] at the points of the grid, between their own points on straight lines."""
    return np.stack([np.interp(grid, x, y) for x, y in curves])


def first_reach(x: np.ndarray, y: np.ndarray, threshold: float) -> float:
    """Return where a curve, straight between its points, first reaches the threshold; infinity if it never does."""
    above = np.flatnonzero(y >= threshold)
    if not len(above):
        return float("inf")
    index = above[0]
    if index == 0:
        return float(x[0])
    left, right = index - 1, index
    return float(x[left] + (threshold - y[left]) / (y[right] - y[left]) * (x[right] - x[left]))
