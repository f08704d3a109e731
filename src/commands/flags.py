"""How the commands declare their flags. Flags that several commands share are declared here, once.

A setting has no flag, because it stands after `with` in all commands. So `with results_dir=FOLDER` says where recorded
runs are. Earlier spellings of a flag are still accepted, but the help does not list them.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tandem import program
from tandem.config import commandline, values, writable
from tandem.config.commandline import Update, UsageError
from tandem.registry import nearest

# The flags of several commands; a command may pass its own arguments to `Parser.take`.
SHARED: dict[str, dict[str, Any]] = {
    "--run": {"required": True, "metavar": "ID|PATH", "help": "a recorded run: its id, or its folder"},
    "--checkpoint": {"metavar": "best|last|STEP", "help": "which checkpoint of the run (default: best)"},
    "--seeds": {"help": "a count (3 = seeds 1 to 3), a list (1,4,7) or a range (2-5)"},
    "--jobs": {"help": "number of parallel runs; default: $JOBS, or as many as fit"},
    "--metric": {"help": "metric by which runs are compared"},
    "--episodes": {"help": "how many"},
    "--player": {"help": "who chooses the actions"},
    "--out": {"help": "where to write"},
    commandline.MONGO: {"metavar": "URL"},
    "--results-dir": {"help": argparse.SUPPRESS},  # the earlier spelling of `with results_dir=FOLDER`
}
ALIASES: dict[str, Sequence[str]] = {commandline.MONGO: commandline.MONGO_ALIASES}


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError instead of leaving the interpreter, and takes `with key=value ...` at the end."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog.split()[-1]}: {message}; see `{self.prog} --help`")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """Refuse what argparse would misread: -seeds=3 as -s, a flag that is given twice, and --."""
        known = {option: action for action in self._actions for option in action.option_strings}
        others = (*commandline.KNOWN, *commandline.MONGO_ALIASES)  # flags of a training run, which may be given too
        self._check_words([word for word in args or () if word.startswith("-")], (*known, *others))
        once = [
            action.dest for action in map(known.get, _flags(args or ())) if isinstance(action, argparse._StoreAction)
        ]
        for dest in once:
            if once.count(dest) > 1:
                self.error(f"--{dest.replace('_', '-')} is given twice; leave one of them out")
        return super().parse_known_args(args, namespace)

    def _check_words(self, words: Sequence[str], known: Sequence[str]) -> None:
        """Raise for an unknown flag, also if it has one dash too few."""
        for word in words:
            name = word.partition("=")[0]
            if word.startswith("--") and name not in known:
                guess = nearest(name, known) if len(name) > 2 else None
                self.error(f"cannot read '{name}'" + (f"; did you mean {guess}?" if guess else ""))
            if word[1:2] != "-" and len(word) > 2 and not _is_number(word) and commandline.misread(word, known):
                self.error(f"cannot read '{name}'; a long flag has two dashes")

    def take(self, name: str, **particular: Any) -> None:
        """Declare one of the SHARED flags, with all its spellings."""
        declared = SHARED[name] | particular
        self.add_argument(name, **declared)
        for alias in ALIASES.get(name, ()):
            self.add_argument(alias, dest=name.lstrip("-"), **declared | {"help": argparse.SUPPRESS})

    def read(self, words: Sequence[str]) -> tuple[argparse.Namespace, tuple[Update, ...]]:
        """Return the flags and the settings after `with`.

        Raises:
          UsageError: a flag is unknown, or a setting is not key=value.
        """
        words = list(words)
        cut = words.index("with") if "with" in words else len(words)
        updates = commandline.updates(word for word in words[cut + 1 :] if not word.startswith("-"))
        for update in updates:
            if update.raw is None:
                self.error(f"'{update.key}': expected key=value after `with`")
        flags = self.parse_args(words[:cut] + [word for word in words[cut + 1 :] if word.startswith("-")])
        folder = getattr(flags, "results_dir", None)
        if folder is not None:
            if any(update.key == "results_dir" for update in updates):
                self.error("--results-dir and `with results_dir=...` mean the same; leave one of them out")
            updates = (*updates, Update("results_dir", folder, folder))
        return flags, updates

    def read_place(self, words: Sequence[str]) -> tuple[argparse.Namespace, str]:
        """Return the flags and the folder of all records, for commands that accept no other setting.

        Raises:
          UsageError: as in `read`, or there is another setting.
        """
        flags, updates = self.read(words)
        for update in settings(updates):
            self.error(f"'{update.key}': only results_dir=FOLDER can follow `with` here")
        return flags, results_dir(updates)


def _flags(words: Sequence[str]) -> Iterator[str]:
    """Yield the flags among the words, without their values."""
    return (word.partition("=")[0] for word in words if word.startswith("-"))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def number(text: str) -> float:
    """Return a flag's number, which must be a finite one."""
    if not _is_number(text):
        raise argparse.ArgumentTypeError(f"{values.shown(text)}: expected a number")
    return float(text)


def count(of: str, most: int = 10**9) -> Callable[[str], int]:
    """Return what reads a flag's number of things, from 1 on."""

    def read(text: str) -> int:
        if not text.isdecimal() or len(text) > len(str(most)) or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"{values.shown(text)}: expected a number of {of}, 1 or more, at most {most}"
            )
        return int(text)

    return read


def path(text: str) -> str:
    """Return a flag's path, with ~ replaced by the home folder."""
    try:
        return values.expanded(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def out_folder(text: str) -> str:
    """Return the folder that a flag names for output. It need not exist, and it is not created here."""
    return _checked_out(text, writable.problem_of_folder)


def out_file(text: str) -> Path:
    """Return the path that a flag names for an output file, whose folder must exist."""
    return Path(_checked_out(text, writable.problem_of_file))


def _checked_out(text: str, problem: Any) -> str:
    found = path(text)
    if said := problem(found):
        raise argparse.ArgumentTypeError(said)
    return found


def parser(name: str, description: str) -> Parser:
    """Return the parser of `python src/main.py NAME`."""
    return Parser(
        prog=program.named(f"{program.SCRIPT} {name}"),
        description=program.named(description),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def results_dir(updates: Sequence[Update]) -> str:
    """Return the folder in which runs are searched."""
    said = [update for update in updates if update.key == "results_dir" and update.raw is not None]
    given = [update.value if isinstance(update.value, str) else update.raw for update in said] or ["results"]
    try:
        return values.expanded(given[-1])  # if a key is given twice, the last value counts, as in a configuration
    except ValueError as error:
        raise UsageError(f"results_dir={given[-1]}: {error}") from None


def settings(updates: Sequence[Update]) -> list[Update]:
    """Return the settings that override the run's own, so all but `results_dir`."""
    return [update for update in updates if update.key != "results_dir"]
