"""Datasets on disk: a flashbax Vault in OG-MARL's layout, and two files beside it; written whole or not at all.

A dataset is a folder. In it lie the vault `<environment>/<scenario>.vlt/<level>/`, which others' tools open,
`card.json`, which says what the data are, and `ends.npz`, which holds what followed the last row of each episode. The
vault's leaves have OG-MARL's names and are [1, R, ...] (Formanek et al. 2023, "Off-the-Grid MARL", arXiv:2302.00521);
ours stand among its `infos`: alive, present, first, and log_prob, policy and entropy of the policy that acted.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tandem.datasets import card as cards
from tandem.datasets.dataset import BEHAVIOUR, Arrays, Dataset
from tandem.ops.streams import aligned
from tandem.records.checkpoint import plainly_named, sync

CARD, ENDS = "card.json", "ends.npz"
# Our name of a row's field: the leaf of the vault. `terminated` and `truncated` are stored for each agent.
LEAVES = {"obs": "observations", "action": "actions", "reward": "rewards"}
FLAGS = {"terminated": "terminals", "truncated": "truncations"}
INFOS = {"state": "state", "legal": "legals"} | {name: name for name in ("present", "alive", "first", *BEHAVIOUR)}


class DatasetError(ValueError):
    """A dataset that cannot be had or written; `str` is the message for the user."""


def is_dataset(folder: Path) -> bool:
    """Return whether a folder is a dataset of ours."""
    return (folder / CARD).is_file() and (folder / ENDS).is_file()


def write(folder: Path, data: Dataset) -> dict[str, Any]:
    """Write a dataset, with its numbers in the card, and return the card; until the last moment nothing is there.

    Raises:
      DatasetError: there is something of this name already, or nothing can be written there.
    """
    with new_folder(folder) as partial:
        card = cards.complete(data) | {"hashes": hashes(data)}
        _write_vault(partial, _tree(data.rows, card["spec"]["num_agents"]), card)
        np.savez_compressed(partial / ENDS, **data.ends)
        (partial / CARD).write_text(json.dumps(card, indent=1) + "\n")
    return card


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to write into, which gets its own name at the end; until then nothing is there.

    Raises:
      DatasetError: there is something of this name already, or nothing can be written there.
    """
    folder = Path(os.path.abspath(folder))
    if folder.exists():
        raise DatasetError(f"{folder} is there already; name another folder, or remove it")
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        partial.rename(folder)
        sync(folder.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise DatasetError(f"{folder} cannot be written ({error.strerror})") from error


def read_card(folder: Path) -> dict[str, Any]:
    """Return a dataset's card.

    Raises:
      DatasetError: there is none, or it is damaged.
    """
    try:
        card = json.loads((folder / CARD).read_text())
        return card | {"spec": dict(card["spec"])}
    except FileNotFoundError:
        raise DatasetError(f"{folder} holds no dataset: there is no {CARD} in it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{folder / CARD} is damaged: {error}") from error


def read(folder: Path) -> Dataset:
    """Return a dataset of ours.

    Raises:
      DatasetError: it is not there, or not as it was written.
    """
    card = read_card(folder)
    try:
        with np.load(folder / ENDS, allow_pickle=False) as file:
            ends = {name: file[name] for name in file.files}
    except Exception as error:  # of many kinds: zipfile's, zlib's, NumPy's, the system's
        raise DatasetError(f"{folder / ENDS} is damaged: {' '.join(str(error).split())[:200]}") from error
    data = Dataset(rows_of(read_vault(vault_in(folder)), card["spec"]), ends, card)
    found, written = hashes(data), card.get("hashes", {})
    if odd := [name for name in sorted(found | written) if found.get(name) != written.get(name)]:
        raise DatasetError(f"the dataset {folder} is damaged: {', '.join(odd)} not as written")
    return data


def hashes(data: Dataset) -> dict[str, str]:
    """Return a hash of the bytes of every array, by name."""
    arrays = data.rows | {f"ends.{name}": array for name, array in data.ends.items()}
    return {
        name: hashlib.blake2b(np.ascontiguousarray(array).view(np.uint8).data, digest_size=8).hexdigest()
        for name, array in sorted(arrays.items())
        if array.size
    }


def vault_in(folder: Path) -> Path:
    """Return the one vault in a folder, or the folder itself if it is one.

    Raises:
      DatasetError: there is none, or more than one.
    """
    found = [path.parent for path in sorted((folder).glob("**/metadata.json"))]
    if len(found) == 1:
        return found[0]
    said = f"{len(found)} of them, name one: {', '.join(map(str, found[:6]))}" if found else "none"
    raise DatasetError(f"one vault of flashbax is looked for in {folder}; there is {said}")


def read_vault(folder: Path) -> Arrays:
    """Return the leaves of a vault [R, ...] by name, those of `infos` as "infos.NAME".

    Raises:
      DatasetError: it cannot be read.
    """
    import tensorstore  # which others need not wait for

    try:
        names = _leaf_names(json.loads((folder / "metadata.json").read_text())["structure_shape"])
        with plainly_named(folder) as plain:
            size = int(_opened(plain, "vault_index").read().result()[0])
            # Not by Vault.read, which makes a second copy on JAX's device.
            leaves = {name: _opened(plain, f"{name}.")[0, :size] for name in names}
            read = {name: aligned(leaf.shape, leaf.dtype.numpy_dtype) for name, leaf in leaves.items()}
            for written in [tensorstore.array(read[name]).write(leaf) for name, leaf in leaves.items()]:
                written.result()
            return read
    except Exception as error:  # of many kinds: tensorstore's, the system's, those of another structure
        said = " ".join(str(error).split())[:200]
        raise DatasetError(f"the vault {folder} cannot be read: {said or type(error).__name__}") from error


def _opened(vault: Path, name: str, write: bool = False) -> Any:
    """Return an array of a vault; those of its leaves have names that end in a dot."""
    import tensorstore  # which others need not wait for

    place = {"driver": "ocdbt", "base": f"file://{vault}", "path": name}
    return tensorstore.open({"driver": "zarr", "kvstore": place}, read=True, write=write).result()


def _leaf_names(structure: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the names of a tree's leaves: "observations", "infos.state"."""
    found = []
    for name, below in structure.items():
        found += _leaf_names(below, f"{prefix}{name}.") if isinstance(below, Mapping) else [f"{prefix}{name}"]
    return found


def rows_of(leaves: Arrays, spec: Mapping[str, Any]) -> Arrays:
    """Return the fields of rows by our names of a vault's leaves [R, ...]; what is not there is left out."""
    rows = {ours: leaves[theirs] for ours, theirs in LEAVES.items()}
    rows |= {ours: leaves[theirs].all(axis=-1) for ours, theirs in FLAGS.items()}
    rows |= {ours: leaves[f"infos.{theirs}"] for ours, theirs in INFOS.items() if f"infos.{theirs}" in leaves}
    if "state" not in rows:  # of no features, which a vault has no place for
        rows["state"] = np.zeros((len(rows["obs"]), spec.get("state") or 0), np.float32)
    return rows


def _tree(rows: Arrays, num_agents: int) -> dict[str, Any]:
    """Return the leaves of a vault [1, R, ...]."""
    leaves = {theirs: rows[ours][None] for ours, theirs in LEAVES.items()}
    for ours, theirs in FLAGS.items():
        leaves[theirs] = np.repeat(rows[ours][None, :, None], num_agents, axis=-1)
    infos = {theirs: rows[ours][None] for ours, theirs in INFOS.items() if ours in rows and rows[ours].size}
    return leaves | {"infos": infos}


def _write_vault(folder: Path, tree: dict[str, Any], card: Mapping[str, Any]) -> None:
    from flashbax.vault import Vault

    size = tree["rewards"].shape[1]
    example = jax.tree.map(lambda x: x[:, :1], tree)
    with plainly_named(folder) as plain, contextlib.redirect_stdout(io.StringIO()):
        Vault(
            vault_name=f"{card['task']}.vlt", experience_structure=example, rel_dir=str(plain),
            vault_uid=card["level"], metadata={"card": json.dumps(card)},
        )  # fmt: skip
        # Not by Vault.write, which holds a copy of all leaves at once, and writes nothing of a buffer that is full.
        made = next(iter(plain.rglob("metadata.json"))).parent
        for path, leaf in jax.tree.leaves_with_path(tree):
            stored = _opened(made, ".".join(key.key for key in path) + ".", write=True)
            stored[:, :size].write(leaf, can_reference_source_data_indefinitely=True).result()
        _opened(made, "vault_index", write=True).write(np.full(1, size, np.int32)).result()
