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

from src import machine  # noqa: E402
from src.config import commandline, listing  # noqa: E402  (after the path; quick to import, the rest when needed)

COMMANDS = ("train", "rerun", "list", "help", "print_config", "print_dependencies", "save_config")
# Commands on recorded runs: each a module with its own flags and `main(words) -> exit status`; no run of theirs is recorded.
TOOLS: dict[str, str] = {
    "evaluate": "src.commands.evaluate",
    "render": "src.commands.render",
    "show": "src.commands.show",
    "upload": "src.commands.upload",
    "batch": "src.commands.batch",
    "compare": "src.commands.compare",
    "tune": "src.commands.tune",
    "ablation": "src.commands.ablation",
}
READERS = {"show", "upload", "compare"}  # which compute nothing: room for JAX is not asked for
OK, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str]) -> int:
    """Run one command and return the exit status: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted."""
    try:
        return dispatch(argv)
    except commandline.UsageError as error:  # a wrong configuration is one of them
        from src.recording.mongo_place import hidden

        print(hidden(str(error)), file=sys.stderr)  # a mistyped setting may hold a password
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
    request = commandline.parse(argv, (*COMMANDS, *TOOLS))
    if request.command == "help":
        print(listing.usage(), flush=True)
        return OK
    if request.command == "list":
        print(listing.listing(request.topics), flush=True)
        return OK
    config, again, place = configuration(request)
    if request.command in ("train", "rerun"):
        from src import build

        config = build.settled(config)
    experiment = make_experiment(config, again and again.resume_at)
    options = parse_flags(experiment, request)
    hide_credentials(place, config, options)
    experiment.add_config(config)
    if request.command in ("train", "rerun"):
        if place:
            add_mongo(experiment, place, config)
        add_train(experiment, config, again, recorded=not options.get("--unobserved"))
    if again and again.resumes:
        options["--id"] = again.run.id
    return run_command(experiment, "train" if request.command == "rerun" else request.command, options)


def configuration(request: commandline.Request) -> tuple[dict[str, Any], Any, Any]:
    """Return the checked configuration, the recorded run that it is of, if any, and its MongoDB, if any; prepares JAX."""
    stored = stored_config(request)
    place = choose_mongo(request, stored)
    if request.command == "rerun" or {"--resume", "--run"} & set(request.named):
        from src.commands import again

        recorded = again.prepare(request)
        return recorded.config, recorded, place
    from src import build
    from src.config import loader

    chosen = (request.config, request.env_config, request.updates)
    # Before the parts are imported, which loading does: some libraries (JaxMARL) compute on import.
    build.prepare_jax(**loader.peek(*chosen, ("platform", "compile_cache_dir", "runner")))
    return loader.load(*chosen), None, place


def stored_config(request: commandline.Request) -> dict[str, Any] | None:
    """Return the configuration of the recorded run that a command names; None without one, or if it cannot be found."""
    name = request.named.get("--run") or request.named.get("--resume")
    if name is None:
        return None
    from src import runs
    from src.commands.arguments import results_dir

    try:
        return runs.find(name, results_dir(request.updates)).config
    except ValueError:  # complained of where the run is looked at
        return None


def make_experiment(config: dict[str, Any], resume_at: int | None = None) -> Any:
    """Return the Sacred experiment with its file observer; the configuration is still to be given to it.

    Args:
      resume_at: environment step from which a recorded run goes on; None = a new run.
    """
    from sacred import SETTINGS, Experiment

    from src.recording.files import FileRecord

    SETTINGS.CAPTURE_MODE = "no"  # Sacred's capture would swallow the progress bar's control codes
    experiment = Experiment("tandem", base_dir=str(ROOT), save_git_info=_has_commit())
    experiment.logger = logging.getLogger("tandem")
    experiment.logger.setLevel(logging.ERROR)  # -l INFO brings Sacred's own messages back
    experiment.logger.addHandler(logging.StreamHandler())
    experiment.observers.append(FileRecord(Path(config["results_dir"]) / "sacred", resume_at))
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
        words = [word for word in request.rest if word != "rerun"]  # which Sacred does not know
        return docopt(experiment.get_usage()[2], words, default_help=False)
    except DocoptExit:
        flags = " ".join(word for word in request.rest if word.startswith("-")) or " ".join(request.rest)
        raise commandline.UsageError(f"cannot read '{flags}'; see `python src/main.py --help`") from None


def choose_mongo(request: commandline.Request, stored: dict[str, Any] | None = None) -> Any:
    """Return the MongoDB that flag, configuration or environment name, or None.

    For training it must answer, and that is asked before anything slow is imported: nobody should wait for bad news.

    Args:
      stored: the configuration of the recorded run that is gone on with or repeated.

    Raises:
      UsageError: it is named in a way that cannot be read, or cannot be reached while `mongo_optional` is False.
    """
    from src.config import files
    from src.recording import mongo_place

    said = (request.config, request.env_config, request.updates, stored)
    try:
        configured = files.peek("mongo_url", *said)
        place = mongo_place.choose(request.mongo, configured if isinstance(configured, str) else None, os.environ)
        if place and request.command in ("train", "rerun") and not {"-u", "--unobserved"} & set(request.rest):
            mongo_place.connect(place).client.close()
    except mongo_place.Unreachable as error:
        if files.peek("mongo_optional", *said) is not True:
            text = f"{error}\nthe run has not started; mongo_optional=True starts it anyway"
            raise commandline.UsageError(text) from None
        print(f"{error}; the run starts anyway", file=sys.stderr, flush=True)
    except mongo_place.Unusable as error:
        raise commandline.UsageError(str(error)) from None
    return place


def hide_credentials(place: Any, config: dict[str, Any], options: dict[str, Any]) -> None:
    """Replace the credentials of MongoDB in what Sacred is going to store."""
    from src.recording.mongo_place import hidden_url

    if options.pop("--mongo_db", None):  # hidden among other flags: Sacred would store it as it is
        raise commandline.UsageError("write -m apart from other flags: -m URL")
    config["mongo_url"] = hidden_url(place.url) if place else config["mongo_url"]
    options["UPDATE"] = [hidden_url(word) if "://" in word else word for word in options["UPDATE"]]


def add_mongo(experiment: Any, place: Any, config: dict[str, Any]) -> None:
    """Have the run recorded in MongoDB as well."""
    from src.recording.mongo import MongoMirror

    experiment.observers.append(MongoMirror(place, Path(config["results_dir"]) / "sacred"))


def add_train(experiment: Any, config: dict[str, Any], again: Any = None, recorded: bool = True) -> None:
    """Build the run and give the experiment its `train` command; a mistake found here leaves no record behind."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's notes on the machine would tear the progress bar
    from src import build, footprint
    from src.recording.record import record

    built = build.build(config)
    footprint.check(built.run, config, copies=recorded)
    resume = None
    if again and again.resumes:
        from src.commands.again import state

        resume = state(again, built.run)

    @experiment.command
    def train(_run):
        result = record(_run, config, built.run, resume)
        if config["video"] and _run._id is not None and result is not None:  # None: nothing that was learned can be played
            film(Path(config["results_dir"]) / "sacred" / str(_run._id))
        return result


def film(folder: Path) -> None:
    """Write the film that a finished run leaves; a run that cannot be filmed is finished all the same."""
    try:
        from src import runs
        from src.commands.render import film_at_end

        for path in film_at_end(runs.find(str(folder))):
            print(f"film:    {path}", flush=True)
    except Exception as error:  # whatever it is: the training is over and recorded
        print(f"no film: {type(error).__name__}: {error}; try `python src/main.py render --run={folder}`", flush=True)


def run_command(experiment: Any, command: str, options: dict[str, Any]) -> int:
    """Run an experiment's command and return the exit status; a crash keeps its whole traceback."""
    from sacred.utils import SacredError, format_sacred_error

    from src.core import RunError

    try:
        experiment.run(command, options=options)
    except SacredError as error:
        print(format_sacred_error(error, experiment.get_usage()[0]), file=sys.stderr)
        return FAILED
    except RunError as error:  # its message says all
        print(f"{error}\nTo go on from the last checkpoint, if there is one: `train --resume=RUN`.", file=sys.stderr)
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


def leave(status: int, command: str) -> None:
    """End the process; at once where it was interrupted, because threads of XLA that compile crash while Python takes itself down."""
    if status == INTERRUPTED and command not in TOOLS:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    leave(main(sys.argv[1:]), *sys.argv[1:2] or [""])
