"""Learning from recorded rows alone: nobody acts but in evaluations, and the run's clock counts updates.

The rows may be those of several datasets, each of a team of its own size; then every update is one on a batch of each.
They sit in device memory once. They are an argument of the compiled program that is not donated, and no part of the
run state: so a checkpoint holds what is learned, and not the data.
"""

import dataclasses
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from tandem.core import (
    Acting, Array, Environment, EnvSpec, HostEnvironment, Key, Learner, LearnerState, Planner, PyTree, Replay, Report,
    RunError, RunPlan, Source, Stream, pytree, setting,
)  # fmt: skip
from tandem.ops import held_out
from tandem.ops.clocks import step_problems
from tandem.ops.streams import whole
from tandem.runners.host import collect as host_collect
from tandem.runners.host.envs import HostEnvs
from tandem.runners.learn import batch_metrics, learn_once
from tandem.runners.loop import Loop, compiled_once, keys, make_loop, report_problems
from tandem.runners.patience import Patience

UPDATES = "updates"
EVAL_ENVS = 8  # environments outside JAX that play an evaluation side by side


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    rows: str = setting(
        "", "what is learned from: a dataset's folder, or several, separated by commas, of teams of any sizes; or a "
        "recorded run, its number or its folder",
    )  # fmt: skip
    holdout: float = setting(
        0.0, "share of the episodes, by lot, that is not learned from: offline/holdout_* say how well their actions "
        "are foretold", low=0.0, high=0.9,
    )  # fmt: skip
    patience: int = setting(
        0,
        "evaluations in a row without a smaller offline/holdout_nll after which the run ends; 0 = it never ends early",
        low=0,
    )
    report_every: int = setting(200, "updates per report; one compiled call each", low=1)
    env_timeout: float = setting(
        60.0, "seconds that a step or a reset of an environment outside JAX may take; 0 = no limit", low=0.0
    )


def plan(config: Config, spec: EnvSpec, discount: float, t_max: int, on_policy: bool) -> RunPlan:
    """Return the sizes of a run of `t_max` updates; all recorded rows count as those of one environment."""
    return RunPlan(
        spec=spec,
        discount=discount,
        clock=UPDATES,
        total_steps=t_max,
        total_updates=t_max,
        num_envs=1,
        rollout_length=1,
        on_policy=on_policy,
    )


def names(config: Config) -> list[str]:
    """Return what is learned from, by name."""
    return [name.strip() for name in config.rows.split(",") if name.strip()]


def problems(config: Config, plan: RunPlan) -> list[str]:
    """Return a sentence for each setting that cannot work."""
    found = step_problems(plan.total_steps, 1, config.report_every)
    if not names(config):
        found.append("runner_args.rows: not given; name the recorded run or the dataset from whose rows is learned")
    if config.holdout and len(names(config)) > 1:
        found.append(
            f"runner_args.holdout={config.holdout}: episodes can be held out of one dataset alone; set it to 0, or "
            "name one dataset in runner_args.rows"
        )
    if config.patience and not config.holdout:
        found.append(
            f"runner_args.patience={config.patience}: no episodes are held out, by which the run could end early; set "
            "runner_args.holdout, to 0.05 for example, or patience to 0"
        )
    if plan.on_policy:
        found.append(
            "runner=offline: the learner learns from its own policy's rollouts alone, and these rows are of "
            "another; choose learner=mazero"
        )
    found += report_problems(config.report_every, plan)
    return found


@pytree
class RunState:
    """Everything a run needs to go on, beside the rows."""

    learner: LearnerState
    rows_sum: Array  # [] uint32, checksum of the rows, so that a run does not go on with others
    key: Key
    updates: Array  # [] int32
    last_eval: Array  # [] int32 updates at the last evaluation; this and the next are kept by the host
    training_seconds: Array  # [] float32
    waited: PyTree = ()  # of `patience`, where there is one


def make(
    config: Config,
    env: Environment | HostEnvironment,
    planner: Planner,
    players: Mapping[str, Planner],
    learner: Learner,
    replay: Replay,
    *,
    rows: Callable[[str], tuple[Stream, int]],
    remake: Callable[[], Acting],
    t_max: int,
    max_minutes: float,
    eval_episodes: int,
    eval_every: int,
) -> "OfflineRunner":
    """Return the runner: called with a seed, it yields (Report, RunState) until `t_max`
    updates or `max_minutes` are over.

    Args:
      learner: that of all datasets together, where there are several.
      rows: returns the rows, on the host, of the dataset or the recorded run that it is given the name of, and a
        checksum of them.
      remake: makes what acts, whose environments play the evaluations where they are programs outside JAX.

    Raises:
      ValueError: the rows cannot be had or do not fit, or the replay's sampling changes with what is learned.
    """
    del planner
    if replay.source.heeds_priorities:
        raise ValueError("recorded rows are sampled without priorities; choose replay=uniform")
    recorded, sums = zip(*map(rows, names(config)), strict=True)
    newest = tuple(int(each.rows.env_step.max()) for each in recorded)
    learned, episodes = _divided(config, learner, recorded)
    data = tuple(_held(name, replay, each) for name, each in zip(names(config), learned, strict=True))
    learn = partial(_learn_one if len(data) == 1 else _learn_several, learner, replay.source, newest)
    train = jax.jit(partial(_report, learner, learn, t_max, config.report_every), donate_argnums=0)
    envs = evaluators = None
    if not isinstance(env, Environment):
        num_envs = min(eval_episodes, EVAL_ENVS)
        envs = HostEnvs(remake().make_env, num_envs, (), config.env_timeout, eval_episodes, "eval_args.episodes")
        evaluators = host_collect.evaluators(envs, players, env.spec, eval_episodes)
    patience = Patience("offline/holdout_nll", config.patience) if config.patience else None
    loop = make_loop(
        env, players, learner, t_max=t_max, max_minutes=max_minutes, eval_episodes=eval_episodes, eval_every=eval_every,
        train=lambda state: train(state, data, episodes), priorities=None, now=lambda state: state.updates,
        steps_per_report=config.report_every, evaluators=evaluators, patience=patience,
    )  # fmt: skip
    return OfflineRunner(learner=learner, loop=loop, rows=config.rows, rows_sum=_sum(sums), envs=envs)


def _divided(config: Config, learner: Learner, recorded: Sequence[Stream]) -> tuple[Sequence[Stream], PyTree]:
    """Return the rows that are learned from, on the host, and the episodes [G, B, L, ...] of the only dataset that are
    not, on the device.

    Raises:
      ValueError: the learner has nothing to say of them, or there is one episode alone.
    """
    if config.holdout == 0.0:
        return recorded, ()
    if learner.held_out is None:
        raise ValueError(
            f"runner_args.holdout={config.holdout}: this learner does not foretell the data's actions; set it to 0"
        )
    try:
        learned, episodes = held_out.divided(recorded[0], config.holdout)
    except ValueError as error:
        raise ValueError(f"runner_args.holdout={config.holdout}: {error}") from None
    return [learned], jax.device_put(episodes)


def _held(name: str, replay: Replay, recorded: Stream) -> PyTree:
    """Return the replay's state with the recorded rows in it, on the device.

    Raises:
      ValueError: they are too many or too few.
    """
    if replay.store.hold:
        data = replay.store.hold(recorded)
    else:
        rows = whole(recorded)
        example = jax.tree.map(lambda x: jnp.zeros(x.shape[2:], x.dtype), rows)
        empty, size = replay.store.init(example), rows.first.shape[1]
        if (room := empty.experience.first.shape[1]) < size:
            raise ValueError(f"replay_args.capacity={room} is less than the {size:,} rows; choose replay=recorded")
        data = jax.jit(replay.store.add, donate_argnums=0)(empty, rows)
    if not replay.source.ready(data):
        raise ValueError(f"{name} holds fewer rows than replay_args.min_size, or than one sequence takes")
    return data


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfflineRunner:
    """The runner that `make` returns."""

    learner: Learner
    loop: Loop
    rows: str
    rows_sum: int
    envs: HostEnvs | None = None  # those of evaluations, where they are programs outside JAX
    clock = UPDATES

    def shapes(self) -> RunState:
        return jax.eval_shape(self._init, jax.random.key(0))

    def __call__(self, seed: int, resume: RunState | None = None) -> Iterator[tuple[Report, RunState]]:
        began = time.monotonic()
        if resume is not None and int(resume.rows_sum) != self.rows_sum:
            raise RunError(f"runner_args.rows={self.rows}: these are not the rows that the run began with")
        state = compiled_once(self._init)(keys(seed)[1]) if resume is None else resume
        try:
            yield from self.loop(state, seed, began)
        finally:
            if self.envs:
                self.envs.close()

    def _init(self, key: Key) -> RunState:
        patience = self.loop.patience
        return _init(self.learner, self.rows_sum, key).replace(waited=patience.begun() if patience else ())


def _sum(sums: Sequence[int]) -> int:
    """Return one checksum of the checksums of all rows."""
    return sums[0] if len(sums) == 1 else zlib.crc32(repr(sums).encode())


def _init(learner: Learner, rows_sum: int, key: Key) -> RunState:
    learner_key, key = jax.random.split(key)
    zero = jnp.zeros((), jnp.int32)
    return RunState(
        learner=learner.init(learner_key),
        rows_sum=jnp.uint32(rows_sum),
        key=key,
        updates=zero,
        last_eval=zero,
        training_seconds=jnp.zeros(()),
    )


def _learn_one(
    learner: Learner, source: Source, newest: tuple[int], state: LearnerState, data: tuple, key: Key, progress: Array
):  # fmt: skip
    """Return the learner's state after an update on a batch of the only rows, and its metrics."""
    return learn_once(learner, source, state, data[0], key, jnp.int32(newest[0]), progress)[:2]


def _learn_several(
    learner: Learner, source: Source, newest: tuple[int, ...], state: LearnerState, data: tuple, key: Key,
    progress: Array,
):  # fmt: skip
    """Return the learner's state after an update on a batch of each of several sets of rows, and its metrics."""
    sample_key, update_key = jax.random.split(key)
    batches = [source.sample(each, jax.random.fold_in(sample_key, i), progress) for i, each in enumerate(data)]
    state, metrics, _ = learner.update(state, batches, update_key)
    drawn = [batch_metrics(batch, jnp.int32(step)) for batch, step in zip(batches, newest, strict=True)]
    return state, metrics | {name: sum(each[name] for each in drawn) / len(drawn) for name in drawn[0]}


def _report(
    learner: Learner,
    learn: Callable,
    t_max: int,
    count: int,
    state: RunState,
    data: tuple,
    episodes: PyTree,
) -> tuple[RunState, dict[str, dict[str, Any]]]:
    """Return the state after `count` updates on the data, and the sums and the count of their metrics, and of those of
    the episodes that are held out.
    """
    key, update_key = jax.random.split(state.key)
    progress = jnp.minimum(state.updates / t_max, 1.0)

    def update(learned: LearnerState, key: Key):  # the data are no part of what the loop carries, which XLA would copy
        return learn(learned, data, key, progress)

    learned, metrics = jax.lax.scan(update, state.learner, jax.random.split(update_key, count))
    state = state.replace(learner=learned, key=key, updates=state.updates + count)
    sums = {"updates": {"count": jnp.float32(count), **{name: jnp.sum(each) for name, each in metrics.items()}}}
    if jax.tree.leaves(episodes):
        judged = jax.lax.map(partial(learner.held_out, learned), episodes)
        sums["held_out"] = {name: jnp.sum(each) for name, each in judged.items()}
    return state, sums
