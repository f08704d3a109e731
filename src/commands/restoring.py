"""What commands on what a recorded run has learned have in common: the flags --run and
--checkpoint, and the parts they name.
"""

import argparse
from collections.abc import Sequence

from src.records.checkpoint_folder import CheckpointError
from src.commands import arguments, flags
from src.config.commandline import Update, UsageError
from src.restored import Restored, restore
from src.records.runs import StoredRun


def parser(command: str, description: str) -> flags.Parser:
    """Return a parser that knows --run and --checkpoint."""
    made = flags.parser(command, description)
    made.take("--run")
    made.add_argument("--checkpoint", default="best", metavar="best|last|STEP", help="which one (default: best)")
    return made


def read(parser: flags.Parser, words: Sequence[str]) -> tuple[argparse.Namespace, list[Update], StoredRun, Restored]:
    """Return the flags, the settings over the run's own, the run, and its parts.

    Raises:
      UsageError: wrong flags, no such run, or a checkpoint that is not there or cannot be used.
      ConfigError: the stored configuration, or a setting over it, cannot be used.
    """
    options, updates = parser.read(words)
    run, settings = arguments.find(options.run, updates), flags.settings(updates)
    try:
        return options, settings, run, restore(run, options.checkpoint, settings)
    except CheckpointError as error:
        raise UsageError(str(error)) from None
