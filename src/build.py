"""A checked configuration -> a run that can be started: the only file that knows all parts."""

import dataclasses
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax

from src import clocks
from src.config import schema
from src.config.loader import ConfigError
from src.core import Acting, Environment, EnvSpec, HostEnvironment, Learner, Planner, Runner
from src.registry import FAMILIES, Entry, find
from src.runners.ray_async import cores_of_learner, default_actors

# XLA's CPU backend hands sums and products to a library in fused form, which for our shapes is slow: the gradient of the
# policy head took 11.3 ms with the fusion and 2.9 ms without (jax 0.10.2, one core). An empty list turns it off.
SLOW_FUSION = "xla_cpu_experimental_ynn_fusion_type"

BACKENDS = {"cpu": "cpu", "gpu": "cuda"}  # JAX's names; "auto" leaves the choice to JAX


@dataclasses.dataclass(frozen=True, kw_only=True)
class Built:
    """A run, ready to start, and the parts that it is made of."""

    run: Runner  # seed -> generator of (Report, run state)
    spec: EnvSpec
    total_updates: int
    env: Environment | HostEnvironment
    planner: Planner
    players: dict[str, Planner]  # all ways to play, as evaluations name them
    learner: Learner


def prepare_jax(platform: Any = "auto", compile_cache_dir: Any = "", runner: Any = "") -> None:
    """Tell JAX where to compute, beside which runner, and where to keep compiled programs; before anything is computed.

    Values that the configuration's check will refuse are passed over.

    Raises:
      ConfigError: there is no such device.
    """
    if SLOW_FUSION not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --{SLOW_FUSION}=".strip()
    if runner == "ray_async":
        os.environ.setdefault("NPROC", str(cores_of_learner()))  # the threads of XLA's pool
    if isinstance(platform, str) and platform in BACKENDS:
        jax.config.update("jax_platforms", BACKENDS[platform])
        _raise(_missing_device(platform))
    if compile_cache_dir == "auto":
        compile_cache_dir = str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "tandem" / "jax")
    cache = os.path.expanduser(compile_cache_dir) if isinstance(compile_cache_dir, str) else ""
    if cache and not cache.startswith("~"):  # a user without a home folder has no cache there
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _missing_device(platform: str) -> list[str]:
    """Return a sentence if JAX cannot compute there."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError):  # the second is JAX 0.10's answer where its CUDA packages are missing
        return [f"platform={platform}: JAX finds no such device; TANDEM_CUDA=1 ./run.sh installs JAX's CUDA packages"]
    return []


def settled(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checked configuration with what it leaves to the machine decided: so it is stored, and holds elsewhere too."""
    args = config["runner_args"]
    if config["runner"] != "ray_async" or args["num_actors"]:
        return dict(config)
    return {**config, "runner_args": {**args, "num_actors": default_actors(args["num_envs"])}}


def build(config: Mapping[str, Any]) -> Built:
    """Return the run that a checked configuration describes; nothing is compiled yet.

    Raises:
      ConfigError: parts that do not fit each other, sizes that cannot work, values that only a part can judge.
    """
    entries = {family: find(family, config[family]) for family in FAMILIES}
    _raise(_mismatches(config, entries))
    settings = {family: schema.build(entry.config(), config[f"{family}_args"]) for family, entry in entries.items()}
    total_updates = _total_updates(config, entries, settings)
    _raise(clocks.mistakes(config["t_max"], settings["runner"], settings["learner"], total_updates))
    make = _Maker(config, entries, settings)

    env = make("env")
    _raise(_actions(config, entries, env.spec))
    _raise(_sizes(config, entries, settings, env.spec))
    model = make("network", env.spec)
    planner = make("planner", model, env.spec, config["discount"])
    players = _players(entries["planner"], settings["planner"], planner, model, env.spec, config["discount"])
    num_envs = getattr(settings["runner"], "num_envs", 1)
    rollouts = {"num_envs": num_envs} if entries["learner"].data == "rollouts" else {}
    learner = make("learner", model, env.spec, config["discount"], total_updates, **rollouts)
    replay = make("replay", num_envs, learner.sequence_length)
    elsewhere = {"remake": partial(remake, dict(config))} if entries["runner"].host else {}
    run = make(
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
        run=run,
        spec=env.spec,
        total_updates=total_updates,
        env=env,
        planner=planner,
        players=players,
        learner=learner,
    )


def remake(config: Mapping[str, Any]) -> Acting:
    """Return what acts in the run that a checked configuration describes: what `build` makes of it, without what learns."""
    entries = {family: find(family, config[family]) for family in ("env", "network", "planner")}
    settings = {family: schema.build(entry.config(), config[f"{family}_args"]) for family, entry in entries.items()}
    make = _Maker(config, entries, settings)
    spec = make("env").spec
    model = make("network", spec)
    planner = make("planner", model, spec, config["discount"])
    players = _players(entries["planner"], settings["planner"], planner, model, spec, config["discount"])
    return Acting(partial(make, "env"), entries["env"].host, planner, players)


def _players(entry: Entry, settings: Any, planner: Planner, model: Any, spec: EnvSpec, discount: float) -> dict[str, Planner]:
    """Return the ways to play what is learned: with search, by conditional policies, and each agent by itself."""
    if entry.provides == "policy":
        return {"policy": planner}
    players = {"search": planner}
    if entry.commits:
        given = find("planner", "autoregressive")
        players["autoregressive"] = given.make(given.config()(order=settings.order), model, spec, discount)
    alone = find("planner", "policy")
    return players | {"policy": alone.make(alone.config()(), model, spec, discount)}


class _Maker:
    """Calls a family's maker with its settings, and says whose settings a complaint is about."""

    def __init__(self, config: Mapping[str, Any], entries: Mapping[str, Entry], settings: Mapping[str, Any]):
        self.config, self.entries, self.settings = config, entries, settings

    def __call__(self, family: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.entries[family].make(self.settings[family], *args, **kwargs)
        except ValueError as error:
            raise ConfigError([f"{family} '{self.config[family]}': {error}"]) from error
        except ImportError as error:
            if str(error.name).startswith("src"):
                raise  # our own mistake, not the user's
            raise ConfigError([f"{family} '{self.config[family]}' cannot be loaded: {error}"]) from error


def _raise(mistakes: list[str]) -> None:
    if mistakes:
        raise ConfigError(mistakes)


def _mismatches(config: Mapping[str, Any], entries: Mapping[str, Entry]) -> list[str]:
    """Return a sentence for each pair of named parts that cannot work together."""
    mistakes = []
    model = entries["network"].provides
    for family in ("planner", "learner"):
        wanted = entries[family].needs
        if wanted and wanted != model:
            mistakes.append(
                f"{family} '{config[family]}' needs {_a(wanted)}; network '{config['network']}' is "
                f"{_a(model)}{_choose('network', 'provides', wanted)}"
            )
    left, wanted = entries["planner"].provides, entries["learner"].extras
    if wanted and wanted != left:
        mistakes.append(
            f"learner '{config['learner']}' learns from {_words(wanted)} targets; planner '{config['planner']}' "
            f"leaves {_words(left) or 'none'}{_choose('planner', 'provides', wanted)}"
        )
    if config["learner_args"].get("policy_loss") == "advantage_weighted" and not config["planner_args"].get("keep_candidates"):
        mistakes.append(
            "learner_args.policy_loss=advantage_weighted: weighs the joint actions that a search compared; choose planner=joint "
            "and planner_args.keep_candidates=True"
        )
    left, wanted = entries["replay"].data, entries["learner"].data
    if left != wanted:
        mistakes.append(
            f"learner '{config['learner']}' learns from {_words(wanted)}; replay '{config['replay']}' hands out "
            f"{_words(left) or 'none'}{_choose('replay', 'data', wanted)}"
        )
    if entries["env"].host and not entries["runner"].host:
        mistakes.append(
            f"env '{config['env']}' is a program outside JAX; runner '{config['runner']}' compiles its environments"
            f"{_choose('runner', 'host', True)}"
        )
    return mistakes


def _actions(config: Mapping[str, Any], entries: Mapping[str, Entry], spec: EnvSpec) -> list[str]:
    """Return a sentence if the planner cannot choose the environment's kind of actions."""
    if not spec.continuous or entries["planner"].continuous:
        return []
    return [
        f"planner '{config['planner']}' chooses among discrete actions, and those of env '{config['env']}' are continuous"
        f"{_choose('planner', 'continuous', True)}, as --config=mappo does"
    ]


def _total_updates(config: Mapping[str, Any], entries: Mapping[str, Entry], settings: Mapping[str, Any]) -> int:
    """Return how often the learner will update: once per rollout, or as often as the runner is told."""
    runner = settings["runner"]
    if entries["learner"].data == "rollouts":
        return -(-config["t_max"] // (getattr(runner, "num_envs", 1) * getattr(runner, "rollout_length", 1)))
    return int(config["t_max"] * getattr(runner, "updates_per_step", 0))


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _a(kind: str) -> str:
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {_words(kind)}" if kind else "none"


def _choose(family: str, attribute: str, wanted: Any) -> str:
    fitting = [name for name, entry in FAMILIES[family].items() if getattr(entry, attribute) == wanted]
    return f"; choose {family}={' or '.join(fitting)}" if fitting else ""


def _sizes(
    config: Mapping[str, Any], entries: Mapping[str, Entry], settings: Mapping[str, Any], spec: EnvSpec
) -> list[str]:
    """Return a sentence for each size that cannot work with this environment or this length of run."""
    mistakes = []
    unroll = getattr(settings["learner"], "unroll", 0)
    if unroll > spec.episode_limit:
        mistakes.append(
            f"learner_args.unroll={unroll}: longer than an episode of {config['env']}, which ends after "
            f"{spec.episode_limit}"
        )
    runner, replay = settings["runner"], settings["replay"]
    num_envs, rollout = getattr(runner, "num_envs", 1), getattr(runner, "rollout_length", 1)
    if config["t_max"] < num_envs * rollout:
        mistakes.append(
            f"t_max={config['t_max']}: less than one round of collecting, runner_args.num_envs * rollout_length = "
            f"{num_envs} * {rollout} = {num_envs * rollout} environment steps"
        )
    if getattr(runner, "report_every", 0) > config["t_max"]:
        mistakes.append(
            f"runner_args.report_every={runner.report_every}: more than t_max={config['t_max']}; a run ends at a report"
        )
    if getattr(replay, "min_size", 0) > config["t_max"]:
        mistakes.append(
            f"replay_args.min_size={replay.min_size}: more than t_max={config['t_max']}; learning would never begin"
        )
    slots = getattr(replay, "capacity", num_envs * rollout) // num_envs
    if slots < rollout:
        mistakes.append(
            f"replay_args.capacity={replay.capacity}: {slots} steps of each of {num_envs} environments, less than "
            f"runner_args.rollout_length={rollout}"
        )
    most = getattr(settings["env"], "max_envs", num_envs)  # only of environments that are whole programs
    if num_envs > most:
        mistakes.append(
            f"runner_args.num_envs={num_envs}: each environment of '{config['env']}' is a program with memory of its own; set "
            f"runner_args.num_envs={most} or less, or raise env_args.max_envs={most} where there is room"
        )
    if hasattr(settings["learner"], "chunk_length"):
        mistakes += _chunk_sizes(settings["learner"], num_envs, rollout)
    if entries["learner"].data == "rollouts" and getattr(runner, "reanalyse_per_step", 0) > 0:
        mistakes.append("runner_args.reanalyse_per_step: rollouts are learned from once and not kept; set it to 0")
    return mistakes + _idle_planners(entries["learner"], runner)


def _idle_planners(learner: Entry, runner: Any) -> list[str]:
    """Return a sentence if there are actors that plan stored rows again, and never any rows for them."""
    actors = getattr(runner, "reanalyse_actors", 0)
    if actors and learner.data == "rollouts":
        return [f"runner_args.reanalyse_actors={actors}: rollouts are learned from once and not planned again; set it to 0"]
    if actors and not runner.reanalyse_per_step:
        return [
            f"runner_args.reanalyse_actors={actors}: runner_args.reanalyse_per_step=0 leaves them nothing to do; set that above 0, "
            "or reanalyse_actors to 0"
        ]
    return []


def _chunk_sizes(learner: Any, num_envs: int, rollout: int) -> list[str]:
    """Return a sentence for each size by which a rollout cannot be cut into chunks and dealt into minibatches."""
    length = learner.chunk_length or rollout
    if rollout % length:
        return [f"learner_args.chunk_length={length}: does not divide runner_args.rollout_length={rollout}"]
    chunks = num_envs * rollout // length
    counts = {field.name: getattr(learner, field.name) for field in dataclasses.fields(learner) if "minibatches" in field.name}
    return [
        f"learner_args.{name}={count}: does not divide the {chunks} chunks of a rollout, "
        f"runner_args.num_envs={num_envs} times {rollout // length}"
        for name, count in counts.items() if chunks % count
    ]
