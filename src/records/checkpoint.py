"""Checkpoints: everything that a run needs to continue, written completely or not at all.

A checkpoint is a folder `results/models/<run id>/<environment step>/`: `state`, written by orbax, contains the run
state's arrays under their names ("learner.params.Dense_0.kernel"), and `meta.json` describes them. Both are written to
a folder with another name, which is then renamed to the step. So a folder named by a step is complete. Sizes of files
and checksums of arrays are stored, so that later damage is noticed.
"""

import contextlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import PyTree
from tandem.records.checkpoint_folder import META, PARTIAL, REPLACED, CheckpointError, Meta, Misfit, damaged, read_meta

STATE = "state"
PLAIN = "arrays.npz"  # holds the arrays of a small checkpoint, instead of orbax's folder
BYTES_READ_BACK = 2**24  # bytes that are read back for a check; all of them would take as much memory as the state
Arrays = dict[str, np.ndarray]


def split(state: PyTree) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a state's arrays by name, with random keys as plain numbers, and the generators of the keys."""
    arrays, keys = {}, {}
    for path, leaf in jax.tree.leaves_with_path(state):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            keys[name] = str(jax.random.key_impl(leaf))
            leaf = jax.random.key_data(leaf)
        arrays[name] = leaf
    return arrays, keys


def write(path: Path, arrays: Arrays, meta: Meta) -> None:
    """Write a checkpoint; its name appears only when it is complete."""
    from orbax import checkpoint as orbax  # takes half a second, and many commands save nothing

    partial = path.parent / f"{PARTIAL}{path.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()  # without its parents, because a results folder that was moved away is not created again
    with plainly_named(partial) as folder, orbax.PyTreeCheckpointer() as checkpointer:
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
def plainly_named(folder: Path) -> Iterator[Path]:
    """Give a folder under a name without special characters.

    Orbax and tensorstore read the brackets of "[v1]" as a pattern and a backslash as a slash, and then write part of a
    checkpoint elsewhere. An open folder has a second, plain name.
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
    """Raise if the written checkpoint cannot be read, while the state is still there to be written again.

    The smallest arrays are read and compared; for the others only the sizes of their files are checked.
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
    """Give a complete checkpoint its name. An earlier one with this name is removed only afterwards; see `tidy`."""
    replaced = path.parent / f"{REPLACED}{path.name}"
    if path.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        path.rename(replaced)
    partial.rename(path)
    sync(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, so that they survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path, like: PyTree, under: str = "") -> PyTree:
    """Return a checkpoint's state as arrays on the device, or only the part that `under` names
    ("learner.params").

    Args:
      like: the expected structure: a tree of jax.ShapeDtypeStruct, as from jax.eval_shape.

    Raises:
      CheckpointError: a file is missing or damaged, or the state has another structure than `like`.
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
      CheckpointError: an array is missing or was changed.
    """
    sums = read_meta(path).sums
    if lacking := sorted(set(names) - set(sums)):
        raise CheckpointError(f"the checkpoint {path} has no {lacking[0]}")
    arrays = _restored(path, names)
    for name in names:
        if _sum(arrays[name]) != sums[name]:
            raise damaged(path, f"{name} is not what was written")
    return arrays


def write_plain(path: Path, arrays: Arrays, meta: Meta) -> None:
    """Write a small checkpoint as one file of arrays, into a new folder."""
    path.mkdir(parents=True)
    np.savez_compressed(path / PLAIN, **arrays)
    sums = {name: _sum(array) for name, array in arrays.items()}
    whole = meta._replace(sums=sums, files={PLAIN: (path / PLAIN).stat().st_size})
    (path / META).write_text(json.dumps(whole._asdict(), indent=1) + "\n")


def _plain(path: Path, names: Sequence[str]) -> Arrays:
    try:
        with np.load(path / PLAIN, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except Exception as error:  # zipfile, zlib and NumPy raise errors of many kinds
        raise damaged(path, " ".join(str(error).split())[:200]) from error


def _restored(path: Path, names: Sequence[str]) -> Arrays:
    if (path / PLAIN).exists():
        return _plain(path, names)
    from orbax import checkpoint as orbax

    item = {name: np.zeros(()) for name in names}
    restore_args = {name: orbax.RestoreArgs(restore_type=np.ndarray) for name in names}
    wanted = orbax.args.PyTreeRestore(item=item, restore_args=restore_args, partial_restore=True)
    with plainly_named(path) as folder, orbax.PyTreeCheckpointer() as checkpointer:
        try:
            return checkpointer.restore(folder / STATE, args=wanted)
        except Exception as error:  # orbax, tensorstore and the system raise errors of many kinds
            raise damaged(path, " ".join(str(error).split())[:200]) from error


def _compare(path: Path, wanted: set[str], there: set[str]) -> None:
    """Raise if only one side has an array."""
    odd = sorted(wanted ^ there)
    if odd:
        where = "the checkpoint has none" if odd[0] in wanted else "this configuration has none"
        text = f"the checkpoint {path} is of another configuration or an older version of the code: {odd[0]}: {where}"
        raise Misfit(text, odd[0], *("", "wanted") if odd[0] in wanted else ("there", ""))


def _on_device(path: Path, name: str, array: np.ndarray, like: Any, generator: str | None) -> Any:
    """Return an array on the device. It may share memory with `array`, which nothing else uses."""
    leaf = jax.device_put(array)
    if generator is not None:
        try:
            leaf = jax.random.wrap_key_data(leaf, impl=generator)
        except (TypeError, ValueError) as error:
            raise damaged(path, f"{name} is no key of the generator {generator!r}") from error
    if leaf.shape != like.shape or leaf.dtype != like.dtype:
        found, wanted = f"{leaf.dtype}{list(leaf.shape)}", f"{like.dtype}{list(like.shape)}"
        text = f"the checkpoint {path} is of another configuration: {name} is {found} there, {wanted} by this"
        raise Misfit(f"{text} configuration", name, found, wanted)
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
