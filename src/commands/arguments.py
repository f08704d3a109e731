"""Reads command lines: the recorded run that one names, or a command's own flags beside a training configuration."""

import argparse
from collections.abc import Sequence

from tandem.commands.flags import Parser, results_dir
from tandem.config import commandline
from tandem.config.commandline import Update, UsageError
from tandem.records import runs, zoo


def find(run: str, updates: Sequence[Update]) -> runs.StoredRun:
    """Return the run that the flags name, searched in results/ or in the folder of `with results_dir=...`.

    Raises:
      UsageError: there is no such run.
    """
    try:
        return runs.find(zoo.located(run), results_dir(updates))
    except ValueError as error:
        raise UsageError(str(error)) from None


def parse(own: Parser, words: Sequence[str]) -> tuple[argparse.Namespace, commandline.Request]:
    """Return the command's own flags, and the rest as the configuration of a training run.

    Raises:
      UsageError: a flag is unknown to both.
    """
    if {"-h", "--help"} & set(words):
        own.parse_args(["--help"])
    cut = words.index("with") if "with" in words else len(words)
    flags, others = own.parse_known_args(list(words[:cut]))
    request = commandline.parse([*others, *words[cut:]], ("train",))
    strange = [word for word in request.rest if word.startswith("-")]
    strange += [flag for flag in commandline.OF_RUNS if flag in request.named]
    if strange:
        own.error(f"cannot read '{' '.join(strange)}' (the command's own flags stand before `with`)")
    return flags, request
