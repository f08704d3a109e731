"""What commands on recorded runs have in common: their flags, and the run that these name."""

import argparse
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from src.records import runs
from src.config import commandline, values
from src.config.commandline import Update, UsageError
from src.registry import nearest


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError instead of leaving the interpreter, and takes `with key=value ...` at the end."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog.split()[-1]}: {message}; see `{self.prog} --help`")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """Refuse what argparse reads as nobody means it: -seeds=3 as -s, of a flag given twice the last one, and --."""
        known = {option: action for action in self._actions for option in action.option_strings}
        self._check_words([word for word in args or () if word.startswith("-")], (*known, *commandline.KNOWN))
        once = [
            action.dest for action in map(known.get, _flags(args or ())) if isinstance(action, argparse._StoreAction)
        ]
        for dest in once:
            if once.count(dest) > 1:
                self.error(f"--{dest.replace('_', '-')} is given twice; leave one of them out")
        return super().parse_known_args(args, namespace)

    def _check_words(self, words: Sequence[str], known: Sequence[str]) -> None:
        """Complain of a flag that there is not, also where it has one dash too few."""
        for word in words:
            name = word.partition("=")[0]
            if word.startswith("--") and name not in known:
                guess = nearest(name, known) if len(name) > 2 else None
                self.error(f"cannot read '{name}'" + (f"; did you mean {guess}?" if guess else ""))
            if word[1:2] != "-" and len(word) > 2 and not _is_number(word) and commandline.misread(word, known):
                self.error(f"cannot read '{name}'; a long flag has two dashes")

    def read(self, words: Sequence[str]) -> tuple[argparse.Namespace, tuple[Update, ...]]:
        """Return the flags and the settings after `with`.

        Raises:
          UsageError: a flag that there is not, or a setting that is not key=value.
        """
        words = list(words)
        cut = words.index("with") if "with" in words else len(words)
        updates = commandline.updates(word for word in words[cut + 1 :] if not word.startswith("-"))
        for update in updates:
            if update.raw is None:
                self.error(f"'{update.key}': expected key=value after `with`")
        flags = words[:cut] + [word for word in words[cut + 1 :] if word.startswith("-")]
        return self.parse_args(flags), updates


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


def path(text: str) -> str:
    """Return a flag's path, ~ replaced by the home folder."""
    try:
        return values.expanded(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def out_folder(text: str) -> str:
    """Return a flag's folder for files that are to be written; it may be still to be made, and is not made here."""
    return _checked_out(text, problem_of_folder)


def out_file(text: str) -> Path:
    """Return a flag's path of a file that is to be written, in a folder that is there."""
    return Path(_checked_out(text, problem_of_file))


def _checked_out(text: str, problem: Any) -> str:
    found = path(text)
    if said := problem(found):
        raise argparse.ArgumentTypeError(said)
    return found


def problem_of_folder(folder: str | Path) -> str:
    """Return why no files can be written into a folder, or nothing if they can; nothing is made."""
    try:
        if not str(folder) or _odd(folder):
            return f"{values.shown(str(folder))}: no name that a folder can have"
        if str(folder).startswith("~"):
            return f"{folder}: there is no such home folder"
        there = next(place for place in (Path(folder).absolute(), *Path(folder).absolute().parents) if place.exists())
    except OSError as error:
        return f"{values.shortened(str(folder), values.MOST_OF_A_PATH)}: {error.strerror}"
    if not there.is_dir():
        return f"{folder}: {there} is a file; name a folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{folder}: nothing can be written into {there}; name another folder"
    return ""


def problem_of_file(file: str | Path) -> str:
    """Return why a file cannot be written, or nothing if it can."""
    if said := problem_of_folder(Path(file).parent):
        return said
    if not Path(file).parent.is_dir():
        return f"{file}: there is no folder {Path(file).parent}"
    odd = not Path(file).name or _odd(file) or Path(file).is_dir()
    return f"{values.shown(str(file))}: no name that a file can have" if odd else ""


def _odd(path: str | Path) -> bool:
    """Return whether no file system would take a path: it has control characters, or a name that is too long."""
    return values.odd_characters(str(path)) or any(len(os.fsencode(part)) > 255 for part in Path(path).parts)


def parser(
    command: str, description: str, run_help: str = "a recorded run: its id, or its folder", required: bool = True
) -> Parser:
    """Return a parser that knows --run."""
    made = Parser(prog=f"python src/main.py {command}", description=description, allow_abbrev=False)
    made.add_argument("--run", required=required, metavar="ID|PATH", help=run_help)
    return made


def find(run: str, updates: Sequence[Update]) -> runs.StoredRun:
    """Return the run that is meant, looked for in results/ or where `with results_dir=...` says.

    Raises:
      UsageError: there is no such run.
    """
    try:
        return runs.find(run, results_dir(updates))
    except ValueError as error:
        raise UsageError(str(error)) from None


def results_dir(updates: Sequence[Update]) -> str:
    """Return the folder in which runs are looked for."""
    said = [update for update in updates if update.key == "results_dir" and update.raw is not None]
    given = [update.value if isinstance(update.value, str) else update.raw for update in said] or ["results"]
    try:
        return values.expanded(given[-1])  # of a key that is given twice the last counts, as in a configuration
    except ValueError as error:
        raise UsageError(f"results_dir={given[-1]}: {error}") from None


def settings(updates: Sequence[Update]) -> list[Update]:
    """Return the settings that go over a run's own: all but where it lies."""
    return [update for update in updates if update.key != "results_dir"]
