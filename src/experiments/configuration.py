"""The configuration of runs that are about to be started as processes of their own."""

from typing import Any

from tandem import backend, build, footprint
from tandem.config import loader, writable
from tandem.config.commandline import Request
from tandem.experiments import capacity


def resolve(request: Request, builds: bool = False) -> dict[str, Any]:
    """Return the checked configuration of the request; this process itself keeps off the accelerators.

    Args:
      builds: whether its parts are put together as well, to see that they fit, for who is about to train with it.

    Raises:
      UsageError: the configuration cannot be used, its parts do not fit each other, or memory cannot hold such a run.
    """
    backend.prepare_jax("cpu")
    config = loader.load(request.config, request.env_config, request.updates)
    if builds:
        writable.check_results(config)
        built = build.build(config, begins=True)
        if not capacity.gpus(config["platform"]):  # what an accelerator holds, the run itself will see
            footprint.check(built, config)
    return config
