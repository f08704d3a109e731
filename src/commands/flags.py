"""A command's own flags, and the configuration words beside them."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from src.commands.arguments import Parser, problem_of_folder
from src.config import commandline
from src.config.commandline import UsageError


def parser(name: str, description: str) -> Parser:
    """Return the parser of `python src/main.py NAME`."""
    return Parser(
        prog=f"python src/main.py {name}",
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def parse(own: Parser, words: Sequence[str]) -> tuple[argparse.Namespace, commandline.Request]:
    """Return the command's own flags, and the rest as the configuration of a training run.

    Raises:
      UsageError: a flag that neither knows.
    """
    if {"-h", "--help"} & set(words):
        own.parse_args(["--help"])
    cut = words.index("with") if "with" in words else len(words)
    flags, others = own.parse_known_args(list(words[:cut]))
    request = commandline.parse([*others, *words[cut:]], ("train",))
    strange = [word for word in request.rest if word.startswith("-")]
    strange += [flag for flag in commandline.OF_RUNS if flag in request.named]
    if strange:
        own.error(f"cannot read '{' '.join(strange)}' (the command's own flags stand before `with`)")
    return flags, request


def check_results(config: Mapping[str, Any]) -> None:
    """Complain if nothing can be recorded where the configuration says.

    Raises:
      UsageError: why not.
    """
    if said := problem_of_folder(config["results_dir"]):
        raise UsageError(f"results_dir={said}")


def resolve(request: commandline.Request, builds: bool = False) -> dict[str, Any]:
    """Return the checked configuration of the request; this process itself keeps off the accelerators.

    Args:
      builds: whether its parts are put together as well, to see that they fit, for who is about to train with it.

    Raises:
      UsageError: the configuration cannot be used, its parts do not fit each other, or memory cannot hold such a run.
    """
    from src import backend, build, footprint
    from src.experiments import capacity
    from src.config import loader

    backend.prepare_jax("cpu")
    config = loader.load(request.config, request.env_config, request.updates)
    if builds:
        check_results(config)
        built = build.build(config)
        if not capacity.gpus(config["platform"]):  # what an accelerator holds, the run itself will see
            footprint.check(built, config)
    return config
