"""Layers of a configuration: the settings in one file or on the command line, and how
layers are merged.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tandem.config import schema, yaml_files
from tandem.config.commandline import Update
from tandem.config.files import FOLDER, found, is_file, is_path, locate, names
from tandem.config.values import MOST_OF_A_PATH, shortened, shown
from tandem.registry import FAMILIES, find, nearest


class Given(NamedTuple):
    """A value and its source."""

    value: Any
    source: str
    raw: str | None = None  # as typed on the command line


Name = tuple[str, ...]  # ("seed",) or ("planner_args", "num_simulations")


def sections() -> dict[str, type]:
    """Return the sections whose settings do not depend on a part's name."""
    return dict(schema.SECTIONS)


def named_layer(folder: str, name: str, flag: str, mistakes: list[str]) -> dict[Name, Given]:
    """Return the layer of a file in `folder`, or of a YAML file at any path."""
    path = locate(folder, name)
    several = found(folder).get(name.removesuffix(".yaml"), ()) if path.parent.name == folder else ()
    if len(several) > 1 and path in several:
        which = " and ".join(map(str, several))
        mistakes.append(f"{flag}={name}: there are {which}; write the path of the one that you mean")
        return {}
    if is_file(path):
        own = path.parent == FOLDER / folder
        return file_layer(f"{folder}/{path.name}", mistakes) if own else _read(path, str(path), mistakes)
    if is_path(name):
        hint = f"{_near(path)}a name without a slash is searched in src/config/{folder}/"
        mistakes.append(f"{flag}={shortened(name, MOST_OF_A_PATH)}: no such file; {hint}")
    else:
        known = names(folder)
        said = f"no file {folder}/{shortened(name)}.yaml; {_guess(name, known)}known: {', '.join(known)}"
        mistakes.append(f"{flag}={shortened(name)}: {said}")
    return {}


def file_layer(name: str, mistakes: list[str]) -> dict[Name, Given]:
    """Return one of our own YAML files as a layer."""
    return _read(FOLDER / name, f"src/config/{name}", mistakes)


def _read(path: Path, source: str, mistakes: list[str]) -> dict[Name, Given]:
    """Return one YAML file as a layer; messages call it `source`."""
    try:
        content = yaml_files.read(path)
    except yaml_files.Unreadable as error:
        mistakes.append(f"{source}: {error}")
        return {}
    if content is not None and not isinstance(content, Mapping):
        mistakes.append(f"{source}: expected `key: value` lines, got {shown(content)}")
        return {}
    return nested_layer(content or {}, source)


def nested_layer(content: Mapping[str, Any], source: str) -> dict[Name, Given]:
    """Return nested settings as a layer; an empty section is ignored."""
    layer: dict[Name, Given] = {}
    for key, value in content.items():
        if str(key) in _section_names() and (value is None or isinstance(value, Mapping)):
            value = value or {}
            layer |= {(str(key), str(inner)): Given(item, source) for inner, item in value.items()}
        else:
            layer[str(key),] = Given(value, source)
    return layer


def typed_layer(updates: Sequence[Update], mistakes: list[str]) -> dict[Name, Given]:
    """Return the command line's key=value pairs as a layer; `learner_args="{'unroll': 3}"` counts as its inner keys."""
    layer: dict[Name, Given] = {}
    for update in updates:
        path = tuple(update.key.split("."))
        if update.value is None and update.raw is None:
            mistakes.append(f"{shown(update.key)} ({update.source}): expected key=value after `with`")
        elif not all(path):
            bare = ".".join(filter(None, path))
            hint = f"did you mean {bare}? " if bare else ""
            said = f"no such setting; {hint}a key is NAME or SECTION.NAME"
            mistakes.append(f"{shown(update.key)} ({update.source}): {said}")
        elif len(path) == 1 and path[0] in _section_names() and isinstance(update.value, Mapping):
            layer |= {(path[0], str(inner)): Given(item, update.source) for inner, item in update.value.items()}
        elif len(path) > 2 and path[0] in _section_names():
            held = layer.get(path[:2])
            value = _nest(held.value if held else None, path[2:], update.value)
            layer[path[:2]] = Given(value, update.source)
        else:
            layer[path] = Given(update.value, update.source, update.raw)
    return layer


def _nest(held: Any, path: Name, value: Any) -> dict:
    """Return a copy of `held` with `value` at `path`."""
    held = dict(held) if isinstance(held, Mapping) else {}
    held[path[0]] = value if len(path) == 1 else _nest(held.get(path[0]), path[1:], value)
    return held


def _section_names() -> list[str]:
    return [f"{family}_args" for family in FAMILIES] + list(sections())


def merge(layers: Sequence[Mapping[Name, Given]]) -> dict[Name, Given]:
    """Return the merged layers; later layers override earlier ones.

    If a layer names another part than the layers below, lower layers that had named the old part lose
    their settings of it. Layers that named no part (an environment's file, for any planner) keep those
    settings that the new part has.
    """
    merged: dict[Name, Given] = {}
    bound: set[tuple[str, str]] = set()  # (family, source) of layers that named a part
    for layer in layers:
        for family in FAMILIES:
            named = layer.get((family,))
            if named and (family,) in merged and merged[family,].value != named.value:
                merged = {
                    path: given
                    for path, given in merged.items()
                    if path[0] != f"{family}_args"
                    or ((family, given.source) not in bound and _has(family, named.value, path[1]))
                }
            if named:
                bound |= {(family, named.source)}
        for path, given in layer.items():
            below = merged.get(path)
            if below and isinstance(below.value, Mapping) and isinstance(given.value, Mapping):
                given = given._replace(value={**below.value, **given.value})
            merged[path] = given
    return merged


def _has(family: str, part: Any, key: str) -> bool:
    """Return whether a part has a setting; a part that cannot be loaded is reported elsewhere."""
    try:
        return key in schema.fields(find(family, str(part)).config())
    except (KeyError, ImportError):
        return True


def _near(path: Path) -> str:
    """Return a hint at a file beside `path` with a similar name."""
    try:
        return _guess(path.name, [found.name for found in path.parent.glob("*.yaml")])
    except (OSError, ValueError):
        return ""


def _guess(name: str, known: Sequence[str]) -> str:
    guess = nearest(name, known)
    return f"did you mean {guess}? " if guess else ""
