"""A recorded run's parts, put together again with what it has learned: for whatever looks at a run after training."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax

from tandem import backend, build
from tandem.records.checkpoint import read
from tandem.records.checkpoint_folder import pick
from tandem.config import loader
from tandem.config.commandline import Update
from tandem.core import Array, Environment, LearnerState, Model, Params, Planner, PyTree
from tandem.records.runs import StoredRun

OWN_CACHE = "compile_cache_dir"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A run's network with all its parameters, also those that playing does not need."""

    model: Model
    state: LearnerState  # `params` and `stats`; the other fields are ()
    returns: Callable[[PyTree, Array], Array]  # Learner.returns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restored:
    """What a run is made of, and the parameters of one of its checkpoints."""

    env: Environment
    planner: Planner  # as in training: plan(params, carry, timestep [B, ...], key, explore, progress)
    players: dict[str, Planner]  # all ways to play, as evaluations name them: "search", "autoregressive", "policy"
    params: Params  # on the device
    config: dict[str, Any]  # the run's, checked, with the caller's settings over it
    step: int  # of the checkpoint
    network: Callable[[], Network] | None = None  # reads it from the checkpoint; None for what was not learned


def restore(run: StoredRun, checkpoint: str = "best", updates: Sequence[Update] = ()) -> Restored:
    """Return the parts of a recorded run as its stored configuration describes them, and the parameters it saved.

    Args:
      run: from `runs.find`.
      checkpoint: "best" by evaluation with search, "last", or an environment step ("25600").
      updates: the command line's settings, laid over the run's own ("planner_args.num_simulations=64").

    Raises:
      CheckpointError: no such checkpoint, a damaged one, or one that does not fit the configuration.
      ConfigError: the stored configuration, or a setting over it, cannot be used.
    """
    path = pick(run.models, checkpoint)
    config = checked_config(run, updates)
    built = build.build(config, learns=False)
    like = jax.eval_shape(lambda key: built.learner.acting(built.learner.init(key)), jax.random.key(0))
    return Restored(
        env=built.env,
        planner=built.planner,
        players=built.players,
        params=read(path, like, under="learner.params"),
        config=config,
        step=int(path.name),
        network=partial(_network, built, path),
    )


def _network(built: build.Built, path: Path) -> Network:
    """Return the network of a checkpoint.

    Raises:
      CheckpointError: the checkpoint is damaged, or does not fit the configuration.
    """
    empty = LearnerState(params=(), target=(), opt=(), step=())
    like = jax.eval_shape(built.learner.init, jax.random.key(0))
    like = empty.replace(params=like.params, stats=like.stats)
    return Network(model=built.model, state=read(path, like, under="learner"), returns=built.learner.returns)


def checked_config(run: StoredRun, updates: Sequence[Update] = ()) -> dict[str, Any]:
    """Return the run's stored configuration, checked, its results folder where the run lies now; prepares JAX for it.

    The cache of compiled programs is the reader's own: what lies in the one that the record names may be anybody's
    machine code, and nothing is to be written there either.
    """
    own = {key: value for key, value in run.config.items() if key != OWN_CACHE}
    given = loader.default_settings() | own | {update.key: update.value for update in updates}
    # Before the parts are imported, because some compute on import.
    backend.prepare_jax(*(given.get(key) for key in ("platform", OWN_CACHE, "runner")))
    config = loader.stored(own, str(run.folder / "config.json"), updates)
    return config | {"results_dir": str(run.results)}
