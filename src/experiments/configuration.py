"""The configuration of runs that will be started as separate processes."""

from typing import Any

from tandem import backend, build, footprint
from tandem.config import loader, writable
from tandem.config.commandline import Request
from tandem.experiments import capacity


def resolve(request: Request, builds: bool = False) -> dict[str, Any]:
    """Return the checked configuration of the request; this process itself does not use accelerators.

    Args:
      builds: whether to build its parts as a check before training.

    Raises:
      UsageError: the configuration cannot be used, its parts do not fit each other, or memory cannot hold such a run.
    """
    backend.prepare_jax("cpu")
    config = loader.load(request.config, request.env_config, request.updates)
    if builds:
        writable.check_results(config)
        built = build.build(config, begins=True)
        if not capacity.gpus(config["platform"]):  # the run itself checks an accelerator's memory
            footprint.check(built, config)
    return config
