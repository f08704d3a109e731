"""The command line, PyMARL style: [COMMAND] --config=ALG --env-config=ENV with key=value ... [other flags]."""

import ast
from collections.abc import Sequence
from typing import Any, NamedTuple

from src.registry import nearest

DEFAULTS = {"--config": "mazero_seq", "--env-config": "mpe"}
OF_RUNS = ("--resume", "--run", "--checkpoint")  # a recorded run by id or path, and one of its checkpoints


class Update(NamedTuple):
    """One `key=value`; `value` and `raw` are None where there was no `=`."""

    key: str
    value: Any
    raw: str | None
    source: str = "command line"  # what to call its place in messages


class Request(NamedTuple):
    """What a user typed, taken apart."""

    command: str
    topics: tuple[str, ...]  # what follows `list`
    config: str
    env_config: str
    updates: tuple[Update, ...]
    rest: tuple[str, ...]  # command, `with`, its updates and the other flags: what Sacred reads
    named: dict[str, str]  # those of --config, --env-config, --resume, --run and --checkpoint that were given
    mongo: str | None = None  # Sacred's -m, which it would store with all credentials


class UsageError(ValueError):
    """A command line that cannot be used; `str` is the message for the user."""


def parse(argv: Sequence[str], commands: Sequence[str]) -> Request:
    """Return the request in `argv` (without the program's name); the first of `commands` is the default.

    Raises:
      UsageError: an unknown command, or `--config` without a name.
    """
    named, rest = _take_named(argv)
    mongo, rest = _take_mongo(rest)
    cut = rest.index("with") if "with" in rest else len(rest)
    command = rest[0] if cut and not rest[0].startswith("-") else commands[0]
    if command not in commands:
        guess = nearest(command, commands)
        hint = f"did you mean '{guess}'? " if guess else ""
        raise UsageError(f"unknown command '{command}'; {hint}known: {', '.join(commands)}")
    if {"-h", "--help"} & set(rest):
        command = "help"
    topics = [word for word in rest[1:cut] if not word.startswith("-")] if command == "list" else []
    given = updates(_until_flag(rest[cut + 1 :]))
    config, env_config = (named.get(flag, default) for flag, default in DEFAULTS.items())
    return Request(command, tuple(topics), config, env_config, given, tuple(rest), named, mongo)


def updates(words: Sequence[str]) -> tuple[Update, ...]:
    """Return the settings in the words that follow `with`."""
    return tuple(_update(word) for word in words)


def _take_named(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the names after --config, --env-config and the flags that name a run, and what remains."""
    named: dict[str, str] = {}
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        flag, sep, value = word.partition("=")
        if flag not in (*DEFAULTS, *OF_RUNS):
            rest.append(word)
            continue
        value = value if sep else next(words, "")
        if not value or value == "with" or value.startswith("-"):
            what = "a run's id or path: " if flag in OF_RUNS[:2] else "a name: "
            hint = "" if flag in OF_RUNS else "; `python src/main.py list` prints them"
            raise UsageError(f"{flag} needs {what}{flag}={'ID' if flag in OF_RUNS[:2] else 'NAME'}{hint}")
        named[flag] = value
    return named, rest


def _take_mongo(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return what follows -m or --mongo_db (or its beginnings, as Sacred takes them), and what remains."""
    mongo, rest = None, []
    words = iter(words)
    for word in words:
        flag, sep, value = word.partition("=")
        if len(flag) > 2 and "--mongo_db".startswith(flag):
            mongo = value if sep else next(words, "")
        elif word.startswith("-m"):
            mongo = word[2:] or next(words, "")
        else:
            rest.append(word)
            continue
        if not mongo or mongo == "with" or mongo.startswith("-"):
            raise UsageError(f"{flag} needs a database: -m mongodb://HOST:PORT/DATABASE or -m HOST:PORT:DATABASE")
    return mongo, rest


def _until_flag(words: Sequence[str]) -> list[str]:
    """Return the words before the first flag."""
    taken = []
    for word in words:
        if word.startswith("-"):
            break
        taken.append(word)
    return taken


def _update(text: str) -> Update:
    key, sep, raw = text.partition("=")
    return Update(key.strip(), _value(raw.strip()), raw.strip()) if sep else Update(text, None, None)


def _value(raw: str) -> Any:
    """Return a Python literal's value; true, false and null as YAML has them; anything else as text."""
    words = {"true": True, "false": False, "null": None}
    if raw.lower() in words:
        return words[raw.lower()]
    try:
        return ast.literal_eval(raw)
    except (ValueError, SyntaxError):
        return raw
