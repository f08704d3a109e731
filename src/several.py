"""What is learned from several datasets at once, each of a team of its own size, by one set of parameters.

Every dataset's card says what it was recorded in. So the environment, the network and the learner are made once for
each of them, with shapes of their own. They have to agree in one thing, the parameters.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from tandem import contracts
from tandem.chosen import Chosen
from tandem.config.loader import ConfigError
from tandem.core import EnvSpec, Halves, PyTree, RunPlan, Stream, Transition
from tandem.datasets import loading, store


class Task(NamedTuple):
    """One dataset of several."""

    spec: EnvSpec
    row: Transition  # what one row looks like: a tree of jax.ShapeDtypeStruct
    halves: Halves  # of its learner


def tasks(parts: Chosen, names: list[str], plan: RunPlan, params: PyTree) -> dict[str, Task]:
    """Return what each of several datasets is learned by.

    Args:
      parts: the run's.
      names: the datasets' folders.
      plan: of the run, for its own environment.
      params: shapes of the parameters, as the run's own environment has them.

    Raises:
      ConfigError: it is no dataset, or of another kind of task, or its parameters differ; the message says which.
    """
    return {name: _task(parts, name, plan, params) for name in names}


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


def rows(results: str, known: Mapping[str, Task], own: EnvSpec, row: Transition) -> Callable[[str], tuple[Stream, int]]:
    """Return what reads the rows of a name, and their checksum: a dataset of several, or the run's only one."""

    def read(name: str) -> tuple[Stream, int]:
        task = known.get(name)
        return loading.load(results, name, task.spec if task else own, task.row if task else row)

    return read
