"""The schema of a configuration: the run-level keys, and the check of a value against a dataclass field."""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from tandem.config.values import expanded, odd_characters
from tandem.core import setting

REQUIRED = dataclasses.MISSING  # the default value is in default.yaml alone


# The device computes steps and sizes in 32-bit integers, and the rest in 32-bit floats. Larger numbers would wrap.
MOST_WHOLE, MOST = 2**31 - 1, 3.4e38
MOST_STORED = 2**63 - 1  # of a number that is only passed on
LONGEST_NAME = 200  # bytes; file systems allow 255, and names get suffixes such as a date
LONGEST_TEXT = 4000


class FileName(str):
    """The kind of a setting that becomes part of a file's name."""


class Folder(str):
    """The kind of a setting that names a folder; ~ stands for the home folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The keys of a run that belong to no part; their default values are in default.yaml."""

    name: FileName = setting(REQUIRED, "label of the run in records and plots; algorithm files set it")
    seed: int = setting(REQUIRED, "seed of everything random", low=0, high=2**31 - 1)
    t_max: int = setting(REQUIRED, "total environment steps; with runner=offline, total updates", low=1)
    max_minutes: float = setting(REQUIRED, "wall-clock limit of training in minutes, without start-up; 0 = none", low=0)
    discount: float = setting(REQUIRED, "discount per environment step", low=0, high=1)
    init_from: str = setting(
        REQUIRED, "recorded run, by id or folder, whose parameters this run begins with; '' = random ones"
    )
    results_dir: Folder = setting(REQUIRED, "folder of all records", decides=False)
    mongo_url: str | None = setting(
        REQUIRED,
        "MongoDB to record in as well, mongodb://USER:PASSWORD@HOST:PORT/DATABASE or HOST:PORT:DATABASE; "
        "None = TANDEM_MONGO_URL, '' = none",
        decides=False,
    )
    on_nan: str = setting(
        REQUIRED,
        "what a run does if its losses or parameters are no longer finite: stop and fail, or continue",
        choices=("stop", "continue"),
        decides=False,
    )
    video: bool = setting(REQUIRED, "write a film of a few episodes to the run's folder at the end", decides=False)
    mongo_optional: bool = setting(REQUIRED, "start even if MongoDB does not answer", decides=False)
    wandb_project: str = setting(
        REQUIRED,
        "Weights & Biases project to record in as well, offline unless WANDB_MODE=online; '' = none",
        decides=False,
    )
    mlflow_uri: str = setting(
        REQUIRED,
        "MLflow store to record in as well: sqlite:///FILE.db or http://HOST:PORT; '' = none",
        decides=False,
    )
    platform: str = setting(
        REQUIRED, "where JAX computes; auto takes a GPU if there is one", choices=("auto", "cpu", "gpu")
    )
    compile_cache_dir: str = setting(
        REQUIRED,
        "folder of compiled programs, for quick later starts; auto = in the user's cache, '' = none",
        decides=False,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """The section `eval_args`."""

    episodes: int = setting(REQUIRED, "greedy episodes of each evaluation, on fresh environments", low=1)
    every: int = setting(REQUIRED, "environment steps between evaluations", low=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """The section `checkpoint_args`."""

    every_minutes: float = setting(REQUIRED, "minutes between checkpoints; 0 = none by the clock", low=0, decides=False)
    every_steps: int = setting(
        REQUIRED, "environment steps between checkpoints; 0 = none by steps", low=0, decides=False
    )
    keep_last: int = setting(REQUIRED, "number of newest checkpoints to keep", low=1, decides=False)
    keep_every_steps: int = setting(
        REQUIRED, "environment steps between checkpoints that are never deleted; 0 = none", low=0, decides=False
    )
    keep_best: bool = setting(REQUIRED, "whether to save and keep the checkpoint of the best evaluation", decides=False)


SECTIONS = {"eval_args": EvalConfig, "checkpoint_args": CheckpointConfig}  # sections that belong to no part


def bookkeeping() -> tuple[str, ...]:
    """Return the settings that do not change what a run computes; a section counts if all its settings do."""
    own = [name for name, field in fields(RunConfig).items() if not field.metadata["decides"]]
    sections = [
        name for name, keys in SECTIONS.items() if not any(field.metadata["decides"] for field in fields(keys).values())
    ]
    return (*own, *sections)


class Invalid(ValueError):
    """A field does not accept a value; the text says what was expected."""


def fields(schema: type) -> dict[str, dataclasses.Field]:
    """Return the settings of a dataclass by name."""
    return {field.name: field for field in dataclasses.fields(schema)}


def default(field: dataclasses.Field) -> Any:
    """Return a field's default, or REQUIRED if it has none."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def kind(schema: type, name: str) -> Any:
    """Return the annotated type of a field, also if annotations are stored as text."""
    return typing.get_type_hints(schema)[name]


def checked(schema: type, name: str, value: Any) -> Any:
    """Return `value` as its field requires (an int for a float field becomes a float, tuples become lists).

    Raises:
      Invalid: the value has the wrong type, is out of range or is none of the choices.
    """
    meta = fields(schema)[name].metadata
    value = _typed(kind(schema, name), value)
    for item in value if isinstance(value, list) else [value]:
        _check_bounds(item, meta)
    return value


def beyond(schema: type, name: str, value: Any) -> str:
    """Return the message for a number that is too large for any setting; empty if the
    setting's own bound already excludes it.
    """
    bounded = fields(schema)[name].metadata.get("high") is not None
    if bounded or isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return "; it must be finite"
    most = MOST_WHOLE if kind(schema, name) is int else MOST
    return f"; at most {most}" if abs(value) > most else ""


def describe(schema: type, name: str) -> str:
    """Return the valid values of a field in words: "whole number, 1 or more"."""
    meta = fields(schema)[name].metadata
    if meta.get("choices"):
        return "one of " + ", ".join(str(choice) for choice in meta["choices"])
    bounds = _bounds(meta)
    return _words(kind(schema, name)) + (f", {bounds}" if bounds else "")


def build(schema: type, section: Mapping[str, Any]) -> Any:
    """Return the dataclass of a checked section; lists become tuples where its fields declare them."""
    return schema(**{key: tuple(value) if isinstance(value, list) else value for key, value in section.items()})


def _typed(wanted: Any, value: Any) -> Any:
    """Return `value` converted to the type `wanted`, by the rules of `checked`."""
    origin = typing.get_origin(wanted)
    if origin in (typing.Union, types.UnionType):
        return _first_fit(typing.get_args(wanted), value)
    if origin is typing.Literal:
        return _require(value in typing.get_args(wanted), wanted, value)
    if wanted in (tuple, list) or origin in (tuple, list):
        return _sequence(wanted, value)
    if wanted is dict or origin is dict:
        return _mapping(_require(isinstance(value, Mapping), wanted, value))
    if isinstance(wanted, type) and issubclass(wanted, str):
        return _text(wanted, value)
    if wanted is float:
        _require(isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MOST, wanted, value)
        return float(value)
    if wanted is int and isinstance(value, float) and value.is_integer() and abs(value) <= MOST_WHOLE:
        return int(value)  # people type t_max=2e5
    if wanted is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return _require(whole and abs(value) <= MOST_WHOLE, wanted, value)
    if wanted is type(None):
        return _require(value is None, wanted, value)
    return _require(isinstance(value, wanted), wanted, value)


def _text(wanted: type, value: Any) -> str:
    """Return a text that is valid for `wanted`: in a record, as the name of a file, or as a folder."""
    _require(isinstance(value, str) and len(value) <= LONGEST_TEXT and not odd_characters(value), wanted, value)
    if issubclass(wanted, FileName):
        _require(is_file_name(value), wanted, value)
    if issubclass(wanted, Folder):
        _require(value != "", wanted, value)
        try:
            return expanded(value)
        except ValueError:
            _require(False, wanted, value)
    return value


def is_file_name(text: str) -> bool:
    """Return whether a text can be part of a file's name and does not lead to another folder."""
    fits = 0 < len(text.encode(errors="replace")) <= LONGEST_NAME and text == text.strip()
    return fits and "/" not in text and not text.startswith(".") and not odd_characters(text)


def _mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a mapping whose names and values fit every record: JSON, Sacred and MongoDB."""
    for key, item in value.items():
        named = isinstance(key, str) and re.fullmatch(r"(?!\$|py/)[^.=]+", key) is not None
        _require(named and not odd_characters(key), dict, value)
        _require(_storable(item), dict, value)
    return dict(value)


def _storable(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(_mapping(value)) or not value
    if isinstance(value, (list, tuple)):
        return all(_storable(item) for item in value)
    if isinstance(value, (int, float)):
        return abs(value) <= MOST_STORED if isinstance(value, int) else math.isfinite(value)
    return value is None or not odd_characters(value)


def _first_fit(options: tuple, value: Any) -> Any:
    for option in options:
        try:
            return _typed(option, value)
        except Invalid as error:
            failure = error
    raise Invalid(" or ".join(_words(option) for option in options)) from failure


def _sequence(wanted: Any, value: Any) -> list:
    _require(isinstance(value, (list, tuple)), wanted, value)
    kinds = [item for item in typing.get_args(wanted) if item is not Ellipsis]
    return [_typed(kinds[0], item) for item in value] if kinds else list(value)


def _require(good: bool, wanted: Any, value: Any) -> Any:
    if not good:
        raise Invalid(_words(wanted))
    return value


def _check_bounds(value: Any, meta: Mapping[str, Any]) -> None:
    if meta.get("choices") and value is not None and value not in meta["choices"]:
        raise Invalid("one of " + ", ".join(str(choice) for choice in meta["choices"]))
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    low, high = meta.get("low"), meta.get("high")
    if (low is not None and value < low) or (high is not None and value > high):
        raise Invalid(_bounds(meta))


def _bounds(meta: Mapping[str, Any]) -> str:
    low, high = meta.get("low"), meta.get("high")
    if low is not None and high is not None:
        return f"between {low:g} and {high:g}" if high < 1e6 else f"{low:g} or more, at most {high}"
    if low is not None:
        return f"{low:g} or more"
    return f"at most {high:g}" if high is not None else ""


def _words(wanted: Any) -> str:
    """Return a type in a user's words."""
    names = {
        bool: "True or False",
        int: "whole number",
        float: "number",
        str: "text",
        FileName: f"a name that files can have: without / or a dot in front, at most {LONGEST_NAME} bytes",
        Folder: "a folder",
        type(None): "None",
        dict: "mapping",
    }
    if wanted in names:
        return names[wanted]
    origin, args = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(arg) for arg in args)
    if origin is typing.Literal:
        return "one of " + ", ".join(str(arg) for arg in args)
    if origin in (tuple, list):
        return f"list of {_words(args[0])}s"
    return "list" if wanted in (tuple, list) else "mapping"
