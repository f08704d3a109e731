"""Recorded rows that a run learns from: before anybody acts, or instead of acting.

A run can learn from several datasets at once, each of a team of its own size. Every dataset's card says what it was
recorded in. So the environment, the network and the learner are made once for each of them, with shapes of their own.
They have to agree in one thing, the parameters.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from tandem import contracts
from tandem.chosen import Chosen
from tandem.config import schema
from tandem.config.loader import ConfigError
from tandem.core import EnvSpec, Halves, Learner, Model, PyTree, Recorded, Replay, RunPlan, Stream, Transition
from tandem.datasets import loading, store
from tandem.learners import together
from tandem.registry import FAMILIES


class Task(NamedTuple):
    """One dataset of several."""

    spec: EnvSpec
    row: Transition  # what one row looks like: a tree of jax.ShapeDtypeStruct
    halves: Halves  # of its learner


Rows = Callable[[str], tuple[Stream, int]]  # name -> rows on the host, and their checksum


def before_acting(config: Mapping[str, Any], learner: Learner, replay: Replay, plan: RunPlan) -> Recorded:
    """Return the rows that a learner is pre-trained on, in batches of the size that the run has.

    Raises:
      ConfigError: there are no such rows, they do not fit, or they are too few.
    """
    assert learner.pretraining
    name, length = learner.pretraining.rows, learner.sequence_length
    try:
        rows, _ = loading.load(config["results_dir"], name, plan.spec, contracts.row_of(plan.spec, ()))
    except ValueError as error:
        raise ConfigError([f"learner_args.pretrain={name}: {error}"]) from error
    if (size := rows.end.shape[0]) < length:
        raise ConfigError([f"learner_args.pretrain={name}: {size} rows are fewer than the {length} of one sequence"])
    entry = next(each for each in FAMILIES["replay"].values() if each.recorded)
    batch = contracts.batch_of(replay, plan)
    held = schema.build(entry.config(), {"batch_size": batch.weight.shape[0]})
    return Recorded(rows=rows, replay=entry.make(held, plan.num_envs, length))


def instead_of_acting(
    parts: Chosen, names: list[str], learner: Learner, model: Model, plan: RunPlan
) -> tuple[Learner, Rows]:
    """Return the learner of all that a run learns from, and what reads its rows.

    Args:
      parts: the run's.
      names: the datasets' folders; or one recorded run.
      learner: the run's own; where there are several datasets, what `together.begun` returned.
      plan: of the run, for its own environment.

    Raises:
      ConfigError: one of several is no dataset, or of another kind of task, or its parameters differ.
    """
    known = dict[str, Task]()
    if len(names) > 1:
        params = jax.eval_shape(model.init, jax.random.key(0))
        known = {name: _task(parts, name, plan, params) for name in names}
        learner = together.together(learner, [known[name].halves for name in names])
    own = (plan.spec, contracts.row_of(plan.spec, plan.extras))

    def read(name: str) -> tuple[Stream, int]:
        spec, row = known[name][:2] if name in known else own
        return loading.load(parts.config["results_dir"], name, spec, row)

    return learner, read


def _task(parts: Chosen, name: str, plan: RunPlan, params: PyTree) -> Task:
    folder = Path(name).expanduser()
    if not store.is_dataset(folder):
        raise ConfigError(
            [f"runner_args.rows: {name} is no dataset; several at once have to be folders that `record` has written"]
        )
    try:
        card = store.read_card(folder)
    except store.DatasetError as error:
        raise ConfigError([str(error)]) from error
    config = parts.config
    if card["env"] != config["env"]:
        raise ConfigError(
            [f"the dataset {name} is of env '{card['env']}', and this run plays '{config['env']}'; learn from them in "
             "runs of their own"]
        )  # fmt: skip
    own = Chosen({**config, "env_args": _settings(config["env_args"], card)}, parts.entries)
    spec = own.make("env").spec
    model = own.make("network", spec)
    if odd := _misfit(params, jax.eval_shape(model.init, jax.random.key(0))):
        raise ConfigError(
            [f"the dataset {name}, of {spec.num_agents} agents, does not fit: the parameter {odd} in this run's "
             f"environment, of {plan.spec.num_agents}; set network_args.encoder=entities, so that no parameter "
             "depends on the size of the team"]
        )  # fmt: skip
    planner = own.make("planner", model, spec, config["discount"])
    extras, broken = contracts.of_planner(config["planner"], planner, model, spec, plan.num_envs)
    if broken:
        raise ConfigError(broken)
    learner = own.make("learner", model, dataclasses.replace(plan, spec=spec, extras=extras))
    if learner.halves is None:
        raise ConfigError(
            [f"learner '{config['learner']}' learns from one dataset at a time; name one in runner_args.rows, or "
             "choose learner=bc or another that learns from recorded data alone"]
        )  # fmt: skip
    return Task(spec, contracts.row_of(spec, extras), learner.halves)


def _settings(own: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the environment that a dataset was recorded in; those that it lacks are the run's."""
    return {key: card["env_args"].get(key, value) for key, value in own.items()}


def _misfit(own: PyTree, other: PyTree) -> str:
    """Return the first parameter whose shapes differ, with both; "" if there is none."""
    wanted, found = ({jax.tree_util.keystr(path, simple=True, separator="."): str(leaf.shape) for path, leaf in
                      jax.tree.leaves_with_path(tree)} for tree in (own, other))  # fmt: skip
    for name in sorted(wanted | found):
        if wanted.get(name) != found.get(name):
            return f"{name} is {found.get(name, 'absent')} for it and {wanted.get(name, 'absent')}"
    return ""
