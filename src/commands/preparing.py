"""What a training command is asked for: the configuration, the recorded run that it comes from, and the MongoDB.

Nothing is started or written here.
"""

import os
import sys
from typing import Any

from tandem.commands.flags import results_dir
from tandem.config import files
from tandem.config.commandline import Request, UsageError
from tandem.records import mongo_place, runs


def configuration(request: Request) -> tuple[dict[str, Any], Any, Any]:
    """Return the checked configuration, the recorded run that it is of, if any, and its
    MongoDB, if any; prepares JAX.
    """
    stored = stored_config(request)
    place = choose_mongo(request, stored)
    if request.command == "rerun" or {"--resume", "--run"} & set(request.named):
        from tandem.commands import resuming  # brings JAX along, as the two below

        recorded = resuming.prepare(request)
        return recorded.config, recorded, place
    from tandem import backend
    from tandem.config import loader

    chosen = (request.config, request.env_config, request.updates)
    # Before the parts are imported, which loading does: some libraries (JaxMARL) compute on import.
    backend.prepare_jax(**loader.peek(*chosen, ("platform", "compile_cache_dir", "runner")))
    return loader.load(*chosen), None, place


def trackers(request: Request, config: dict[str, Any]) -> list[Any]:
    """Return the trackers that a run is to be recorded by, beside its files.

    Raises:
      UsageError: one of them cannot be used.
    """
    if request.command not in ("train", "rerun") or not (config["wandb_project"] or config["mlflow_uri"]):
        return []
    if {"-u", "--unobserved"} & set(request.rest):
        return []
    from tandem.records.trackers import chosen

    return chosen(config)


def stored_config(request: Request) -> dict[str, Any] | None:
    """Return the configuration of the recorded run that a command names; None without one, or if it cannot be found."""
    name = request.named.get("--run") or request.named.get("--resume")
    if name is None:
        return None
    try:
        return runs.find(name, results_dir(request.updates)).config
    except ValueError:  # complained of where the run is looked at
        return None


def hold(again: Any) -> Any:
    """Return the lock of the record of a resumed run, which no other process can take from now on.

    Raises:
      UsageError: another process has it.
    """
    try:
        return runs.lock(again.run.folder)
    except BlockingIOError:
        raise UsageError(
            f"run '{again.run.id}' is in use by another process; wait for it or stop it ({again.run.folder})"
        ) from None


def choose_mongo(request: Request, stored: dict[str, Any] | None = None) -> Any:
    """Return the MongoDB that flag, configuration or environment name, or None.

    For training it must answer, and that is asked before anything slow is imported: nobody should wait for bad news.

    Args:
      stored: the configuration of the recorded run that is resumed or repeated.

    Raises:
      UsageError: it is named in a way that cannot be read, or cannot be reached while `mongo_optional` is False.
    """
    said = (request.config, request.env_config, request.updates, stored)
    try:
        configured = files.peek("mongo_url", *said)
        place = mongo_place.choose(request.mongo, configured if isinstance(configured, str) else None, os.environ)
        if place and request.command in ("train", "rerun") and not {"-u", "--unobserved"} & set(request.rest):
            mongo_place.connect(place).client.close()
    except mongo_place.Unreachable as error:
        if files.peek("mongo_optional", *said) is not True:
            text = f"{error}\nthe run has not started; mongo_optional=True starts it anyway"
            raise UsageError(text) from None
        print(f"{error}; the run starts anyway", file=sys.stderr, flush=True)
    except mongo_place.Unusable as error:
        raise UsageError(str(error)) from None
    return place
