"""The command line: `python src/main.py [COMMAND] --config=ALG --env-config=ENV with key=value ...`."""

import importlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
if Path(sys.path[0] or ".").resolve() == FOLDER:
    sys.path[0] = str(FOLDER.parent)  # modules are imported as `tandem.x`, so their folder must not be on the path

from tandem import machine, program  # noqa: E402

# Imported after the path is set. These are quick to import; the rest is imported when needed.
from tandem.commands.table import COMMANDS, READERS, TOOLS  # noqa: E402
from tandem.config import commandline, listing, values  # noqa: E402

OK, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str]) -> int:
    """Run one command and return the exit status: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted."""
    from tandem.signals import handled, interrupt

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not be able to print a folder's name
    try:
        with handled(interrupt):  # SIGTERM and a closed terminal act like Ctrl-C
            return dispatch(argv)
    except commandline.UsageError as error:  # includes wrong configurations
        from tandem.hiding import hidden

        print(
            program.named(values.printable(hidden(str(error)))), file=sys.stderr
        )  # a mistyped setting may contain a password
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
    if not set(argv[:1]) & READERS and (problem := machine.too_tight()):
        raise commandline.UsageError(problem)
    if argv and argv[0] in TOOLS:
        return importlib.import_module(TOOLS[argv[0]]).main(argv[1:])
    if list(argv) == ["list", "zoo"]:
        return importlib.import_module(TOOLS["zoo"]).main([])
    request = commandline.parse(argv, (*COMMANDS, *TOOLS))
    if request.command in TOOLS:
        text = f"'{request.command}' must be the first word: python src/main.py {request.command} ..."
        raise commandline.UsageError(text)
    commandline.check_flags(request)
    if request.command == "help":
        print(program.named(listing.usage()), flush=True)
        return OK
    if request.command == "list":
        print(listing.listing(request.topics), flush=True)
        return OK
    from tandem.commands import preparing

    config, again, place = preparing.configuration(request)
    followers = preparing.trackers(request, config)
    held = preparing.hold(again) if again and again.resumes else None
    if request.command in ("train", "rerun"):
        from tandem import build
        from tandem.config import writable

        writable.check_results(config)
        config = build.settled(config)
    experiment = make_experiment(config, again and again.resume_at, held)
    options = sacreds_options(request)
    hide_credentials(experiment, place, config, options)
    experiment.add_config(config)
    if request.command in ("train", "rerun"):
        if place:
            add_mongo(experiment, place, config)
        add_trackers(experiment, followers, config)
        add_train(experiment, config, again, recorded=not options.get("--unobserved"))
    if again and again.resumes:
        options["--id"] = again.run.id
    return run_command(experiment, "train" if request.command == "rerun" else request.command, options)


def make_experiment(config: dict[str, Any], resume_at: int | None = None, held: Any = None) -> Any:
    """Return the Sacred experiment with its file observer, but without a configuration.

    Args:
      resume_at: environment step from which a recorded run continues; None = a new run.
      held: the lock of the recorded run.
    """
    from sacred import SETTINGS, Experiment

    from tandem.records.files import FileRecord

    SETTINGS.CAPTURE_MODE = "no"  # Sacred's capture would swallow the progress bar's control codes
    experiment = Experiment("tandem", base_dir=str(program.checkout() or FOLDER), save_git_info=_has_commit())
    experiment.logger = logging.getLogger("tandem")
    experiment.logger.setLevel(logging.ERROR)  # -l INFO shows Sacred's own messages
    experiment.logger.addHandler(logging.StreamHandler())
    experiment.observers.append(FileRecord(Path(config["results_dir"]) / "sacred", resume_at, held))
    return experiment


def _has_commit() -> bool:
    """Return whether git can name the commit of this code; Sacred crashes on a tree without commits."""
    root = program.checkout()
    if root is None:  # installed, so a surrounding repository is not Tandem's
        return False
    try:
        asked = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, check=False)
    except OSError:  # no git
        return False
    return asked.returncode == 0


def sacreds_options(request: commandline.Request) -> dict[str, Any]:
    """Return Sacred's options in its own form.

    Raises:
      UsageError: the folder of -F is not writable.
    """
    from tandem.config import writable

    options = {**request.options, "UPDATE": [f"{update.key}={update.raw}" for update in request.updates]}
    if "--file_storage" in options:
        options["--file_storage"] = folder = os.path.expanduser(options["--file_storage"])
        if said := writable.problem_of_folder(folder):
            raise commandline.UsageError(f"-F {said}")
    return options


def hide_credentials(experiment: Any, place: Any, config: dict[str, Any], options: dict[str, Any]) -> None:
    """Hide all secrets in what Sacred will store: in MongoDB's address, in its flags, and
    in git's addresses.

    Raises:
      UsageError: a flag of Sacred's needs the secret that it would store.
    """
    from tandem.hiding import hidden, hidden_in

    config["mongo_url"] = hidden(place.url) if place else config["mongo_url"]
    config["mlflow_uri"] = hidden(config["mlflow_uri"])
    for flag, value in options.items():
        options[flag] = hidden_in(value)
        if options[flag] != value and flag not in ("UPDATE", "--comment", "--name"):
            problem = f"Sacred would store the password with the run; use {commandline.MONGO}=URL"
            raise commandline.UsageError(f"{flag}={options[flag]}: {problem}")
    for source in experiment.sources:
        source.repo = source.repo and hidden(source.repo)


def add_mongo(experiment: Any, place: Any, config: dict[str, Any]) -> None:
    """Record the run in MongoDB as well."""
    from tandem.records.mongo import MongoMirror

    experiment.observers.append(MongoMirror(place, Path(config["results_dir"]) / "sacred"))


def add_trackers(experiment: Any, trackers: Sequence[Any], config: dict[str, Any]) -> None:
    """Record the run with other trackers as well."""
    if trackers:
        from tandem.records.tracking import TrackerMirror

        records = Path(config["results_dir"]) / "sacred"
        experiment.observers.extend(TrackerMirror(tracker, records) for tracker in trackers)


def add_train(experiment: Any, config: dict[str, Any], again: Any = None, recorded: bool = True) -> None:
    """Build the run and give the experiment its `train` command; mistakes that are found here leave no record."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's notes on the machine would break the progress bar
    from tandem import build, footprint
    from tandem.records.record import record

    built = build.build(config, begins=not (again and again.resumes and again.path))
    footprint.check(built, config, copies=recorded)
    resume = None
    if again and again.resumes:
        from tandem.commands.resuming import state

        resume = state(again, built)

    @experiment.command
    def train(_run):
        return record(_run, config, built.run, resume)

    if config["video"]:
        from tandem.commands.render import FilmAtEnd

        experiment.observers.append(FilmAtEnd(Path(config["results_dir"]) / "sacred"))


def run_command(experiment: Any, command: str, options: dict[str, Any]) -> int:
    """Run an experiment's command and return the exit status; a crash keeps its whole traceback."""
    from sacred.utils import SacredError, format_sacred_error

    from tandem.core import RunError

    try:
        experiment.run(command, options=options)
        lacking = [observer.problem for observer in experiment.observers if getattr(observer, "problem", "")]
        if lacking:
            raise RunError("; ".join(lacking))
    except SacredError as error:
        print(format_sacred_error(error, experiment.get_usage()[0]), file=sys.stderr)
        return FAILED
    except OSError as error:
        if command == "train":
            raise
        print(f"{command}: {error}", file=sys.stderr)  # save_config in a folder without write access
        return FAILED
    except RunError as error:  # its message is complete
        print(f"{error}\nTo continue from the last checkpoint, if there is one: `train --resume=RUN`.", file=sys.stderr)
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


def in_utf8() -> None:
    """Restart in Python's UTF-8 mode if the locale is another, because Tandem's files and their names are UTF-8."""
    if sys.getfilesystemencoding() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def leave(status: int, command: str) -> None:
    """End the process; at once if it was interrupted, because compiling threads of XLA crash
    while Python shuts down.
    """
    if status == INTERRUPTED and command not in TOOLS:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def run() -> None:
    """Run the command line of this process and end it; this is the command `tandem`."""
    in_utf8()
    leave(main(sys.argv[1:]), *sys.argv[1:2] or [""])


if __name__ == "__main__":
    run()
