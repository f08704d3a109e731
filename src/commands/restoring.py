"""Shared by commands that play: the flags that name a recorded run or a scripted player, and the parts."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tandem.records import zoo
from tandem.records.checkpoint_folder import CheckpointError
from tandem.records.runs import StoredRun
from tandem.commands import arguments, flags, scripted
from tandem.config.commandline import DEFAULTS, Update, UsageError
from tandem.restored import Restored, restore

BATCH = 256  # most episodes that a scripted player plays in parallel


@dataclasses.dataclass(frozen=True)
class Subject:
    """The player whose episodes are wanted."""

    about: dict[str, Any]  # its description in an evaluation's file: {"run": its id}, or the player and its environment
    folder: Path  # where its results are written
    batch: int  # most episodes played in parallel
    settings: list[Update]  # the settings of the command line
    restored: Restored


def parser(command: str, description: str) -> flags.Parser:
    """Return a parser with --run and --checkpoint, and with --scripted and --env-config."""
    made = flags.parser(command, description)
    made.take("--run", required=False)
    made.take("--checkpoint")
    made.add_argument(
        "--scripted", metavar="NAME", help="a scripted policy instead of a run; some environments have them"
    )
    env_help = f"its environment (default: {DEFAULTS[scripted.ENV_CONFIG]}); `with env_args.NAME=VALUE` sets it up"
    made.add_argument(scripted.ENV_CONFIG, metavar="NAME", help=env_help)
    return made


def read(parser: flags.Parser, words: Sequence[str]) -> tuple[argparse.Namespace, Subject]:
    """Return the flags and the player that they name.

    Raises:
      UsageError: the flags are wrong, or the run, player or checkpoint does not exist or cannot be used.
      ConfigError: the stored configuration, or a setting that overrides it, cannot be used.
    """
    options, updates = parser.read(words)
    if (options.run is None) == (options.scripted is None):
        parser.error(f"name either a run, --run=RUN, or a scripted policy, --scripted=NAME {scripted.ENV_CONFIG}=NAME")
    if options.run is None and options.checkpoint is not None:
        parser.error("--checkpoint belongs to --run; a scripted policy has no checkpoint")
    if options.run is not None and options.env_config is not None:
        parser.error(f"{scripted.ENV_CONFIG} belongs to --scripted; a recorded run has its own environment")
    settings = flags.settings(updates)
    if options.scripted is not None:
        found = scripted.restored(options.scripted, options.env_config, updates)
        about = {"player": options.scripted, "env": found.config["env"], "env_args": found.config["env_args"]}
        return options, Subject(about, scripted.folder(found), BATCH, settings, found)
    run = arguments.find(options.run, updates)
    found = restored(run, options.checkpoint or "best", settings)
    folder = Path(flags.results_dir(updates)) / zoo.ZOO / run.id if run.in_zoo else run.folder
    return options, Subject({"run": run.id}, folder, run.config["eval_args"]["episodes"], settings, found)


def restored(run: StoredRun, which: str, settings: Sequence[Update] = ()) -> Restored:
    """Return the parts of a recorded run with the parameters of one of its checkpoints.

    Raises:
      UsageError: the checkpoint does not exist or cannot be used.
    """
    try:
        return restore(run, which, settings)
    except CheckpointError as error:
        raise UsageError(str(error)) from None


def say_who_plays(who: str) -> None:
    """Say it on standard error, since programs outside JAX take minutes."""
    print(f"playing: {who}", file=sys.stderr, flush=True)
