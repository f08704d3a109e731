"""Builds a run from a checked configuration.

This module knows no part by name and no part's settings. The registry says which parts fit together, and the runner
gives the sizes of the run. Each part checks which of its settings cannot work in such a run.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax

from tandem import contracts, recorded
from tandem.chosen import Chosen
from tandem.config.loader import ConfigError
from tandem.learners import together
from tandem.records import beginning
from tandem.core import Acting, Environment, EnvSpec, HostEnvironment, Learner, Model, Planner, Replay, Runner, RunPlan
from tandem.matching import mismatches, unplayable
from tandem.registry import FAMILIES, find


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """What a run is made of. It need not be able to start: the rows that it learned from may be gone."""

    plan: RunPlan
    env: Environment | HostEnvironment
    planner: Planner
    replay: Replay
    players: dict[str, Planner]  # all ways to play, by their names in evaluations
    learner: Learner
    model: Model

    @property
    def spec(self) -> EnvSpec:
        return self.plan.spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Built(Parts):
    """A run, ready to start, and the parts that it is made of."""

    run: Runner  # seed -> generator of (Report, run state)


def settled(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checked configuration in which machine-dependent settings are fixed, so that it holds elsewhere too."""
    decide = find("runner", config["runner"]).hook("settled")
    return {**config, "runner_args": decide(config["runner_args"])} if decide else dict(config)


def build(config: Mapping[str, Any], begins: bool = False) -> Built:
    """Return the run that a checked configuration describes; nothing is compiled yet.

    Args:
      begins: the run starts anew, so that the run in `init_from` and the rows for pre-training must exist; False if
        it continues or is only read.

    Raises:
      ConfigError: parts do not fit together, sizes or values cannot work, or a part breaks its contract.
    """
    chosen = Chosen(config, FAMILIES)
    parts = _parts(config, chosen, begins)
    made = dict(vars(parts))
    names, elsewhere = _names(chosen), dict[str, Any]()
    if chosen.entries["runner"].host:
        elsewhere["remake"] = partial(remake, dict(config))
    if begins and parts.learner.pretraining:
        elsewhere["pretrain"] = recorded.before_acting(config, parts.learner, parts.replay, parts.plan)
    if names:
        known = parts.learner, parts.model, parts.plan
        made["learner"], elsewhere["rows"] = recorded.instead_of_acting(chosen, names, *known)
    evaluation = config["eval_args"]
    run = chosen.make(
        "runner", parts.env, parts.planner, parts.players, made["learner"], parts.replay, t_max=config["t_max"],
        max_minutes=config["max_minutes"], eval_episodes=evaluation["episodes"], eval_every=evaluation["every"],
        **elsewhere,
    )  # fmt: skip
    return Built(run=run, **made)


def parts(config: Mapping[str, Any]) -> Parts:
    """Return the parts of the run that a checked configuration describes, for whoever looks at what it has learned.

    Its rows need not be there. What was checked when it was trained is not traced again. Errors are those of `build`.
    """
    return _parts(config, Chosen(config, FAMILIES), begins=False, learns=False)


def _parts(config: Mapping[str, Any], parts: Chosen, begins: bool, learns: bool = True) -> Parts:
    _raise(mismatches(config, parts.entries))
    env = parts.make("env")
    _raise(unplayable(config, parts.entries, env.spec))
    _raise(contracts.of_env(config["env"], env) if learns else [])
    model = _traced_once(parts.make("network", env.spec), "init")
    planner = parts.make("planner", model, env.spec, config["discount"])
    planner = planner._replace(plan=jax.jit(planner.plan, static_argnums=4))
    on_policy = parts.entries["learner"].data == "rollouts"
    plan = parts.hook("runner", "plan")(env.spec, config["discount"], config["t_max"], on_policy)
    extras, broken = contracts.of_planner(config["planner"], planner, model, env.spec, plan.num_envs)
    _raise(broken)
    plan = dataclasses.replace(plan, extras=extras)
    _raise(parts.problems(plan))
    learner = _traced_once(parts.make("learner", model, plan), "init", "update")
    replay = parts.make("replay", plan.num_envs, learner.sequence_length)
    _raise(contracts.of_learner(config["learner"], learner, replay, plan) if learns else [])
    if (count := len(_names(parts))) > 1:
        learner = together.begun(learner, count)
    if begins and config["init_from"]:
        learner = learner._replace(init=beginning.of_run(config["init_from"], config["results_dir"], learner.init))
    players = planner.players()
    return Parts(plan=plan, env=env, planner=planner, players=players, replay=replay, learner=learner, model=model)


def _names(parts: Chosen) -> list[str]:
    """Return whose rows a run learns from that does not play; [] where it plays."""
    return parts.hook("runner", "names")() if parts.entries["runner"].recorded else []


def environment(config: Mapping[str, Any]) -> Environment | HostEnvironment:
    """Return the environment of a checked configuration alone.

    Raises:
      ConfigError: it cannot be made from its settings, or breaks its contract.
    """
    env = Chosen(config, ("env",)).make("env")
    _raise(contracts.of_env(config["env"], env))
    return env


def remake(config: Mapping[str, Any]) -> Acting:
    """Return the acting parts of the run that a checked configuration describes, without the learner."""
    parts = Chosen(config, ("env", "network", "planner"))
    spec = parts.make("env").spec
    planner = parts.make("planner", parts.make("network", spec), spec, config["discount"])
    return Acting(partial(parts.make, "env"), parts.entries["env"].host, planner, planner.players())


def _traced_once(part: Any, *names: str) -> Any:
    """Return a part whose named functions are traced once for all callers with equal shapes, here and in a run."""
    return part._replace(**{name: jax.jit(function) for name, function in part._asdict().items() if name in names})


def _raise(mistakes: list[str]) -> None:
    if mistakes:
        raise ConfigError(mistakes)
