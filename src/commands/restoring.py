"""What commands on players have in common: the flags that name a recorded run or a scripted player, and the parts."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tandem.records import zoo
from tandem.records.checkpoint_folder import CheckpointError
from tandem.records.runs import StoredRun
from tandem.commands import arguments, flags, scripted
from tandem.config.commandline import DEFAULTS, Update, UsageError
from tandem.restored import Restored, restore

BATCH = 256  # episodes that a scripted player plays side by side, at most


@dataclasses.dataclass(frozen=True)
class Subject:
    """Whose episodes are looked at."""

    about: dict[str, Any]  # what an evaluation's file says of it: {"run": its id}, or the player and its environment
    folder: Path  # for what is made of it
    batch: int  # episodes played side by side, at most
    settings: list[Update]  # the command line's
    restored: Restored


def parser(command: str, description: str) -> flags.Parser:
    """Return a parser that knows --run and --checkpoint, and --scripted and --env-config."""
    made = flags.parser(command, description)
    made.take("--run", required=False)
    made.take("--checkpoint")
    made.add_argument(
        "--scripted", metavar="NAME", help="instead of a run a policy by hand, which some environments have"
    )
    env_help = f"its environment (default: {DEFAULTS[scripted.ENV_CONFIG]}); `with env_args.NAME=VALUE` sets it up"
    made.add_argument(scripted.ENV_CONFIG, metavar="NAME", help=env_help)
    return made


def read(parser: flags.Parser, words: Sequence[str]) -> tuple[argparse.Namespace, Subject]:
    """Return the flags, and whose episodes they ask for.

    Raises:
      UsageError: wrong flags, no such run or player, or a checkpoint that is not there or cannot be used.
      ConfigError: the stored configuration, or a setting over it, cannot be used.
    """
    options, updates = parser.read(words)
    if (options.run is None) == (options.scripted is None):
        parser.error(f"name either a run, --run=RUN, or a policy by hand, --scripted=NAME {scripted.ENV_CONFIG}=NAME")
    if options.run is None and options.checkpoint is not None:
        parser.error("--checkpoint belongs to --run; a policy by hand has none")
    if options.run is not None and options.env_config is not None:
        parser.error(f"{scripted.ENV_CONFIG} belongs to --scripted; a recorded run brings its own")
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
    """Return the parts of a recorded run with what a checkpoint of it holds.

    Raises:
      UsageError: the checkpoint is not there or cannot be used.
    """
    try:
        return restore(run, which, settings)
    except CheckpointError as error:
        raise UsageError(str(error)) from None
