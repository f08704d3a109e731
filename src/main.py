"""The command line: `python src/main.py [COMMAND] --config=ALG --env-config=ENV with key=value ...`."""

import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if Path(sys.path[0] or ".").resolve() == ROOT / "src":
    sys.path[0] = str(ROOT)  # modules are imported as `src.x`; src/ itself must not stand on the path

from src.config import commandline, listing  # noqa: E402  (after the path; quick to import, the rest when needed)

COMMANDS = ("train", "list", "help", "print_config", "print_dependencies", "save_config")
# Commands on recorded runs: each a module with its own flags and `main(words) -> exit status`; no run of theirs is recorded.
TOOLS: dict[str, str] = {
    "batch": "src.commands.batch",
    "compare": "src.commands.compare",
    "tune": "src.commands.tune",
}
OK, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str]) -> int:
    """Run one command and return the exit status: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted."""
    try:
        return dispatch(argv)
    except commandline.UsageError as error:  # a wrong configuration is one of them
        print(error, file=sys.stderr)
        return BAD_USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `... list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def dispatch(argv: Sequence[str]) -> int:
    """Run one command and return the exit status.

    Raises:
      UsageError: the command line or the configuration cannot be used; nothing has been started or written.
    """
    if argv and argv[0] in TOOLS:
        return importlib.import_module(TOOLS[argv[0]]).main(argv[1:])
    request = commandline.parse(argv, (*COMMANDS, *TOOLS))
    if request.command == "help":
        print(listing.usage(), flush=True)
        return OK
    if request.command == "list":
        print(listing.listing(request.topics), flush=True)
        return OK
    from src import build
    from src.config import loader

    chosen = (request.config, request.env_config, request.updates)
    # Before the parts are imported, which loading does: some libraries (JaxMARL) compute on import.
    build.prepare_jax(**loader.peek(*chosen, ("platform", "compile_cache_dir")))
    config = loader.load(*chosen)
    experiment = make_experiment(config)
    options = parse_flags(experiment, request)
    if request.command == "train":
        add_train(experiment, config)
    return run_command(experiment, request.command, options)


def make_experiment(config: dict[str, Any]) -> Any:
    """Return the Sacred experiment with its file observer; its commands see the configuration as it was checked."""
    from sacred import SETTINGS, Experiment
    from sacred.observers import FileStorageObserver

    SETTINGS.CAPTURE_MODE = "no"  # Sacred's capture would swallow the progress bar's control codes
    experiment = Experiment("tandem", base_dir=str(ROOT), save_git_info=_has_commit())
    experiment.logger = logging.getLogger("tandem")
    experiment.logger.setLevel(logging.ERROR)  # -l INFO brings Sacred's own messages back
    experiment.logger.addHandler(logging.StreamHandler())
    experiment.add_config(config)
    experiment.observers.append(FileStorageObserver(Path(config["results_dir"]) / "sacred"))
    return experiment


def _has_commit() -> bool:
    """Return whether git can name the commit of this tree; Sacred crashes on a tree without commits."""
    try:
        return (
            subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, check=False).returncode
            == 0
        )
    except OSError:  # no git
        return False


def parse_flags(experiment: Any, request: commandline.Request) -> dict[str, Any]:
    """Return Sacred's options from what our own parser left over.

    Raises:
      UsageError: a flag that Sacred does not know.
    """
    from docopt import DocoptExit, docopt

    try:
        return docopt(experiment.get_usage()[2], list(request.rest), default_help=False)
    except DocoptExit:
        flags = " ".join(word for word in request.rest if word.startswith("-")) or " ".join(request.rest)
        raise commandline.UsageError(f"cannot read '{flags}'; see `python src/main.py --help`") from None


def add_train(experiment: Any, config: dict[str, Any]) -> None:
    """Build the run and give the experiment its `train` command; a mistake found here leaves no record behind."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's notes on the machine would tear the progress bar
    from src import build
    from src.recording.record import record

    built = build.build(config)

    @experiment.command
    def train(_run):
        return record(_run, config, built.run)


def run_command(experiment: Any, command: str, options: dict[str, Any]) -> int:
    """Run an experiment's command and return the exit status; a crash keeps its whole traceback."""
    from sacred.utils import SacredError, format_sacred_error

    try:
        experiment.run(command, options=options)
    except SacredError as error:
        print(format_sacred_error(error, experiment.get_usage()[0]), file=sys.stderr)
        return FAILED
    except Exception:
        if not options.get("--pdb"):
            raise
        import pdb
        import traceback

        traceback.print_exc()
        pdb.post_mortem()
        return FAILED
    return OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
