"""Checkpoints: everything that a run needs to go on, on disk; written whole or not at all.

A checkpoint is a folder `results/models/<run id>/<environment step>/`: `state`, written by orbax, holds the run state's
arrays under their names ("learner.params.Dense_0.kernel"), `meta.json` what they are. Both are written under another name,
which becomes the step by one rename, so whatever has a step for a name is whole. Sizes of files and checksums of arrays are
kept, and what was cut off or altered later is told from what is good.
"""

import json
import math
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from src.core import PyTree

STATE, META = "state", "meta.json"
PARTIAL = "."  # folders whose names begin with it are half written or half removed
Arrays = dict[str, np.ndarray]


class CheckpointError(ValueError):
    """A checkpoint that cannot be had or used; `str` is the message for the user."""


class Meta(NamedTuple):
    """What a checkpoint says of itself."""

    env_step: int
    update: int
    score: float | None  # of the evaluation at this step, if there was one
    config: dict[str, Any]  # the settings that decide what the state means
    keys: dict[str, str]  # random generators' names of those arrays that are keys
    sums: dict[str, int] = {}  # CRC-32 of each array; `write` fills this in
    files: dict[str, int] = {}  # bytes of each file; `write` fills this in


def folder(results: str | Path, run_id: str) -> Path:
    """Return where a run's checkpoints lie."""
    return Path(results) / "models" / run_id


def steps(models: Path) -> list[int]:
    """Return the environment steps of a run's checkpoints, oldest first."""
    return sorted(int(path.name) for path in models.glob("[0-9]*") if path.name.isdigit()) if models.is_dir() else []


def pick(models: Path, which: str = "last") -> Path:
    """Return the newest checkpoint ("last"), the one with the best evaluation ("best") or that of a step ("1600").

    Raises:
      CheckpointError: there is none; the message says which there are.
    """
    known = steps(models)
    if not known:
        raise CheckpointError(f"no checkpoint: there is none in {models}")
    if which == "last":
        return models / str(known[-1])
    if which == "best":
        return models / str(max(known, key=lambda step: _rank(models / str(step), step)))
    if which.isdigit() and int(which) in known:
        return models / which
    there = ", ".join(str(step) for step in known)
    raise CheckpointError(f"no checkpoint '{which}' in {models}: choose best, last or one of {there}")


def _rank(path: Path, step: int) -> tuple[float, int]:
    """Return what to compare checkpoints by: the evaluation's score, then the step; one without a score comes last."""
    try:
        score = read_meta(path).score
    except CheckpointError:  # complained of if it is chosen
        score = None
    return (float("-inf") if score is None or not math.isfinite(score) else score, step)


def split(state: PyTree) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a state's arrays by name, random keys as plain numbers, and the generators of those that are keys."""
    arrays, keys = {}, {}
    for path, leaf in jax.tree.leaves_with_path(state):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            keys[name] = str(jax.random.key_impl(leaf))
            leaf = jax.random.key_data(leaf)
        arrays[name] = leaf
    return arrays, keys


def write(path: Path, arrays: Arrays, meta: Meta) -> None:
    """Write a checkpoint; until the last moment nothing is there under its name."""
    from orbax import checkpoint as orbax  # half a second to import; a command that saves nothing does without

    partial = path.parent / f"{PARTIAL}{path.name}"
    shutil.rmtree(partial, ignore_errors=True)
    with orbax.PyTreeCheckpointer() as checkpointer:
        checkpointer.save((partial / STATE).absolute(), arrays)
    sums = {name: zlib.crc32(np.ascontiguousarray(array)) for name, array in arrays.items()}
    files = {str(file.relative_to(partial)): file.stat().st_size for file in partial.rglob("*") if file.is_file()}
    with open(partial / META, "w") as file:
        json.dump(meta._replace(sums=sums, files=files)._asdict(), file)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        remove(path)
    partial.rename(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, also if the power fails."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a checkpoint; from the first moment nothing is there under its name."""
    partial = path.parent / f"{PARTIAL}removed-{path.name}"
    shutil.rmtree(partial, ignore_errors=True)
    path.rename(partial)
    shutil.rmtree(partial)


def tidy(models: Path) -> None:
    """Remove what writing and removing left half done when a process was killed."""
    for path in models.glob(f"{PARTIAL}*"):
        shutil.rmtree(path, ignore_errors=True)


def read_meta(path: Path) -> Meta:
    """Return what a checkpoint says of itself.

    Raises:
      CheckpointError: it cannot be read, or one of its files is not as it was written.
    """
    if not path.is_dir():
        raise CheckpointError(f"no checkpoint: {path} does not exist")
    try:
        meta = Meta(**json.loads((path / META).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(path, f"{META} cannot be read: {error}") from error
    for name, size in meta.files.items():
        found = (path / name).stat().st_size if (path / name).is_file() else None
        if found != size:
            is_now = "is missing" if found is None else f"has {found} bytes"
            raise _damaged(path, f"{name} {is_now}, {size} were written")
    return meta


def read(path: Path, like: PyTree, under: str = "") -> PyTree:
    """Return a checkpoint's state, or the part of it named `under` ("learner.params"), as arrays on the device.

    Args:
      like: what is expected: a tree of jax.ShapeDtypeStruct, as jax.eval_shape gives it.

    Raises:
      CheckpointError: a file is missing or damaged, or the state is of another shape than `like`.
    """
    meta = read_meta(path)
    wanted = {_name(under, at): leaf for at, leaf in jax.tree.leaves_with_path(like)}
    names = [name for name in meta.sums if not under or name.startswith(f"{under}.")]
    _compare(path, set(wanted), set(names))
    arrays = _read_arrays(path, names)
    for name in names:
        if zlib.crc32(np.ascontiguousarray(arrays[name])) != meta.sums[name]:
            raise _damaged(path, f"{name} is not what was written")
    leaves = [_on_device(path, name, arrays[name], leaf, meta.keys.get(name)) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _name(under: str, path: Any) -> str:
    inner = jax.tree_util.keystr(path, simple=True, separator=".")
    return f"{under}.{inner}" if under and inner else under or inner


def _read_arrays(path: Path, names: list[str]) -> Arrays:
    """Return some of a checkpoint's arrays; the others are not read."""
    from orbax import checkpoint as orbax

    item = {name: np.zeros(()) for name in names}
    restore_args = {name: orbax.RestoreArgs(restore_type=np.ndarray) for name in names}
    wanted = orbax.args.PyTreeRestore(item=item, restore_args=restore_args, partial_restore=True)
    with orbax.PyTreeCheckpointer() as checkpointer:
        try:
            return checkpointer.restore((path / STATE).absolute(), args=wanted)
        except Exception as error:  # of many kinds: orbax's, tensorstore's, the system's
            raise _damaged(path, " ".join(str(error).split())[:200]) from error


def _damaged(path: Path, reason: str) -> CheckpointError:
    others = [str(step) for step in steps(path.parent) if str(step) != path.name]
    instead = f"; there is also --checkpoint={' or '.join(others)}" if others else ""
    return CheckpointError(f"the checkpoint {path} is damaged ({reason}){instead}")


def _compare(path: Path, wanted: set[str], there: set[str]) -> None:
    """Complain of arrays that only one side has."""
    odd = sorted(wanted ^ there)
    if odd:
        where = "the checkpoint has none" if odd[0] in wanted else "this configuration has none"
        raise CheckpointError(
            f"the checkpoint {path} is of another configuration or an older version of the code: {odd[0]}: {where}"
        )


def _on_device(path: Path, name: str, array: np.ndarray, like: Any, generator: str | None) -> Any:
    """Return an array on the device. It may share memory with `array`, which nobody else has."""
    leaf = jax.device_put(array)
    if generator is not None:
        leaf = jax.random.wrap_key_data(leaf, impl=generator)
    if leaf.shape != like.shape or leaf.dtype != like.dtype:
        raise CheckpointError(
            f"the checkpoint {path} is of another configuration: {name} is {leaf.dtype}{list(leaf.shape)} there, "
            f"{like.dtype}{list(like.shape)} by this configuration"
        )
    return leaf


def differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the names of settings in which two configurations differ: "learner_args.unroll"."""
    found = []
    for key in sorted(one.keys() | other.keys()):
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differences(left, right, f"{prefix}{key}.")
        elif left != right:
            found.append(f"{prefix}{key}")
    return found
