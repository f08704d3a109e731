"""What commands on recorded runs have in common: their flags, and the run that these name."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from src import runs
from src.config import commandline
from src.config.commandline import Update, UsageError


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError instead of leaving the interpreter, and takes `with key=value ...` at the end."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog.split()[-1]}: {message}; see `{self.prog} --help`")

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


def parser(command: str, description: str, run_help: str = "a recorded run: its id, or its folder") -> Parser:
    """Return a parser that knows --run."""
    made = Parser(prog=f"python src/main.py {command}", description=description, allow_abbrev=False)
    made.add_argument("--run", required=True, metavar="ID|PATH", help=run_help)
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
    """Return the folder in which runs are looked for; the last one typed counts, as everywhere."""
    return next((str(update.raw) for update in reversed(updates) if update.key == "results_dir"), "results")


def settings(updates: Sequence[Update]) -> list[Update]:
    """Return the settings that go over a run's own: all but where it lies."""
    return [update for update in updates if update.key != "results_dir"]
