"""Prepares a training command: the configuration, the recorded run that it comes from, and the MongoDB.

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
    """Return the checked configuration, the recorded run that it comes from, if any, and the
    MongoDB to record in, if any. This also sets up JAX.
    """
    stored = stored_config(request)
    place = choose_mongo(request, stored)
    if request.command == "rerun" or {"--resume", "--run"} & set(request.named):
        from tandem.commands import resuming  # imports JAX, as do the two below

        recorded = resuming.prepare(request)
        return recorded.config, recorded, place
    from tandem import backend
    from tandem.config import loader

    chosen = (request.config, request.env_config, request.updates)
    # This comes before the parts are imported (by loading), because some libraries (JaxMARL) compute on import.
    backend.prepare_jax(**loader.peek(*chosen, ("platform", "compile_cache_dir", "runner")))
    return loader.load(*chosen), None, place


def trackers(request: Request, config: dict[str, Any]) -> list[Any]:
    """Return the trackers that record a run beside its files.

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
    except ValueError:  # the error is raised where the run is read
        return None


def hold(again: Any) -> Any:
    """Lock the record of a resumed run against other processes; return the lock.

    Raises:
      UsageError: another process holds the lock.
    """
    try:
        return runs.lock(again.run.folder)
    except BlockingIOError:
        raise UsageError(
            f"run '{again.run.id}' is in use by another process; wait for it or stop it ({again.run.folder})"
        ) from None


def choose_mongo(request: Request, stored: dict[str, Any] | None = None) -> Any:
    """Return the MongoDB that the flag, the configuration or the environment names, or None.

    For training it must answer. This is checked before the slow imports, so that an error shows at once.

    Args:
      stored: the configuration of the recorded run that is resumed or repeated.

    Raises:
      UsageError: its address cannot be parsed, or it does not answer while `mongo_optional` is False.
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
