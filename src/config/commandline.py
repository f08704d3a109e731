"""The command line, PyMARL style: [COMMAND] --config=ALG --env-config=ENV with key=value ... [other flags]."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tandem.config import values
from tandem.registry import nearest

DEFAULTS = {"--config": "mazero_seq", "--env-config": "mpe"}
OF_RUNS = ("--resume", "--run", "--checkpoint")  # they name a recorded run by id or path, and one of its checkpoints
RUN_FLAGS = {"train": ("--resume", "--checkpoint"), "rerun": ("--run",)}  # which of these flags a command accepts
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
MONGO = "--mongo"
SACREDS_MONGO = "--mongo_db"  # Sacred would store its URL with all credentials, so it is removed
MONGO_ALIASES = ("-m", SACREDS_MONGO, "--mongo-url")  # Sacred's spellings, and an earlier one of `upload`
# The flags of Sacred that are accepted. The others set where a run is recorded, which the configuration does here.
VALUED = {"-m": MONGO, "-c": "--comment", "-F": "--file_storage", "-l": "--loglevel", "-b": "--beat-interval"}
SWITCHES = {"-u": "--unobserved", "-D": "--pdb", "-p": "--print-config"}
SHORT = VALUED | SWITCHES
KNOWN = (*DEFAULTS, *OF_RUNS, *SHORT.values())
NEEDS = {
    "--resume": "a run's id or path: --resume=ID",
    "--run": "a run's id or path: --run=ID",
    "--checkpoint": "a name: --checkpoint=NAME",
    MONGO: "a database: --mongo=mongodb://HOST:PORT/DATABASE or --mongo=HOST:PORT:DATABASE",
    "--comment": "a text: -c TEXT",
    "--file_storage": "a folder: -F DIR",
    "--loglevel": "a level: -l INFO",
    "--beat-interval": "seconds between two writes of the record: -b 10",
} | {flag: f"a name: {flag}=NAME; `python src/main.py list` prints them" for flag in DEFAULTS}


class Update(NamedTuple):
    """One `key=value`; `value` and `raw` are None if there was no `=`."""

    key: str
    value: Any
    raw: str | None
    source: str = "command line"  # its source, as messages name it


class Request(NamedTuple):
    """The parsed command line."""

    command: str
    topics: tuple[str, ...]  # what follows `list`
    config: str
    env_config: str
    updates: tuple[Update, ...]
    rest: tuple[str, ...]  # command, `with`, its updates and Sacred's flags, as typed
    named: dict[str, str]  # those of --config, --env-config, --resume, --run and --checkpoint that were given
    mongo: str | None = None  # what follows --mongo
    options: Mapping[str, Any] = {}  # Sacred's flags by their long names; True where they take no value


class UsageError(ValueError):
    """The command line is wrong; `str` is the message for the user."""


def parse(argv: Sequence[str], commands: Sequence[str]) -> Request:
    """Return the request in `argv` (without the program's name); the first of `commands` is the default.

    Raises:
      UsageError: a word has no meaning at its place.
    """
    if {"-h", "--help"} & set(argv):
        config, env_config = DEFAULTS.values()
        return Request("help", (), config, env_config, (), tuple(argv), {})
    given, plain, rest = _take_flags(argv)
    cut = plain.index("with") if "with" in plain else len(plain)
    command = _command(plain[:cut], commands)
    topics = tuple(plain[1:cut])
    if topics and command != "list":
        hint = "settings come after `with`: with KEY=VALUE ..."
        raise UsageError(f"cannot read {values.shown(topics[0])} after '{command}'; {hint}")
    named = {flag: given.pop(flag) for flag in (*DEFAULTS, *OF_RUNS) if flag in given}
    config, env_config = (named.get(flag, default) for flag, default in DEFAULTS.items())
    mongo = given.pop(MONGO, None)
    return Request(command, topics, config, env_config, updates(plain[cut + 1 :]), tuple(rest), named, mongo, given)


def updates(words: Sequence[str]) -> tuple[Update, ...]:
    """Return the settings in the words after `with`; if a key is given twice, the last one counts."""
    return tuple(_update(word) for word in words)


def check_flags(request: Request) -> None:
    """Raise for flags that a command would ignore.

    Raises:
      UsageError: the command does not take the flag.
    """
    if request.command in ("list", "help"):
        typed = (*request.named, *request.options, *([MONGO] if request.mongo else []))
        wrong = [*typed, *(update.key for update in request.updates)]
    else:
        wrong = [flag for flag in OF_RUNS if flag in request.named and flag not in RUN_FLAGS.get(request.command, ())]
        wrong += ["--checkpoint"] if "--checkpoint" in request.named and "--resume" not in request.named else []
    if wrong:
        runs = "`train --resume=RUN [--checkpoint=STEP]` continues a run, `rerun --run=RUN` repeats one"
        hint = runs if wrong[0] in OF_RUNS else "leave it out"
        raise UsageError(f"{wrong[0]}: '{request.command}' does not take it; {hint}")


def _command(words: Sequence[str], commands: Sequence[str]) -> str:
    command = words[0] if words else commands[0]
    if command in commands:
        return command
    if "=" in command:
        hint = f"settings come after `with`: with {values.shortened(command)}"
        raise UsageError(f"{values.shown(command)} is no command; {hint}")
    guess = nearest(command, commands)
    hint = f"did you mean '{guess}'? " if guess else ""
    raise UsageError(f"unknown command {values.shown(command)}; {hint}known: {', '.join(commands)}")


def _take_flags(argv: Sequence[str]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return the flags by their long names, the words that are no flags, and the words that Sacred gets."""
    given: dict[str, Any] = {}
    plain: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if not word.startswith("-"):
            plain.append(word)
            rest.append(word)
            continue
        flag, value = _flag(word)
        typed = [word]
        if flag not in SWITCHES.values():
            if value is None:
                value = next(words, "")
                typed.append(value)
            _check_value(flag, value)
        if flag in given:
            raise UsageError(f"{flag} is given twice; leave one of them out")
        given[flag] = True if value is None else value
        rest += typed if flag in SHORT.values() and flag != MONGO else []
    return given, plain, rest


def _flag(word: str) -> tuple[str, str | None]:
    """Return the long name of the flag in a word, and the value attached to it, if any.

    Raises:
      UsageError: there is no such flag, or a long flag has one dash, so that it would be read as a short one.
    """
    name, sep, value = word.partition("=")
    # Abbreviations are accepted too, as in Sacred.
    if name in MONGO_ALIASES[1:] or (len(name) > 2 and SACREDS_MONGO.startswith(name)):
        return MONGO, value if sep else None
    if name in KNOWN and (not sep or name not in SWITCHES.values()):
        return name, value if sep else None
    short, attached = word[:2], word[2:]
    if short in SHORT and not attached:
        return SHORT[short], None
    if short in VALUED and not misread(word, KNOWN):
        return VALUED[short], attached
    raise UsageError(f"cannot read '{name if sep else word}'; {_hint(name, sep)}see `python src/main.py --help`")


def misread(word: str, known: Sequence[str]) -> bool:
    """Return whether a word with one dash was meant as a long flag, such as `-config=mappo`."""
    name, sep, _ = word.partition("=")
    like = difflib.get_close_matches(f"-{name}", known, n=1, cutoff=0.8)
    return bool(like) or (bool(sep) and "://" not in name)


def _hint(name: str, sep: str) -> str:
    """Return what an unknown flag probably meant."""
    bare = name.lstrip("-")
    if not bare:
        return "leave it out; "
    guess = difflib.get_close_matches(f"--{bare}", KNOWN, n=1, cutoff=0.7)
    if guess:
        return f"did you mean {guess[0]}? "
    return f"a setting has no dash: with {bare}=VALUE; " if sep else ""


def _check_value(flag: str, value: str) -> None:
    if not value or value == "with" or value.startswith("-"):
        raise UsageError(f"{flag} needs {NEEDS[flag]}")
    if flag == "--beat-interval" and not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", value):
        raise UsageError(f"-b {values.shown(value)}: expected {NEEDS[flag]}")
    if flag == "--loglevel" and not (value in LEVELS or (value.isdecimal() and len(value) < 3 and int(value) <= 50)):
        raise UsageError(f"-l {values.shown(value)}: expected one of {', '.join(LEVELS)}, or a number from 0 to 50")


def _update(text: str) -> Update:
    key, sep, raw = text.partition("=")
    return Update(key.strip(), values.typed(raw.strip()), raw.strip()) if sep else Update(text, None, None)
