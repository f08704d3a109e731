"""Checkpoints: everything that a run needs to go on, on disk; written whole or not at all.

A checkpoint is a folder `results/models/<run id>/<environment step>/`: `state`, written by orbax, holds the run
state's arrays under their names ("learner.params.Dense_0.kernel"), `meta.json` what they are. Both are written under
another name, which becomes the step by one rename, so whatever has a step for a name is whole. Sizes of files and
checksums of arrays are kept, and what was cut off or altered later is told from what is good.
"""

import contextlib
import json
import math
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from src.core import PyTree
from src.records.runs import RecordError, inside, is_number, read_json

STATE, META = "state", "meta.json"
PARTIAL = "."  # folders whose names begin with it are half written or half removed
REPLACED = f"{PARTIAL}replaced-"  # a whole checkpoint that another of the same step is taking the place of
BYTES_READ_BACK = 2**24  # of what was written; all of it would take as much memory again as the state itself
Arrays = dict[str, np.ndarray]


class CheckpointError(ValueError):
    """A checkpoint that cannot be had or used; `str` is the message for the user."""


class Meta(NamedTuple):
    """What a checkpoint says of itself."""

    step: int
    update: int
    score: float | None  # of the evaluation at this step, if there was one
    config: dict[str, Any]  # the settings that decide what the state means
    keys: dict[str, str]  # random generators' names of those arrays that are keys
    sums: dict[str, int] = {}  # CRC-32 of each array; `write` fills this in
    files: dict[str, int] = {}  # bytes of each file; `write` fills this in


META_KINDS = {"step": int, "update": int, "config": dict, "keys": dict, "sums": dict, "files": dict}


def folder(results: str | Path, run_id: str) -> Path:
    """Return where a run's checkpoints lie."""
    return Path(results) / "models" / run_id


def steps(models: Path) -> list[int]:
    """Return the environment steps of a run's checkpoints, oldest first."""
    found = models.glob("[0-9]*") if models.is_dir() else ()
    return sorted(int(path.name) for path in found if is_number(path.name) and path.is_dir())


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
        _check_scores(models, known)
        return best(models)
    if is_number(which) and int(which) in known:
        return models / which
    raise CheckpointError(f"no checkpoint '{which}' in {models}: choose best, last or one of {_listed(known)}")


def best(models: Path) -> Path | None:
    """Return the checkpoint with the best evaluation, the newest one if none has any; None if there is no checkpoint.

    A checkpoint that does not say its score any more is passed over; `pick` complains of it.
    """
    ranked = [(_rank(models / str(step)), step) for step in steps(models)]
    return models / str(max(ranked)[1]) if ranked else None


def score(path: Path) -> float | None:
    """Return the evaluation's score that a checkpoint was saved with; None if there was none, or not a finite one.

    Raises:
      CheckpointError: its meta.json cannot be read. Its other files are not looked at.
    """
    found = _read_meta(path).score
    return None if found is None or not math.isfinite(found) else found


def _rank(path: Path) -> float:
    with contextlib.suppress(CheckpointError):
        found = score(path)
        return -math.inf if found is None else found
    return -math.inf


def _check_scores(models: Path, known: Iterable[int]) -> None:
    """Complain of a checkpoint that does not say its score any more, because it might be the best."""
    for step in known:
        try:
            score(models / str(step))
        except CheckpointError as error:
            raise CheckpointError(f"the best checkpoint cannot be told: {error}") from error


def _listed(steps: Iterable[int]) -> str:
    return ", ".join(map(str, steps))


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
    partial.mkdir()  # not its parents: a results folder that was moved away is not made anew
    with _plainly_named(partial) as folder, orbax.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(folder / STATE, arrays)
    sums = {name: _sum(array) for name, array in arrays.items()}
    _read_back(partial, arrays, sums)
    files = {str(file.relative_to(partial)): file.stat().st_size for file in partial.rglob("*") if file.is_file()}
    with open(partial / META, "w") as file:
        json.dump(meta._replace(sums=sums, files=files)._asdict(), file)
        file.flush()
        os.fsync(file.fileno())
    _put_in_place(partial, path)


@contextlib.contextmanager
def _plainly_named(folder: Path) -> Iterator[Path]:
    """Give a folder under a name without special characters.

    Orbax and tensorstore take the brackets of "[v1]" for a pattern and a backslash for a slash, and then write part
    of a checkpoint elsewhere. An open folder has a second, plain name.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        plain = Path(f"/proc/self/fd/{handle}")
        yield plain if plain.exists() else folder.absolute()
    finally:
        os.close(handle)


def _sum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array))


def _read_back(partial: Path, arrays: Arrays, sums: Mapping[str, int]) -> None:
    """Complain if what was just written cannot be read, while the state is still there to be written again.

    The smallest arrays are read and compared; for the others the sizes of their files must do.
    """
    names, size = [], 0
    for name in sorted(arrays, key=lambda name: arrays[name].nbytes):
        size += arrays[name].nbytes
        if names and size > BYTES_READ_BACK:
            break
        names.append(name)
    found = _restored(partial, names)
    odd = [name for name in names if _sum(found[name]) != sums[name]]
    if odd:
        raise CheckpointError(f"{partial} does not hold what was written: {odd[0]} came back altered")


def _put_in_place(partial: Path, path: Path) -> None:
    """Give a whole checkpoint its name. One that had the name before is removed only after that; see `tidy`."""
    replaced = path.parent / f"{REPLACED}{path.name}"
    if path.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        path.rename(replaced)
    partial.rename(path)
    sync(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)


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
    """Remove what a killed process had half written or removed, and put back what it had not yet replaced."""
    for path in models.glob(f"{REPLACED}*"):
        whole = models / path.name.removeprefix(REPLACED)
        if not whole.exists():
            path.rename(whole)
    for path in models.glob(f"{PARTIAL}*"):
        shutil.rmtree(path, ignore_errors=True)


def read_meta(path: Path) -> Meta:
    """Return what a checkpoint says of itself.

    Raises:
      CheckpointError: it cannot be read, or one of its files is not as it was written.
    """
    meta = _read_meta(path)
    for name, size in meta.files.items():
        try:
            file = inside(path, name)
        except RecordError as error:
            raise _damaged(path, str(error)) from error
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            is_now = "is missing" if found is None else f"has {found} bytes"
            raise _damaged(path, f"{name} {is_now}, {size} were written")
    return meta


def _read_meta(path: Path) -> Meta:
    """Return what a checkpoint says of itself, without a look at its other files."""
    if not path.is_dir():
        raise CheckpointError(f"no checkpoint: {path} does not exist")
    try:
        said = read_json(path / META)
        said = {"step": said.pop("env_step"), **said} if "env_step" in said else said  # the name in older ones
        meta = Meta(**said)
    except (OSError, RecordError, TypeError) as error:
        raise _damaged(path, f"{META} cannot be read: {error}") from error
    odd = [key for key, kind in META_KINDS.items() if not isinstance(getattr(meta, key), kind)]
    odd += [] if isinstance(meta.score, int | float | None) else ["score"]
    if odd:
        raise _damaged(path, f"{META} holds another kind of {odd[0]} than was written")
    return meta


def read(path: Path, like: PyTree, under: str = "") -> PyTree:
    """Return a checkpoint's state as arrays on the device, or, named by `under` ("learner.params"), those of a part
    that are wanted.

    Args:
      like: what is expected: a tree of jax.ShapeDtypeStruct, as jax.eval_shape gives it.

    Raises:
      CheckpointError: a file is missing or damaged, or the state is of another shape than `like`.
    """
    meta = read_meta(path)
    wanted = {_name(under, at): leaf for at, leaf in jax.tree.leaves_with_path(like)}
    _compare(path, set(wanted), set(meta.sums) & set(wanted) if under else set(meta.sums))
    arrays = read_arrays(path, list(wanted))
    leaves = [_on_device(path, name, arrays[name], leaf, meta.keys.get(name)) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _name(under: str, path: Any) -> str:
    inner = jax.tree_util.keystr(path, simple=True, separator=".")
    return f"{under}.{inner}" if under and inner else under or inner


def read_arrays(path: Path, names: Sequence[str]) -> Arrays:
    """Return some of a checkpoint's arrays by their names; the others are not read.

    Raises:
      CheckpointError: one of them is not there, or not as it was written.
    """
    sums = read_meta(path).sums
    if lacking := sorted(set(names) - set(sums)):
        raise CheckpointError(f"the checkpoint {path} has no {lacking[0]}")
    arrays = _restored(path, names)
    for name in names:
        if _sum(arrays[name]) != sums[name]:
            raise _damaged(path, f"{name} is not what was written")
    return arrays


def _restored(path: Path, names: Sequence[str]) -> Arrays:
    from orbax import checkpoint as orbax

    item = {name: np.zeros(()) for name in names}
    restore_args = {name: orbax.RestoreArgs(restore_type=np.ndarray) for name in names}
    wanted = orbax.args.PyTreeRestore(item=item, restore_args=restore_args, partial_restore=True)
    with _plainly_named(path) as folder, orbax.PyTreeCheckpointer() as checkpointer:
        try:
            return checkpointer.restore(folder / STATE, args=wanted)
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
        try:
            leaf = jax.random.wrap_key_data(leaf, impl=generator)
        except (TypeError, ValueError) as error:
            raise _damaged(path, f"{name} is no key of the generator {generator!r}") from error
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
