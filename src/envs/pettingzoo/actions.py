"""The actions of one agent by number, whatever its action space."""

import dataclasses
from typing import Any

import numpy as np

MOST = 4096  # actions of one agent; more would be a typing error before it is a policy's output layer


@dataclasses.dataclass(frozen=True)
class Actions:
    """What an agent may play: number i stands for `first` + i, or, of a continuous space, for row i of `points`."""

    num: int
    first: int = 0
    points: np.ndarray | None = None  # [num, *shape]

    def __getitem__(self, number: int) -> Any:
        """Return the action that the environment takes."""
        return int(number) + self.first if self.points is None else self.points[number]


def of_space(space: Any, bins: int) -> Actions:
    """Return the actions of a Gymnasium space.

    Discrete spaces are taken as they are. In a continuous one each dimension gets `bins` values, evenly spaced from
    its least to its greatest, and an action is one value per dimension: bins ** dimensions in all, the last dimension
    changing fastest.

    Raises:
      ValueError: a space of another kind, without bounds, or with too many combinations.
    """
    if hasattr(space, "n"):
        return Actions(num=int(space.n), first=int(space.start))
    if not hasattr(space, "low") or not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise ValueError(f"actions of the kind {space} are neither discrete nor bounded")
    dimensions = int(np.prod(space.shape))
    if bins**dimensions > MOST:
        raise ValueError(
            f"env_args.action_bins={bins}: {dimensions} dimensions make {bins**dimensions} actions per agent, "
            f"more than {MOST}"
        )
    values = np.linspace(space.low.reshape(-1), space.high.reshape(-1), bins)  # [bins, dimensions]
    chosen = np.indices((bins,) * dimensions).reshape(dimensions, -1)  # [dimensions, num]
    points = values[chosen.T, np.arange(dimensions)].reshape(-1, *space.shape).astype(space.dtype)
    return Actions(num=len(points), points=points)
