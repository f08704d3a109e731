"""Reads the stored rows of an earlier run from its newest checkpoint, in the order in which they were made."""

from pathlib import Path

import jax
import numpy as np

from tandem.records import checkpoint, checkpoint_folder, runs
from tandem.core import Transition

RING = "replay.experience"  # the place of the rows in a run state


def load(results: str | Path, name: str, row: Transition) -> Transition:
    """Return the rows [1, R, ...] of a recorded run, environment by environment.

    `first` is set where the next environment's rows begin, so that a sampled sequence is cut there, as at an abandoned
    episode.

    Args:
      name: the run's number, or its folder.
      row: the expected structure of a row: a tree of jax.ShapeDtypeStruct.

    Raises:
      ValueError: there is no such run, it stored no rows, or they do not fit; the message names the field.
    """
    run = runs.find(name, results)
    path = checkpoint_folder.pick(run.models)
    wanted = {_name(at): leaf for at, leaf in jax.tree.leaves_with_path(row)}
    stored = checkpoint.read_arrays(path, ["replay.current_index", "replay.is_full", *wanted])
    for key, leaf in wanted.items():
        found = stored[key]
        if found.shape[2:] != leaf.shape or found.dtype != leaf.dtype:
            raise ValueError(
                f"{key.removeprefix(RING + '.')} of the rows of run {run.id} is "
                f"{found.dtype}{list(found.shape[2:])}; this "
                f"environment and planner make {leaf.dtype}{list(leaf.shape)}"
            )
    length = _length(stored)
    rows = jax.tree.unflatten(jax.tree.structure(row), [_in_order(stored[key], stored, length) for key in wanted])
    first = rows.first.copy()
    first[0, ::length] = True
    return rows.replace(first=first)


def _length(stored: dict[str, np.ndarray]) -> int:
    """Return the number of rows of each environment in a ring."""
    slots = next(array.shape[1] for key, array in stored.items() if key.startswith(RING))
    return slots if stored["replay.is_full"] else int(stored["replay.current_index"])


def _in_order(ring: np.ndarray, stored: dict[str, np.ndarray], length: int) -> np.ndarray:
    """Return a ring's rows [E, C, ...] as [1, E * length, ...], the oldest of each environment first."""
    oldest = int(stored["replay.current_index"]) if stored["replay.is_full"] else 0
    rows = np.roll(ring, -oldest, axis=1)[:, :length]
    return rows.reshape(1, -1, *rows.shape[2:])


def _name(path: tuple) -> str:
    return f"{RING}.{jax.tree_util.keystr(path, simple=True, separator='.')}"
