"""Configuration files and command line -> one checked configuration, in PyMARL's order.

default.yaml < envs/<env-config>.yaml < algs/<config>.yaml < key=value. A layer that names another part
(`planner: joint`) starts that part's `*_args` afresh, for those below belonged to the part it replaces.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from src.config import schema
from src.config.commandline import Update, UsageError
from src.config.files import FOLDER, is_path, locate, names
from src.registry import FAMILIES, find, nearest


class ConfigError(UsageError):
    """Mistakes in a configuration, each one sentence; `str` is the message for the user."""

    def __init__(self, mistakes: Sequence[str]):
        self.mistakes = tuple(mistakes)
        head = (
            "the configuration cannot be used:"
            if len(mistakes) == 1
            else f"the configuration has {len(mistakes)} mistakes:"
        )
        super().__init__("\n".join([head, *(f"  - {mistake}" for mistake in mistakes)]))


class Given(NamedTuple):
    """One value and where it was written."""

    value: Any
    source: str
    raw: str | None = None  # as typed on the command line


Name = tuple[str, ...]  # ("seed",) or ("planner_args", "num_simulations")


def load(config: str, env_config: str, updates: Sequence[Update] = ()) -> dict[str, Any]:
    """Return the whole configuration, every setting of every named part filled in; lists, numbers and text only.

    Raises:
      ConfigError: with all mistakes at once.
    """
    mistakes: list[str] = []
    resolved = _resolve(_given(config, env_config, updates, mistakes), mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return resolved


def stored(config: Mapping[str, Any], source: str, updates: Sequence[Update] = ()) -> dict[str, Any]:
    """Return a recorded run's own configuration, checked again, with the command line's settings over it.

    Settings that have come since the run are filled in from default.yaml and the parts' defaults.

    Args:
      source: what to call the recorded configuration in messages.

    Raises:
      ConfigError: with all mistakes at once, as where a setting of the run is no more.
    """
    mistakes: list[str] = []
    layers = [_file("default.yaml", mistakes), _layer(config, source), _typed_layer(updates, mistakes)]
    resolved = _resolve(_merge(layers), mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return resolved


def own_settings(config: str, updates: Sequence[Update]) -> dict[str, Any]:
    """Return what an algorithm's file and the settings over it say, without what they stand upon, nested as in a YAML file."""
    merged = _merge([_named_layer("algs", config, "--config", []), _typed_layer(updates, [])])
    nested: dict[str, Any] = {}
    for path, given in merged.items():
        if len(path) == 1:
            nested[path[0]] = given.value
        else:
            nested.setdefault(path[0], {})[path[1]] = given.value
    return nested


def peek(config: str, env_config: str, updates: Sequence[Update], keys: Sequence[str]) -> dict[str, Any]:
    """Return some run-level values, unchecked, without importing any part: what JAX must know before a part uses it."""
    given = _given(config, env_config, updates, [])
    return {key: given[key,].value for key in keys if (key,) in given}


def _given(config: str, env_config: str, updates: Sequence[Update], mistakes: list[str]) -> dict[Name, Given]:
    """Return all that files and command line say, merged."""
    layers = [_file("default.yaml", mistakes)]
    layers += [_named_layer("envs", env_config, "--env-config", mistakes), _named_layer("algs", config, "--config", mistakes)]
    layers.append(_typed_layer(updates, mistakes))
    return _merge(layers)


def sections() -> dict[str, type]:
    """Return the sections whose settings do not depend on a part's name."""
    return {"eval_args": schema.EvalConfig, "checkpoint_args": schema.CheckpointConfig}


def _named_layer(folder: str, name: str, flag: str, mistakes: list[str]) -> dict[Name, Given]:
    """Return the layer of a file of `folder`, or of a YAML file anywhere."""
    path = locate(folder, name)
    if path.is_file():
        own = path.parent == FOLDER / folder
        return _file(f"{folder}/{path.name}", mistakes) if own else _read(path, str(path), mistakes)
    if is_path(name):
        near = _guess(path.name, [found.name for found in path.parent.glob("*.yaml")])
        mistakes.append(f"{flag}={name}: no such file; {near}a name without a slash is looked for in src/config/{folder}/")
    else:
        known = names(folder)
        mistakes.append(f"{flag}={name}: no file {folder}/{name}.yaml; {_guess(name, known)}known: {', '.join(known)}")
    return {}


def _file(name: str, mistakes: list[str]) -> dict[Name, Given]:
    """Return one of our own YAML files as a layer."""
    return _read(FOLDER / name, f"src/config/{name}", mistakes)


def _read(path: Path, source: str, mistakes: list[str]) -> dict[Name, Given]:
    """Return one YAML file as a layer; `source` is what to call it."""
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError) as error:
        mistakes.append(f"{source}: cannot be read: {error}")
        return {}
    except yaml.YAMLError as error:
        mistakes.append(f"{source}: not valid YAML: {' '.join(str(error).split())}")
        return {}
    if not isinstance(content, Mapping):
        mistakes.append(f"{source}: expected `key: value` lines")
        return {}
    return _layer(content, source)


def _layer(content: Mapping[str, Any], source: str) -> dict[Name, Given]:
    """Return nested settings as a layer."""
    layer: dict[Name, Given] = {}
    for key, value in content.items():
        if str(key) in _section_names() and isinstance(value, Mapping):
            layer |= {(str(key), str(inner)): Given(item, source) for inner, item in value.items()}
        else:
            layer[str(key),] = Given(value, source)
    return layer


def _typed_layer(updates: Sequence[Update], mistakes: list[str]) -> dict[Name, Given]:
    """Return the command line's key=value pairs as a layer; `learner_args="{'unroll': 3}"` counts as its inner keys."""
    layer: dict[Name, Given] = {}
    for update in updates:
        path = tuple(update.key.split("."))
        if update.value is None and update.raw is None:
            mistakes.append(f"'{update.key}' ({update.source}): expected key=value after `with`")
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
    """Return a mapping with `value` at `path`, keeping what `held` has."""
    held = dict(held) if isinstance(held, Mapping) else {}
    held[path[0]] = value if len(path) == 1 else _nest(held.get(path[0]), path[1:], value)
    return held


def _section_names() -> list[str]:
    return [f"{family}_args" for family in FAMILIES] + list(sections())


def _merge(layers: Sequence[Mapping[Name, Given]]) -> dict[Name, Given]:
    """Return the layers laid over each other, later ones winning.

    Where a layer names another part than those below it, the settings of lower layers that had named their part go with
    that part. Settings of layers that named none (an environment's, for whatever planner) stay if the new part has them.
    """
    merged: dict[Name, Given] = {}
    bound: set[tuple[str, str]] = set()  # (family, source) of layers that named a part
    for layer in layers:
        for family in FAMILIES:
            named = layer.get((family,))
            if named and (family,) in merged and merged[family,].value != named.value:
                merged = {
                    path: given for path, given in merged.items()
                    if path[0] != f"{family}_args" or ((family, given.source) not in bound and _has(family, named.value, path[1]))
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
    """Return whether a part has a setting; a part that cannot be had is complained about elsewhere."""
    try:
        return key in schema.fields(find(family, str(part)).config())
    except (KeyError, ImportError):
        return True


def _resolve(given: Mapping[Name, Given], mistakes: list[str]) -> dict[str, Any]:
    """Return the nested configuration with all defaults, appending to `mistakes` what is wrong."""
    schemas = {"": schema.RunConfig, **sections()}
    named: dict[str, Any] = {}
    for family in FAMILIES:
        part = _part(family, given.get((family,)), mistakes)
        if part is not None:
            named[family] = part
            _load(family, part, schemas, mistakes)
    unknown_sections = {f"{family}_args" for family in FAMILIES} - set(schemas)
    for path, entry in given.items():
        section, key = ("", path[0]) if len(path) == 1 else (path[0], ".".join(path[1:]))
        if path[0] in unknown_sections or (not section and key in FAMILIES):
            continue
        if key not in schema.fields(schemas[section]) if section in schemas else True:
            mistakes.append(_unknown(".".join(path), entry, schemas, named))
    resolved: dict[str, Any] = {}
    for section, keys in schemas.items():
        values = _section(section, keys, given, mistakes)
        resolved |= values if not section else {section: values}
    return resolved | named


def _part(family: str, given: Given | None, mistakes: list[str]) -> str | None:
    """Return the name of a family's part, or None (and a mistake) if there is no such part."""
    if given is None:
        mistakes.append(f"{family}: not given; known: {', '.join(FAMILIES[family])}")
        return None
    try:
        find(family, str(given.value))
    except KeyError as error:
        mistakes.append(f"{family} ({given.source}): {error.args[0]}")
        return None
    return str(given.value)


def _load(family: str, part: str, schemas: dict[str, type], mistakes: list[str]) -> None:
    """Put the part's schema into `schemas`; what it needs may not be installed."""
    try:
        schemas[f"{family}_args"] = find(family, part).config()
    except ImportError as error:
        if str(error.name).startswith("src"):
            raise  # our own mistake, not the user's
        mistakes.append(f"{family} '{part}' cannot be loaded: {error}")


def _section(section: str, keys: type, given: Mapping[Name, Given], mistakes: list[str]) -> dict[str, Any]:
    """Return one section's values, checked."""
    values = {}
    for name, field in schema.fields(keys).items():
        path = (section, name) if section else (name,)
        entry = given.get(path)
        if entry is None and schema.default(field) is schema.REQUIRED:
            mistakes.append(f"{'.'.join(path)}: not given; expected {schema.describe(keys, name)}")
        try:
            if entry is not None:
                values[name] = schema.checked(keys, name, _as_text(entry, schema.kind(keys, name)))
            elif schema.default(field) is not schema.REQUIRED:
                default = schema.default(field)
                values[name] = list(default) if isinstance(default, tuple) else default
        except schema.Invalid:
            mistakes.append(
                f"{'.'.join(path)} ({entry.source}): got {entry.value!r}, expected "
                f"{schema.describe(keys, name)}{_hint(entry.value, keys, name)}"
            )
    return values


def _as_text(entry: Given, kind: Any) -> Any:
    """Return the value, as typed where text is wanted: name=2024 is a fine name."""
    return entry.raw if kind is str and entry.raw is not None and not isinstance(entry.value, str) else entry.value


def _hint(value: Any, keys: type, name: str) -> str:
    """Return the nearest choice for a wrong one, or what to write for a number that YAML reads as text."""
    if not isinstance(value, str):
        return ""
    choices = schema.fields(keys)[name].metadata.get("choices")
    if choices:
        guess = nearest(value, choices)
        return f"; did you mean {guess}?" if guess else ""
    try:
        number = float(value)
    except ValueError:
        return ""
    mantissa, _, exponent = value.lower().partition("e")
    better = f"{mantissa}.0e{exponent}" if exponent and "." not in mantissa else repr(number)
    return f" (YAML reads {value} as text: write {better})"


def _unknown(key: str, entry: Given, schemas: Mapping[str, type], named: Mapping[str, str]) -> str:
    """Return the sentence for a key that no schema has, with the nearest valid one."""
    section = key.rpartition(".")[0]
    family = section.removesuffix("_args")
    owner = f"{family} '{named[family]}' has no such setting" if family in named else "no such setting"
    guess = _nearest_key(key, schemas)
    if guess:
        return f"{key} ({entry.source}): {owner}; did you mean {guess}?"
    where = f"list {family}.{named[family]}" if family in named else "list run"
    return f"{key} ({entry.source}): {owner}; see `python src/main.py {where}`"


def _nearest_key(key: str, schemas: Mapping[str, type]) -> str | None:
    """Return the valid key that was meant: alike in the same section, else the same name, its initials or like it."""
    valid = {f"{part}.{name}" if part else name: name for part, keys in schemas.items() for name in schema.fields(keys)}
    valid |= {family: family for family in FAMILIES}
    section, _, leaf = key.rpartition(".")
    if section in schemas:
        inside = [name for full, name in valid.items() if full == (f"{section}.{name}" if section else name)]
        guess = nearest(leaf, inside)
        if guess:
            return f"{section}.{guess}" if section else guess
    same = [full for full, name in valid.items() if leaf in (name, "".join(word[:1] for word in name.split("_")))]
    if same:
        return " or ".join(same)
    guess = nearest(leaf, valid.values())
    return next((full for full, name in valid.items() if name == guess), None)


def _guess(name: str, known: Sequence[str]) -> str:
    guess = nearest(name, known)
    return f"did you mean {guess}? " if guess else ""
