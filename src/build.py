"""A checked configuration -> a run that can be started.

This module knows no part by name and no part's settings. The registry says what fits what, and the runner says how
large the run is. Every part says itself which of its settings cannot work in such a run.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax

from tandem import contracts
from tandem.chosen import Chosen
from tandem.config.loader import ConfigError
from tandem.datasets import loading
from tandem.records import beginning
from tandem.core import Acting, Environment, EnvSpec, HostEnvironment, Learner, Model, Planner, Replay, Runner, RunPlan
from tandem.matching import mismatches, unplayable
from tandem.registry import FAMILIES, find


@dataclasses.dataclass(frozen=True, kw_only=True)
class Built:
    """A run, ready to start, and the parts that it is made of."""

    run: Runner  # seed -> generator of (Report, run state)
    plan: RunPlan
    env: Environment | HostEnvironment
    planner: Planner
    replay: Replay
    players: dict[str, Planner]  # all ways to play, as evaluations name them
    learner: Learner
    model: Model

    @property
    def spec(self) -> EnvSpec:
        return self.plan.spec


def settled(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checked configuration with what it leaves to the machine decided, so that it holds elsewhere too."""
    decide = find("runner", config["runner"]).hook("settled")
    return {**config, "runner_args": decide(config["runner_args"])} if decide else dict(config)


def build(config: Mapping[str, Any], begins: bool = False, learns: bool = True) -> Built:
    """Return the run that a checked configuration describes; nothing is compiled yet.

    Args:
      begins: the run is about to start, and not to go on or to be looked at, so that `init_from` has to be there.
      learns: it may be trained. False: it is only to play, so what was checked when it was trained is not traced again.

    Raises:
      ConfigError: parts that do not fit each other, sizes that cannot work, values that only a part can judge, a part
        that breaks its contract.
    """
    parts = Chosen(config, FAMILIES)
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
    if begins and config["init_from"]:
        learner = learner._replace(init=beginning.of_run(config["init_from"], config["results_dir"], learner.init))
    replay = parts.make("replay", plan.num_envs, learner.sequence_length)
    _raise(contracts.of_learner(config["learner"], learner, replay, plan) if learns else [])
    elsewhere = {"remake": partial(remake, dict(config))} if parts.entries["runner"].host else {}
    if parts.entries["runner"].recorded:
        row = contracts.row_of(env.spec, extras)
        elsewhere["rows"] = partial(loading.load, config["results_dir"], spec=env.spec, row=row)
    players = planner.players()
    run = parts.make(
        "runner",
        env,
        planner,
        players,
        learner,
        replay,
        t_max=config["t_max"],
        max_minutes=config["max_minutes"],
        eval_episodes=config["eval_args"]["episodes"],
        eval_every=config["eval_args"]["every"],
        **elsewhere,
    )
    return Built(
        run=run, plan=plan, env=env, planner=planner, players=players, replay=replay, learner=learner, model=model
    )


def environment(config: Mapping[str, Any]) -> Environment | HostEnvironment:
    """Return the environment of a checked configuration alone.

    Raises:
      ConfigError: it cannot be made of its settings, or breaks its contract.
    """
    env = Chosen(config, ("env",)).make("env")
    _raise(contracts.of_env(config["env"], env))
    return env


def remake(config: Mapping[str, Any]) -> Acting:
    """Return what acts in the run that a checked configuration describes, without what learns."""
    parts = Chosen(config, ("env", "network", "planner"))
    spec = parts.make("env").spec
    planner = parts.make("planner", parts.make("network", spec), spec, config["discount"])
    return Acting(partial(parts.make, "env"), parts.entries["env"].host, planner, planner.players())


def _traced_once(part: Any, *names: str) -> Any:
    """Return a part whose named functions are traced once for all that call them alike, here and in a run."""
    return part._replace(**{name: jax.jit(function) for name, function in part._asdict().items() if name in names})


def _raise(mistakes: list[str]) -> None:
    if mistakes:
        raise ConfigError(mistakes)
