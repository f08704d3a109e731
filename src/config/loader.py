"""Configuration files and command line -> one checked configuration, in PyMARL's order.

default.yaml < envs/<env-config>.yaml < algs/<config>.yaml < key=value. A layer that names another part
(`planner: joint`) discards that part's earlier `*_args`, because they belonged to the replaced part.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from tandem.config import schema
from tandem.config.commandline import Update, UsageError
from tandem.config.layers import Given, Name, file_layer, merge, named_layer, nested_layer, sections, typed_layer
from tandem.config.values import shortened, shown
from tandem.registry import FAMILIES, MOVED, find, nearest


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


def load(config: str, env_config: str, updates: Sequence[Update] = ()) -> dict[str, Any]:
    """Return the whole configuration with every setting of every part; it holds lists, numbers and text only.

    Raises:
      ConfigError: with all mistakes at once.
    """
    mistakes: list[str] = []
    resolved = _resolve(_given(config, env_config, updates, mistakes), mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return resolved


def stored(config: Mapping[str, Any], source: str, updates: Sequence[Update] = ()) -> dict[str, Any]:
    """Return a recorded run's configuration, checked again and overridden by the command line.

    Settings that are newer than the run are filled in from default.yaml and the parts' defaults.

    Args:
      source: name of the recorded configuration in messages.

    Raises:
      ConfigError: it lists all mistakes, such as settings of the run that no longer exist.
    """
    mistakes: list[str] = []
    layers = [file_layer("default.yaml", mistakes), nested_layer(config, source), typed_layer(updates, mistakes)]
    resolved = _resolve(merge(layers), mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return resolved


def default_settings() -> dict[str, Any]:
    """Return the run-level values of default.yaml, unchecked."""
    return {path[0]: given.value for path, given in file_layer("default.yaml", []).items() if len(path) == 1}


def own_settings(config: str, updates: Sequence[Update]) -> dict[str, Any]:
    """Return the settings of an algorithm's file and of the command line, without the layers
    below, nested as in a YAML file.
    """
    merged = merge([named_layer("algs", config, "--config", []), typed_layer(updates, [])])
    nested: dict[str, Any] = {}
    for path, given in merged.items():
        if len(path) == 1:
            nested[path[0]] = _meant(given)
        else:
            nested.setdefault(path[0], {})[path[1]] = _meant(given)
    return nested


def _meant(given: Given) -> Any:
    """Return a value as a file must write it: if text is expected, `none` is a word and not None."""
    return given.raw if given.value is None and given.raw == "none" else given.value


def peek(config: str, env_config: str, updates: Sequence[Update], keys: Sequence[str]) -> dict[str, Any]:
    """Return some run-level values, unchecked, without importing any part; they set up JAX before parts use it."""
    given = _given(config, env_config, updates, [])
    return {key: given[key,].value for key in keys if (key,) in given}


def _given(config: str, env_config: str, updates: Sequence[Update], mistakes: list[str]) -> dict[Name, Given]:
    """Return the merged settings of files and command line."""
    layers = [file_layer("default.yaml", mistakes)]
    layers += [
        named_layer("envs", env_config, "--env-config", mistakes),
        named_layer("algs", config, "--config", mistakes),
    ]
    layers.append(typed_layer(updates, mistakes))
    return merge(layers)


def _resolve(given: Mapping[Name, Given], mistakes: list[str]) -> dict[str, Any]:
    """Return the nested configuration with all defaults; mistakes are appended to `mistakes`."""
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
            mistakes.append(_unknown(path, entry, schemas, named))
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
    """Put the part's schema into `schemas`; a package that it needs may be missing."""
    entry = find(family, part)
    if fault := entry.fault():
        mistakes.append(f"{family} '{part}' of the package '{entry.origin}' cannot be used: {fault}")
        return
    try:
        schemas[f"{family}_args"] = entry.config()
    except ImportError as error:
        if str(error.name).startswith("tandem"):
            raise  # a mistake of Tandem, not of the user
        mistakes.append(f"{family} '{part}' cannot be loaded: {error}")


def _section(section: str, keys: type, given: Mapping[Name, Given], mistakes: list[str]) -> dict[str, Any]:
    """Return one section's values, checked."""
    values = {}
    for name, field in schema.fields(keys).items():
        path = (section, name) if section else (name,)
        entry = given.get(path)
        if entry is None:
            default = schema.default(field)
            if default is schema.REQUIRED:
                mistakes.append(f"{'.'.join(path)}: not given; expected {schema.describe(keys, name)}")
            else:
                values[name] = list(default) if isinstance(default, tuple) else default
            continue
        try:
            values[name] = schema.checked(keys, name, _as_text(entry, schema.kind(keys, name)))
        except schema.Invalid:
            mistakes.append(
                f"{'.'.join(path)} ({entry.source}): got {shown(entry.value)}, expected "
                f"{schema.describe(keys, name)}{_hint(entry.value, keys, name)}"
            )
    return values


def _as_text(entry: Given, kind: Any) -> Any:
    """Return the value, or the typed text if text is expected, because name=2024 is a valid name."""
    wants_text = isinstance(kind, type) and issubclass(kind, str)
    return entry.raw if wants_text and entry.raw is not None and not isinstance(entry.value, str) else entry.value


def _hint(value: Any, keys: type, name: str) -> str:
    """Return the nearest valid choice, or how to write a value that is nearly right."""
    choices, kind = schema.fields(keys)[name].metadata.get("choices"), schema.kind(keys, name)
    if choices and isinstance(value, str):
        guess = nearest(value, choices)
        return f"; did you mean {guess}?" if guess else ""
    if isinstance(value, str) and kind is bool and value.lower() in ("yes", "no", "on", "off"):
        return "; write true or false"
    if isinstance(value, (int, float)) and kind is not bool and not isinstance(value, bool):
        return schema.beyond(keys, name, value)
    return ""


def _unknown(path: Name, entry: Given, schemas: Mapping[str, type], named: Mapping[str, str]) -> str:
    """Return the sentence for an unknown key, with the nearest valid one."""
    key, section = ".".join(path), ".".join(path[:-1])
    said = f"{shortened(key)} ({entry.source})"
    if path[0] in schemas and len(path) == 1:
        wanted = f"its settings: `with {key}.NAME=VALUE`, or indented below it in a file"
        return f"{said}: got {shown(entry.value)}, expected {wanted}"
    if any("." in part for part in path):
        better = key.replace(".", ":` and below it `")
        return f"{said}: write the parts of a key below each other, indented: `{better}: ...`"
    if key in MOVED:
        return f"{said}: {MOVED[key]}"
    family = section.removesuffix("_args")
    owner = f"{family} '{named[family]}' has no such setting" if family in named else "no such setting"
    if others := _others_with(family, path[-1]):
        return f"{said}: {owner}; {family}={' or '.join(others)} has it"
    guess = _nearest_key(key, schemas)
    if guess:
        return f"{said}: {owner}; did you mean {guess}?"
    where = f"list {family}.{named[family]}" if family in named else "list run"
    return f"{said}: {owner}; see `python src/main.py {where}`"


def _others_with(family: str, key: str) -> list[str]:
    """Return the parts of a family that have such a setting."""
    found = []
    for name, entry in FAMILIES.get(family, {}).items():
        with contextlib.suppress(ImportError):  # what some parts need is not installed
            if not entry.broken and not entry.fault() and key in schema.fields(entry.config()):
                found.append(name)
    return found


def _nearest_key(key: str, schemas: Mapping[str, type]) -> str | None:
    """Return the valid key that was probably meant: one in the section, or one with the same name or initials.

    A key with a section is compared only with keys of that section, because a similar
    name elsewhere means something else.
    """
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
    if section in schemas and section:
        return None
    guess = nearest(leaf, valid.values())
    return next((full for full, name in valid.items() if name == guess), None)
