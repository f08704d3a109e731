"""`evaluate --run=RUN`: plays greedy episodes with a recorded run's parameters: with search, in turns, and by the
policy alone. `evaluate --scripted=NAME` plays them with a scripted policy.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from tandem import build
from tandem.analysis.identity import fingerprint
from tandem.commands import restoring
from tandem.config.commandline import UsageError
from tandem.core import Environment, Key, Params, Planner, RunError
from tandem.core.metrics import SCRIPTED
from tandem.records.places import replace_file, title
from tandem.restored import Restored
from tandem.runners.collect import evaluate
from tandem.runners.host.collect import evaluate as evaluate_on_host
from tandem.runners.host.envs import HostEnvs

HOST_ENVS = 8  # environments outside JAX that play side by side
Scores = dict[str, np.ndarray]  # {metric: [episodes]}
# In turns: agents choose one after another by their policies, and each sees the earlier choices.
PLAYERS = {"search": "with search", "autoregressive": "in turns", "policy": "policy alone", SCRIPTED: "scripted"}
COLUMNS = {"mean": "mean", "stderr": "standard error", "min": "min", "max": "max"}


def main(words: Sequence[str]) -> int:
    """Evaluate a run or a scripted player, print a table and write a JSON file; return the exit status."""
    parser = restoring.parser("evaluate", "Play greedy episodes; `with eval_args.episodes=1000` sets their number.")
    _, subject = restoring.read(parser, words)
    restored = subject.restored
    key = jax.random.fold_in(jax.random.key(restored.config["seed"]), restored.step)
    batch = min(restored.config["eval_args"]["episodes"], subject.batch)
    found = {name: summary(play(restored, planner, key, batch)) for name, planner in restored.players.items()}
    result = {
        **subject.about,
        "env_step": restored.step,
        "episodes": restored.config["eval_args"]["episodes"],
        "seed": restored.config["seed"],
        "settings": {update.key: update.value for update in subject.settings},
        **found,
    }
    kept = keep(result, subject.folder)
    show(result, f"{title(restored.config)}, step {restored.step:,}, {result['episodes']} episodes", kept)
    return 0


def keep(result: Mapping[str, Any], folder: Path) -> str:
    """Write the result into a folder; return a line that says where it is, or why it could not be written.

    Each set of settings has its own file, so that evaluations with different settings do not overwrite each other.
    """
    settings = f"-{fingerprint(result['settings'])}" if result["settings"] else ""
    path = folder / f"evaluation-{result['env_step']}{settings}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(result, indent=1) + "\n")
    except OSError as error:
        return f"not saved: {path} cannot be written ({error.strerror})"
    return f"written: {path}"


def play(restored: Restored, planner: Planner, key: Key, batch: int) -> Scores:
    """Return the scores of as many episodes as the configuration asks for, each on a fresh environment.

    Args:
      batch: episodes played in parallel; with as many as in training, the compiled program is reused.
    """
    return judge(restored, planner, batch)(restored.params, key)


def judge(restored: Restored, planner: Planner, batch: int) -> Callable[[Params, Key], Scores]:
    """Return a compiled function that plays a planner's episodes with any parameters, as `play` does."""
    wanted = restored.config["eval_args"]["episodes"]
    if not isinstance(restored.env, Environment):
        return lambda params, key: play_on_host(dataclasses.replace(restored, params=params), planner, key, wanted)
    run = jax.jit(partial(evaluate, restored.env, planner, num_episodes=batch))

    def scores(params: Params, key: Key) -> Scores:
        batches = [jax.device_get(run(params, jax.random.fold_in(key, i))) for i in range(-(-wanted // batch))]
        return {name: np.concatenate([scores[name] for scores in batches])[:wanted] for name in batches[0]}

    return scores


def play_on_host(restored: Restored, planner: Planner, key: Key, wanted: int) -> Scores:
    """Return the scores of episodes of an environment outside JAX; the key seeds their beginnings."""
    make_env, spec = build.remake(restored.config).make_env, restored.env.spec
    timeout = restored.config["runner_args"]["env_timeout"]
    envs = HostEnvs(make_env, min(wanted, HOST_ENVS), (), timeout, wanted, setting="eval_args.episodes")
    seeds = jax.random.randint(key, (wanted,), 0, np.iinfo(np.int32).max).tolist()
    try:
        return evaluate_on_host(envs, planner, spec, restored.params, key, seeds)
    except RunError as error:
        raise UsageError(str(error)) from None
    finally:
        envs.close()


def summary(scores: Scores) -> dict[str, dict[str, float]]:
    """Return {metric: {"mean", "stderr", "min", "max"}}; one episode has no standard error."""
    return {
        name: {
            "mean": float(np.mean(values)),
            "stderr": float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else None,
            "min": float(np.min(values)),
            "max": float(np.max(values)),
        }
        for name, values in ((name, np.asarray(values, np.float64)) for name, values in scores.items())
    }


def show(result: Mapping[str, Any], head: str, kept: str) -> None:
    """Print the table, and the line about its file."""
    table = Table(title=head, title_justify="left")
    table.add_column("metric")
    for column in COLUMNS.values():
        table.add_column(column, justify="right")
    players = [how for how in PLAYERS if how in result]
    for name in result[players[0]]:
        for how in players:
            numbers = [result[how][name][column] for column in COLUMNS]
            table.add_row(
                f"{name}, {PLAYERS[how]}", *("-" if number is None else f"{number:.3f}" for number in numbers)
            )
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(table)
    console.print(kept)
