"""How `transfer` makes its matrix: the tasks that sizes stand for, whose parameters fit them, who plays there."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from tandem import build
from tandem.analysis.comparison import in_short
from tandem.analysis.identity import differences, essence, fingerprint
from tandem.analysis.transfer_matrix import Row, Summary, Task, Trained, mean
from tandem.commands import restoring, scripted
from tandem.commands.evaluate import judge, summary
from tandem.config.commandline import Update, UsageError
from tandem.config.values import typed
from tandem.core import EnvSpec, Params, Planner
from tandem.core.metrics import AUTOREGRESSIVE, POLICY, SEARCH
from tandem.records import checkpoint, checkpoint_folder
from tandem.records.runs import StoredRun
from tandem.restored import Restored, checked_config, restore

PLAYERS = (SEARCH, AUTOREGRESSIVE, POLICY)
CONTROLLER = "optimal"
MOST_AT_ONCE = 256  # episodes side by side
SIGHT = ("room_for", "observation_type", "see_enemy_actions")  # settings of what is seen, not of the task
KEY = 0  # of the episodes' beginnings, which all players share
MISFIT = (
    "a parameter that is as long as an observation, or as the team, plays with one size only: train with "
    "network_args.encoder=entities, or, where observations do not grow with the team, with network_args.agent_id=false"
)


@dataclasses.dataclass
class Place:
    """A task, and who plays there."""

    word: str  # as typed
    updates: list[Update]
    players: dict[str, Restored] = dataclasses.field(default_factory=dict)  # {key of a group of runs: ...}


class How(NamedTuple):
    """How runs are played."""

    checkpoint: str
    player: str | None  # None: as each run is judged by
    settings: list[Update]  # over those of the runs
    episodes: Update  # over those of the experts


def matrix(
    runs: Sequence[StoredRun], sizes: Sequence[str], experts: Sequence[StoredRun], how: How
) -> tuple[list[Row], list[Task]]:
    """Return what runs earn on tasks of other sizes. Nothing is played before all parameters are known to fit.

    Raises:
      UsageError: parameters that do not fit, runs of different tasks, a size that is none.
    """
    groups, places = grouped(runs), [Place(word, size(word)) for word in sizes]
    for key, group in groups.items():
        for place in places:
            place.players[key] = fitting(group[0], how.checkpoint, [*how.settings, *place.updates], place.word)
            chosen(place.players[key], how.player)
    labels = _labels(places)
    masters = {run.id: restoring.restored(run, "best", [how.episodes]) for run in experts}
    tasks = [known(place, label, masters) for place, label in zip(places, labels)]
    rows = [_row(key, group, places, labels, how) for key, group in groups.items()]
    return _apart(rows, [_shared(checked_config(group[0])) for group in groups.values()]), tasks


def size(word: str) -> list[Update]:
    """Return the settings of the environment that a size stands for.

    Raises:
      UsageError: a setting of something else.
    """
    parts = word.split("+") if "=" in word else [f"env_args.{'num_agents' if word.isdecimal() else 'map_name'}={word}"]
    found = []
    for part in parts:
        key, sep, raw = part.partition("=")
        if not sep or not raw or not key.startswith("env_args."):
            text = f"transfer: --sizes={word}: '{part}' is no setting of the environment; expected env_args.KEY=VALUE"
            raise UsageError(text)
        found.append(Update(key, typed(raw), raw, f"--sizes={word}"))
    return found


def grouped(runs: Sequence[StoredRun]) -> dict[str, list[StoredRun]]:
    """Return the runs by what they have in common: all settings but the seed, and whose parameters they began with."""
    found: dict[str, list[StoredRun]] = {}
    for run in runs:
        found.setdefault(fingerprint(_shared(checked_config(run))), []).append(run)
    return found


def _shared(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, "seed": 0, "init_from": bool(config["init_from"])}


def fitting(run: StoredRun, which: str, updates: Sequence[Update], word: str) -> Restored:
    """Return a run's parts on another task.

    Raises:
      UsageError: there is no such checkpoint, or a parameter does not fit the task; the message names it.
    """
    try:
        return restore(run, which, updates)
    except checkpoint_folder.Misfit as error:
        shapes = f"{error.there or 'absent'} in the run and {error.wanted or 'absent'} with --sizes={word}"
        raise UsageError(f"transfer: run {run.id} does not fit: {error.name} is {shapes}; {MISFIT}") from None
    except checkpoint_folder.CheckpointError as error:
        raise UsageError(str(error)) from None


def canonical(config: Mapping[str, Any], spec: EnvSpec) -> dict[str, Any]:
    """Return what is played, by settings; a number of agents that is the scenario's own is spelled out."""
    args = {key: value for key, value in config["env_args"].items() if key not in SIGHT}
    agents = {"num_agents": spec.num_agents} if "num_agents" in args else {}
    return {"env": config["env"], **args, **agents}


def _task(restored: Restored) -> dict[str, Any]:
    return canonical(restored.config, restored.env.spec)


def _labels(places: Sequence[Place]) -> list[str]:
    """Return what to call the tasks.

    Raises:
      UsageError: runs whose environments differ in more than the size, so that they would be tested on different tasks.
    """
    for place in places:
        first, *others = [_task(each) for each in place.players.values()]
        for other in others:
            if odd := checkpoint.differences(first, other):
                text = f"the runs' environments differ in {', '.join(odd)} with --sizes={place.word}"
                raise UsageError(
                    f"transfer: {text}; compare runs of one task, or set it with --sizes=env_args.KEY=VALUE"
                )
    return [_name(place.word) for place in places]


def _name(word: str) -> str:
    return f"{word} agents" if word.isdecimal() else word.replace("env_args.", "")


def known(place: Place, label: str, masters: Mapping[str, Restored]) -> Task:
    """Return a task with what random play and the expert earn there."""
    here = next(iter(place.players.values()))
    random = played(here, scripted.at_random(here.env.spec), f"random play, {label}")
    of_runs = {
        f"run {name}": played(master, chosen(master), f"the expert run {name}, {label}")
        for name, master in masters.items()
        if _task(master) == _task(here)
    }
    if of_runs:
        best = max(of_runs, key=lambda name: float(mean(of_runs[name])))
        return Task(label, random, of_runs[best], best)
    controller = dict(getattr(here.env, "scripted", ())).get(CONTROLLER)
    if controller is None:
        return Task(label, random)
    best = played(here, scripted.planner(controller, here.env.spec), f"{CONTROLLER}, {label}")
    return Task(label, random, best, CONTROLLER)


def played(restored: Restored, planner: Planner, told: str) -> Summary:
    """Return what a player earns; `told` says on the screen who it is."""
    restoring.say_who_plays(told)
    return summary(judge(restored, planner, _batch(restored))(restored.params, jax.random.key(KEY)))


def _batch(restored: Restored) -> int:
    return min(restored.config["eval_args"]["episodes"], MOST_AT_ONCE)


def chosen(restored: Restored, asked: str | None = None) -> Planner:
    """Return who plays: as asked for, else as the run is judged by.

    Raises:
      UsageError: the run cannot play so.
    """
    if asked is not None and asked not in restored.players:
        raise UsageError(f"transfer: --player={asked}: this run has {', '.join(restored.players)}")
    return restored.players[asked or next(name for name in PLAYERS if name in restored.players)]


def _row(key: str, runs: Sequence[StoredRun], places: Sequence[Place], labels: Sequence[str], how: How) -> Row:
    """Return what runs that differ in their seeds earn everywhere; each task's program is compiled once for all."""
    config = checked_config(runs[0])
    spec = build.environment(config).spec
    params = [_parameters(run, how.checkpoint, places[0].players[key].params) for run in runs]
    earned: list[dict[str, Summary]] = [{} for _ in runs]
    for place, label in zip(places, labels):
        here = place.players[key]
        play = judge(here, chosen(here, how.player), _batch(here))
        for run, found, (_, learned) in zip(runs, earned, params):
            restoring.say_who_plays(f"run {run.id}, {label}")
            found[label] = summary(play(learned, jax.random.key(KEY)))
    same = [label for place, label in zip(places, labels) if _task(place.players[key]) == canonical(config, spec)]
    trained_on = same[0] if same else config["env_args"].get("map_name") or f"{spec.num_agents} agents"
    tuned = ", fine-tuned" if config["init_from"] else ""
    return Row(
        label=f"{config['name']}, {trained_on}{tuned}",
        trained_on=trained_on,
        home=same[0] if same else None,
        runs=[
            Trained(run.id, run.config.get("seed", 0), step, found)
            for run, (step, _), found in zip(runs, params, earned)
        ],
    )


def _parameters(run: StoredRun, which: str, like: Params) -> tuple[int, Params]:
    """Return the step of a run's checkpoint, and the parameters that acting needs."""
    try:
        path = checkpoint_folder.pick(run.models, which)
        return int(path.name), checkpoint.read(path, jax.eval_shape(lambda: like), under="learner.params")
    except checkpoint_folder.CheckpointError as error:
        raise UsageError(str(error)) from None


def _apart(rows: Sequence[Row], configs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the rows, those of one name told apart by settings in which they differ."""
    found = list(rows)
    for label in {row.label for row in rows}:
        same = [place for place, row in enumerate(rows) if row.label == label]
        differing = differences([essence(configs[place]) for place in same])
        for place, settings in zip(same, differing):
            found[place] = dataclasses.replace(rows[place], label=label + in_short(settings))
    return found
