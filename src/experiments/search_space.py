"""Search spaces: the settings that a sweep varies, from a YAML file, checked against the
configuration before anything starts.
"""

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tandem.config import commandline, files, loader, schema, yaml_files
from tandem.config.commandline import Request, Update, UsageError
from tandem.config.loader import ConfigError
from tandem.config.schema import MOST
from tandem.config.values import shortened, shown, written
from tandem.registry import FAMILIES, nearest

FOLDER = files.FOLDER / "spaces"
RANGES = ("uniform", "log_uniform", "int_uniform", "log_int_uniform")  # of two bounds, both included
KINDS = (*RANGES, "choice")
GRID = "grid"  # a plain list
MOST_VALUES = 200  # of a list: each is checked before anything starts
EXAMPLE = "KEY: {log_uniform: [1.0e-4, 1.0e-2]}, {choice: [4, 8]} or a list [4, 8]"


class Dimension(NamedTuple):
    """One setting that is searched over."""

    key: str  # "learner_args.learning_rate"
    kind: str  # one of KINDS, or GRID
    values: tuple  # least and largest of a range; else all there are

    @property
    def listed(self) -> bool:
        return self.kind not in RANGES


def read(name: str) -> tuple[Dimension, ...]:
    """Return the space in a YAML file, or in an example of src/config/spaces/ by its name.

    Raises:
      ConfigError: it lists all mistakes.
      UsageError: there is no such file.
    """
    path = find(name)
    try:
        content = yaml_files.read(path)
    except yaml_files.Unreadable as error:
        raise ConfigError([f"{path}: {error}"]) from None
    if not isinstance(content, Mapping) or not content:
        raise ConfigError([f"{path}: expected lines such as {EXAMPLE}"])
    mistakes: list[str] = []
    found = list(_flat(content))
    space = [_dimension(key, value, f"{shortened(key)} ({path})", mistakes) for key, value in found]
    keys = [key for key, _ in found]
    mistakes += [f"{key} ({path}): is written twice; keep one" for key in dict.fromkeys(keys) if keys.count(key) > 1]
    if mistakes:
        raise ConfigError(mistakes)
    return tuple(space)


def find(name: str) -> Path:
    """Return the file that --space names.

    Raises:
      UsageError: there is none.
    """
    known = files.names("spaces")
    if name in known:
        return FOLDER / f"{name}.yaml"
    path = Path(os.path.expanduser(name))
    if not files.is_file(path):
        guess = nearest(name, known)
        hint = f"did you mean {guess}? " if guess else ""
        raise UsageError(f"--space={shortened(name)}: no such file; {hint}examples: {', '.join(known)}")
    return path


def check(space: Sequence[Dimension], source: str, request: Request) -> None:
    """Check that every setting exists, and that runs can be configured with its least, largest and other values.

    Args:
      source: name of the space's file in messages.
      request: the configuration that all trials share.

    Raises:
      ConfigError: with all mistakes at once.
    """
    typed = {update.key for update in request.updates}
    twice = "also given on the command line; leave it out in one place"
    mistakes = [f"{one.key} ({source}): {twice}" for one in space if one.key in typed]
    mistakes += [
        f"{one.key} ({source}): cannot be searched over; give it after `with`" for one in space if fixed(one.key)
    ]
    for candidate in _extremes(space):
        try:
            loader.load(request.config, request.env_config, (*request.updates, *updates(candidate, source)))
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(list(dict.fromkeys(mistakes)))


def fixed(key: str) -> bool:
    """Return whether a setting only says where and how runs are recorded, which is no part of a search."""
    return key.partition(".")[0] in schema.bookkeeping()


def first_trial(space: Sequence[Dimension], source: str, request: Request) -> Request:
    """Return the configuration of a trial with the first value of every setting."""
    return request._replace(updates=(*request.updates, *updates(next(_extremes(space)), source)))


def updates(settings: Mapping[str, Any], source: str) -> tuple[Update, ...]:
    """Return settings as the command line would give them."""
    return tuple(update._replace(source=source) for update in commandline.updates(words(settings)))


def words(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as key=value, written so that the command line reads the same values."""
    return [f"{key}={written(plain(value))}" for key, value in settings.items()]


def plain(value: Any) -> Any:
    """Return NumPy's numbers as Python's."""
    return value.item() if hasattr(value, "item") else value


def grid_size(space: Sequence[Dimension]) -> int:
    """Return the number of combinations of the lists; a choice counts once, because one value is drawn."""
    return math.prod(len(one.values) for one in space if one.kind == GRID)


def _flat(content: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield `section.key` and value, also where a section's keys stand indented below its name."""
    for key, value in content.items():
        nested = isinstance(value, Mapping) and str(key).endswith("_args")
        yield from ((f"{key}.{inner}", item) for inner, item in value.items()) if nested else [(str(key), value)]


def _dimension(key: str, value: Any, where: str, mistakes: list[str]) -> Dimension:
    """Return one dimension; its mistakes are appended to `mistakes`."""
    kind, values = (GRID, value) if isinstance(value, list) else ("", value)
    if isinstance(value, Mapping) and len(value) == 1:
        kind, values = next(iter(value.items()))
    if kind not in (*KINDS, GRID) or (kind == GRID and isinstance(value, Mapping)):
        guess = nearest(kind, KINDS) if kind else None
        hint = f"did you mean {guess}? " if guess else ""
        said = f"unknown distribution {shown(kind)}; {hint}" if kind else f"got {shown(value)}; "
        mistakes.append(f"{where}: {said}expected one of {', '.join(KINDS)}, or a list: {EXAMPLE}")
    elif not isinstance(values, list) or not values:
        mistakes.append(f"{where}: got {shown(values)}, expected {_wanted(kind)}")
    elif kind in RANGES:
        _check_range(kind, values, where, mistakes)
    elif len(values) > MOST_VALUES:
        mistakes.append(f"{where}: names {len(values):,} values; at most {MOST_VALUES} can be tried")
    elif any(values.count(one) > 1 for one in values):
        mistakes.append(f"{where}: {shown(values)} names a value twice")
    return Dimension(key, str(kind), tuple(values) if isinstance(values, list) else ())


def _wanted(kind: str) -> str:
    return f"{kind}: [LOW, HIGH]" if kind in RANGES else "a list of values, one or more"


def _check_range(kind: str, values: list, where: str, mistakes: list[str]) -> None:
    """Add a mistake if bounds are no numbers, in the wrong order or, for logarithms, not above 0."""
    whole = "int" in kind
    numbers = [
        value for value in values if isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    ]
    if len(values) != 2 or len(numbers) != 2 or not all(abs(number) <= MOST for number in numbers):
        wanted = f"{kind}: [LOW, HIGH], two {'whole ' if whole else ''}numbers"
        mistakes.append(f"{where}: got {shown(values)}, expected {wanted}")
    elif numbers[0] >= numbers[1]:
        mistakes.append(f"{where}: {values} is an empty range; expected LOW < HIGH")
    elif kind.startswith("log") and numbers[0] <= 0:
        mistakes.append(f"{where}: {values} has no logarithm; expected LOW above 0")


def _extremes(space: Sequence[Dimension]) -> Iterator[dict[str, Any]]:
    """Yield settings that together hold every value that may be wrong, with every
    combination of the parts searched over.
    """
    parts = [one for one in space if one.key in FAMILIES]
    others = {one.key: _samples(one) for one in space if one not in parts}
    first = {key: values[0] for key, values in others.items()}
    for chosen in itertools.product(*(one.values for one in parts)):
        base = first | {one.key: value for one, value in zip(parts, chosen, strict=True)}
        yield base
        yield from (base | {key: value} for key, values in others.items() for value in values[1:])


def _samples(one: Dimension) -> tuple:
    """Return all listed values; of a range its ends and, of real numbers, one between that is not whole."""
    low, high = one.values[0], one.values[-1]
    return one.values if one.listed or "int" in one.kind else (low, high, low + (high - low) / math.e)
