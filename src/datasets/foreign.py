"""Datasets that other programs have made: OG-MARL's vaults, and the HDF5 files of PyMARL and what descends from it."""

from pathlib import Path
from typing import Any

import numpy as np

from tandem.datasets.dataset import Arrays, Dataset
from tandem.datasets.store import DatasetError, read_vault, rows_of, vault_in
from tandem.ops.streams import FOLLOWED_BY

KEYS = ("obs", "state", "avail_actions", "actions", "reward", "terminated", "filled")


def read(path: Path, limit: int | None) -> Dataset:
    """Return the dataset that a file or a vault holds.

    Args:
      limit: steps after which episodes are cut off; an HDF5 file does not say it.

    Raises:
      DatasetError: it cannot be read, or is of another layout.
    """
    return read_pymarl(path, limit) if path.is_file() else read_og_marl(path, limit)


def read_og_marl(path: Path, limit: int | None) -> Dataset:
    """Return the dataset of a vault in OG-MARL's layout (Formanek et al. 2023, arXiv:2302.00521).

    Such a vault does not say what followed an episode's last row. Where the task ended there, nobody asks. Where the
    episode was cut off, its last row is left out, and the row before ends the episode: the last row's observation is
    what followed it.
    """
    folder = vault_in(path)
    leaves = read_vault(folder)
    if lacking := [name for name in ("observations", "actions", "rewards", "terminals") if name not in leaves]:
        raise DatasetError(f"the vault {folder} has no {', '.join(lacking)}; it is not of OG-MARL's layout")
    leaves.setdefault("truncations", np.zeros_like(leaves["terminals"]))
    flags = {name: leaves[name].astype(bool) for name in ("terminals", "truncations")}
    rows = rows_of(leaves | flags, {})
    rows = {name: array for name, array in rows.items() if name != "first"}
    ended = rows["terminated"] | rows["truncated"]
    if not ended.any():
        raise DatasetError(f"the vault {folder} has no end of an episode")
    size = np.flatnonzero(ended)[-1] + 1  # what is behind it has no end
    rows = _settled({name: array[:size] for name, array in rows.items()}, "infos.legals" in leaves)
    rows["truncated"] &= ~rows["terminated"]
    cut = np.flatnonzero(rows["truncated"])
    cut = cut[(cut > 0) & ~ended[np.maximum(cut - 1, 0)]]  # an episode of one row stays as it is
    rows["truncated"][cut - 1] = True
    kept = np.setdiff1d(np.arange(size), cut)
    last = np.flatnonzero((rows["terminated"] | rows["truncated"])[kept])
    following = np.where(rows["truncated"][kept[last]], np.minimum(kept[last] + 1, size - 1), kept[last])
    ends = {after: rows[name][following] for after, name in FOLLOWED_BY.items()} | {"row": last}
    kept_rows = {name: array[kept] for name, array in rows.items()}
    source = {"level": folder.name, "source": f"vault {folder.parent.name}/{folder.name}", "source_rows": int(size)}
    return _dataset(kept_rows, ends, source, limit, folder.parent.name.removesuffix(".vlt"))


def read_pymarl(path: Path, limit: int | None) -> Dataset:
    """Return the dataset of an HDF5 file with PyMARL's episodes, each key [E, T + 1, ...], padded.

    The last filled step of an episode is no row: it holds what followed the last action. Such files say "terminated" of
    an episode that the limit has cut off, too, so of one that is as long as the limit it is taken for truncated.
    """
    try:
        import h5py
    except ImportError as error:
        raise DatasetError(f"{path} is read with the package h5py: pip install 'tandem[data]'") from error
    try:
        with h5py.File(path) as file:
            if lacking := [name for name in KEYS if name not in file]:
                raise DatasetError(f"{path} has no {', '.join(lacking)}; it is not of PyMARL's layout")
            told = {name: file[name][:] for name in KEYS}
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from error
    filled = told["filled"].reshape(told["filled"].shape[:2]) > 0
    length = filled.sum(axis=1) - 1
    steps = np.arange(filled.shape[1])
    if (length < 1).any() or (filled != (steps[None] <= length[:, None])).any():
        raise DatasetError(f"{path}: an episode is not filled from its first step on, with the last observation behind")
    if limit is not None and length.max() > limit:
        raise DatasetError(f"{path} has an episode of {length.max()} steps; --limit={limit} is less")
    acted = steps[None] < length[:, None]
    episode = np.arange(len(length))
    rows = {"obs": told["obs"], "state": told["state"], "legal": told["avail_actions"] > 0}
    rows = {name: array[acted] for name, array in rows.items()}
    rows["action"] = told["actions"][acted][..., 0]
    rows["reward"] = np.repeat(told["reward"][acted].reshape(-1, 1), rows["obs"].shape[1], axis=1)
    last = np.cumsum(length) - 1
    rows["terminated"], rows["truncated"] = np.zeros((2, len(rows["obs"])), bool)
    ended = told["terminated"].reshape(filled.shape)[episode, length - 1] > 0
    cut_off = ~ended if limit is None else ~ended | (length >= limit)
    rows["terminated"][last], rows["truncated"][last] = ~cut_off, cut_off
    after = {"obs": told["obs"], "state": told["state"], "legal": told["avail_actions"] > 0}
    after = {f"next_{name}": array[episode, length] for name, array in after.items()}
    ends = {name: array.astype(rows[name[5:]].dtype) for name, array in after.items()} | {"row": last}
    ends["next_alive"] = _alive(ends["next_legal"])
    source = {"level": path.stem, "source": f"file {path.name}", "source_rows": int(filled.sum())}
    return _dataset(_settled(rows, True), ends, source, limit, path.stem)


def _settled(rows: Arrays, legal_known: bool) -> Arrays:
    """Return rows with what others do not say: who is there, who is alive, where episodes begin."""
    agents = rows["obs"].shape[:2]
    continuous = np.issubdtype(rows["action"].dtype, np.floating)
    if not legal_known:
        count = rows["action"].shape[-1] if continuous else int(rows["action"].max()) + 1
        rows = rows | {"legal": np.ones((*agents, count), bool)}
    ended = rows["terminated"] | rows["truncated"]
    rows = {"alive": _alive(rows["legal"]), "present": np.ones(agents, bool)} | rows
    kinds = {"obs": np.float32, "state": np.float32, "reward": np.float32, "legal": bool, "alive": bool}
    kinds["action"] = np.float32 if continuous else np.int32
    return (
        rows | {name: rows[name].astype(kind) for name, kind in kinds.items()} | {"first": np.append(True, ended[:-1])}
    )


def _alive(legal: np.ndarray) -> np.ndarray:
    """Return who is alive [..., N]: whoever may do anything but the first action, as SMAC tells the dead."""
    return np.asarray(legal[..., 1:].any(axis=-1)) if legal.shape[-1] > 1 else np.ones(legal.shape[:-1], bool)


def _dataset(rows: Arrays, ends: Arrays, source: dict[str, Any], limit: int | None, task: str) -> Dataset:
    """Return a dataset with a card that says what is known, and None of what is not."""
    continuous = bool(np.issubdtype(rows["action"].dtype, np.floating))
    spec = {
        "num_agents": rows["obs"].shape[1], "obs": list(rows["obs"].shape[2:]), "state": rows["state"].shape[-1],
        "actions": rows["legal"].shape[-1], "continuous": continuous, "episode_limit": limit,
        "shared_reward": bool((rows["reward"] == rows["reward"][:, :1]).all()),
    }  # fmt: skip
    known = all(name in rows for name in ("log_prob", "policy", "entropy"))
    card = {
        "format": 1, "env": None, "env_args": None, "task": task, "level": source["level"], "spec": spec,
        "behaviour_known": known, "references": None, "packages": {}, "origins": [source],
    }  # fmt: skip
    return Dataset(rows, ends, card)
