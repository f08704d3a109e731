"""Begins a run with another run's parameters and with the scales of its values."""

from collections.abc import Callable
from pathlib import Path

import jax

from tandem.config.loader import ConfigError
from tandem.core import Key, LearnerState, PyTree
from tandem.records import checkpoint, checkpoint_folder, runs, zoo

MISFIT = "both need the same network, and for teams of different sizes network_args.encoder=entities"


def of_run(name: str, results_dir: str, init: Callable[[Key], LearnerState]) -> Callable[[Key], LearnerState]:
    """Return Learner.init with the parameters of a recorded run's best checkpoint instead of random ones.

    Target networks and the statistics that scale values are copied too, because the parameters mean nothing without
    them. The optimiser and its step count start from zero.

    Args:
      name: the run's id or folder; a zoo entry has no target network, so it fits only learners without one.

    Raises:
      ConfigError: there is no such run, or an array does not fit; the message names it.
    """
    try:
        kept = _learned(name, results_dir, jax.eval_shape(init, jax.random.key(0)))
    except ValueError as error:
        raise ConfigError([str(error)]) from error
    return jax.jit(lambda key: init(key).replace(**kept))


def _learned(name: str, results_dir: str, like: LearnerState) -> dict[str, PyTree]:
    """Return the arrays to copy from a run, by the fields of a learner's state with the structure of `like`."""
    run = runs.find(zoo.located(name), results_dir)
    like = LearnerState(params=like.params, target=like.target, opt=(), step=(), stats=like.stats)
    path = checkpoint_folder.pick(run.models, "best")
    try:
        _check_whole(path, like)
        learned = checkpoint.read(path, like, under="learner")
    except checkpoint_folder.Misfit as error:
        here, there = error.wanted or "absent", error.there or "absent"
        raise ValueError(
            f"init_from={name}: {error.name} is {there} in that run and {here} in this one; {MISFIT}"
        ) from None
    return {part: getattr(learned, part) for part in ("params", "target", "stats")}


def _check_whole(path: Path, like: LearnerState) -> None:
    """Raise if the checkpoint has an array for a copied part of the network that this part lacks.

    Whole parts may be missing: a run that sums values can begin with the agents of one that has a mixer.
    """
    names, _ = checkpoint.split({"learner": {"params": like.params}})
    parts = tuple({".".join(name.split(".")[:3]) + "." for name in names})
    for name in sorted(checkpoint_folder.read_meta(path).sums):
        if name.startswith(parts) and name not in names:
            raise checkpoint_folder.Misfit("", name, "there", "")
