"""`record --run=RUN --level=LEVEL --rows=50000 --out=DIR`: a dataset of episodes by what a recorded run has learned."""

import argparse
import contextlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from tandem import build
from tandem.commands import arguments, dataset, flags, restoring
from tandem.config.commandline import Update, UsageError
from tandem.core import Environment, Key, Params, Planner, PolicyExtras, RunError, Transition
from tandem.core.metrics import POLICY
from tandem.datasets import store
from tandem.datasets.card import trajectory_quality
from tandem.datasets.dataset import BEHAVIOUR, Dataset, from_rows, joined, of_episodes, spec_of
from tandem.records import checkpoint, checkpoint_folder, provenance, runs
from tandem.records import rows as stored_rows
from tandem.records.places import task
from tandem.restored import Restored
from tandem.runners import recording
from tandem.runners.host import recording as host_recording

EXPERT, MEDIUM, RANDOM, REPLAY, MIXED = "expert", "medium", "random", "replay", "mixed"
LEVELS = (EXPERT, MEDIUM, RANDOM, REPLAY, MIXED)
MOST_ENVS = 128  # that play side by side
REFERENCE_EPISODES = 256  # by which a checkpoint's level is measured
HOST_ENVS, HOST_REFERENCE_EPISODES = 8, 32  # the same of programs outside JAX, which are slower
HALFWAY = 0.5  # of the way from random play to the expert, where medium begins
PACKAGES = ("jax", "jaxmarl", "brax", "jumanji")

DESCRIPTION = """Write a dataset of whole episodes, played by what recorded runs have learned.

levels:
  expert   the checkpoint of the best evaluation
  medium   the first checkpoint at least halfway from random play to the expert; train with
           checkpoint_args.keep_every_steps=STEPS, so that there is one
  random   every legal action is as likely
  replay   the rows that the run itself stored; nothing is played
  mixed    half medium, half expert

Each agent plays its best action, as in evaluations, and with probability epsilon one by lot. Of several runs, as in
--run=3,4,5, each gives its share of the rows.

examples:
  python src/main.py record --run=3 --level=expert --rows=50000 --out=data/3m-expert
  python src/main.py record --run=3,4,5 --level=medium --rows=50000 --out=data/3m-medium with seed=7"""


class Source(NamedTuple):
    """A recorded run, ready to be played."""

    run: runs.StoredRun
    restored: Restored
    recorder: recording.Recorder
    references: int  # episodes by which a level is measured
    known: bool  # whether what is kept of a plan is what the team acted by
    epsilon: float
    sample: bool
    key: Key

    def play(self, what: str, params: Params, epsilon: float, **wanted: int) -> recording.Played:
        restoring.say_who_plays(f"run {self.run.id}, {what}")
        key = jax.random.fold_in(self.key, zlib.crc32(what.encode()) & 0x7FFFFFFF)
        return recording.episodes(self.recorder, params, key, epsilon, **wanted)

    def mean_return(self, what: str, params: Params, epsilon: float) -> float:
        """Return the mean return of enough episodes to tell a level."""
        played = self.play(what, params, epsilon, count=self.references)
        return recording.earned(played, self.restored.env.spec.shared_reward) / len(played.last)


def main(words: Sequence[str]) -> int:
    """Write the dataset and print its card; return the exit status."""
    options, updates = _parser().read(words)
    if Path(options.out).exists():
        raise UsageError(f"record: --out={options.out} is there already; name another folder, or remove it")
    names = [name for name in options.run.split(",") if name]
    share = -(-options.rows // max(len(names), 1))
    try:
        parts = [part for name in names for part in _of_run(name, options, updates, share)]
    except RunError as error:  # of an environment outside JAX
        raise UsageError(f"record: {error}") from None
    try:
        card = store.write(Path(options.out), joined(parts))
    except ValueError as error:
        raise UsageError(f"record: {error}") from None
    dataset.show(card, Path(options.out))
    return 0


def _of_run(name: str, options: argparse.Namespace, updates: Sequence[Update], rows: int) -> list[Dataset]:
    """Return what a run gives of a dataset."""
    source = _source(name, options, updates, rows)
    with contextlib.closing(source.recorder):
        return _parts(source, options.level, rows)


def _parts(source: Source, asked: str, rows: int) -> list[Dataset]:
    """Return the datasets of the level that is asked for: two where it is mixed."""
    expert = source.restored.params
    references = {
        RANDOM: source.mean_return("reference random", expert, 1.0),
        EXPERT: source.mean_return("reference expert", expert, source.epsilon),
    }
    if asked == REPLAY:
        return [_stored(source, references, rows)]
    wanted = {MIXED: {MEDIUM: -(-rows // 2), EXPERT: rows // 2}}.get(asked, {asked: rows})
    return [_at_level(source, level, references, count) for level, count in wanted.items()]


def _source(name: str, options: argparse.Namespace, updates: Sequence[Update], rows: int) -> Source:
    run = arguments.find(name, updates)
    restored = restoring.restored(run, "best", flags.settings(updates))
    how, player = next(iter(restored.players.items()))
    recorder, references = _recorder(restored, player, options.sample, rows)
    known = how == POLICY and not restored.env.spec.actions.continuous
    key = jax.random.fold_in(jax.random.key(restored.config["seed"]), zlib.crc32(run.id.encode()) & 0x7FFFFFFF)
    return Source(run, restored, recorder, references, known, options.epsilon, options.sample, key)


def _recorder(restored: Restored, player: Planner, sample: bool, rows: int) -> tuple[recording.Recorder, int]:
    """Return what plays a team, and the episodes by which a checkpoint's level is measured."""
    env, spec = restored.env, restored.env.spec
    wanted = max(1, rows // (2 * spec.episode_limit))  # environments side by side
    if isinstance(env, Environment):
        return recording.make(env, player, min(MOST_ENVS, wanted), sample), REFERENCE_EPISODES
    make_env, timeout = build.remake(restored.config).make_env, restored.config["runner_args"]["env_timeout"]
    made = host_recording.make(make_env, spec, player, min(HOST_ENVS, wanted), sample, timeout)
    return made, HOST_REFERENCE_EPISODES


def _at_level(source: Source, level: str, references: dict[str, float], rows: int) -> Dataset:
    """Return at least so many rows by the checkpoint of a level."""
    epsilon = 1.0 if level == RANDOM else source.epsilon
    step, params = _medium(source, references) if level == MEDIUM else (source.restored.step, source.restored.params)
    played = source.play(level, params, epsilon, rows=rows)
    origin = {"checkpoint": None if level == RANDOM else step, "epsilon": epsilon, "sampled": source.sample}
    known = (source.known or level == RANDOM) and isinstance(played.rows.extras, PolicyExtras)
    card = _card(source, level, references, origin, known)
    behaviour = {name: getattr(played.rows.extras, name) for name in BEHAVIOUR} if known else {}
    return of_episodes(*played, card, behaviour)


def _medium(source: Source, references: dict[str, float]) -> tuple[int, Params]:
    """Return the step and the parameters of the first checkpoint that plays halfway as well as the expert."""
    steps = [step for step in checkpoint_folder.steps(source.run.models) if step != source.restored.step]
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), source.restored.params)
    for step in steps if references[EXPERT] > references[RANDOM] else ():
        params = checkpoint.read(source.run.models / str(step), like, under="learner.params")
        earned = source.mean_return(f"reference {step}", params, source.epsilon)
        if trajectory_quality(earned, references) >= HALFWAY:
            return step, params
    said = f"the others are {', '.join(map(str, steps))}" if steps else "there is no other"
    raise UsageError(
        f"record: run {source.run.id} has no medium checkpoint: none but the best, {source.restored.step}, plays "
        f"halfway from random to expert ({said}); train with checkpoint_args.keep_every_steps=STEPS"
    )


def _stored(source: Source, references: dict[str, float], rows: int) -> Dataset:
    """Return the newest whole episodes among the rows that a run has stored."""
    run, known = source.run, source.known
    row = source.recorder.row(source.restored.params)
    row = row if known else row.replace(extras=())
    try:
        found = stored_rows.load(run.results, str(run.folder), row)
    except ValueError as error:
        raise UsageError(f"record: run {run.id} has no rows to record ({error}); choose another --level") from None
    found = jax.tree.map(lambda x: x[0], _without_beginnings(found))
    behaviour = {name: getattr(found.extras, name) for name in BEHAVIOUR} if known else {}
    origin = {"checkpoint": checkpoint_folder.steps(run.models)[-1], "epsilon": None, "sampled": True}
    try:
        data = from_rows(found, _card(source, REPLAY, references, origin, known), behaviour)
    except ValueError as error:
        raise UsageError(f"record: run {run.id}: {error}") from None
    return dataset.cut(data, rows)


def _without_beginnings(rows: Transition) -> Transition:
    """Return stored rows [1, R, ...] in which no episode begins where a ring has lost the beginning."""
    step = rows.env_step[0]
    border = np.append(True, np.diff(step) <= 0)
    lost = border & (step >= border.sum())  # else it is the first step of a run
    return rows.replace(first=rows.first & ~lost[None])


def _card(
    source: Source, level: str, references: dict[str, float], origin: dict[str, Any], known: bool
) -> dict[str, Any]:
    """Return what a card says of where the data come from."""
    config, env = source.restored.config, source.restored.env
    told = {"run": source.run.id, "algorithm": config["name"], "level": level, **origin, "seed": config["seed"]}
    try:
        commit = provenance.read(source.run.folder)["git"]["commit"]
    except (OSError, KeyError, TypeError, ValueError):
        commit = None
    packages = provenance.packages()
    return {
        "format": 1, "env": config["env"], "env_args": config["env_args"], "task": task(config), "level": level,
        "spec": spec_of(env.spec), "behaviour_known": known, "references": references,
        "packages": {name: packages[name] for name in PACKAGES if name in packages},
        "commit": provenance.git("rev-parse", "HEAD").strip(),
        "origins": [told | {"run_commit": commit, "references": references}],
    }  # fmt: skip


def _parser() -> flags.Parser:
    parser = flags.parser("record", DESCRIPTION)
    parser.take("--run", metavar="ID[,ID...]", help="recorded runs: their ids, or their folders")
    parser.add_argument("--level", choices=LEVELS, required=True, help="who plays")
    parser.add_argument(
        "--rows", type=flags.count("rows"), default=50000, help="steps of the team, at least (default: 50000)"
    )
    parser.add_argument("--epsilon", type=_share, default=0.05, help="share of actions by lot (default: 0.05)")
    parser.add_argument("--sample", action="store_true", help="draw the other actions from the policy")
    parser.take("--out", metavar="DIR", required=True, type=flags.out_folder, help="folder of the dataset, a new one")
    return parser


def _share(text: str) -> float:
    if not 0.0 <= flags.number(text) <= 1.0:
        raise argparse.ArgumentTypeError(f"{text}: expected a number from 0 to 1")
    return flags.number(text)
