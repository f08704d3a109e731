"""The synchronous runner: collect, learn and reanalyse in one compiled loop, one host synchronisation per report.

A cycle is: every environment takes `rollout_length` steps, the rows go into the replay, the learner takes the updates that
are due, and some stored rows are planned again with the fresh parameters. A report is several cycles under one `jit` with
the run state donated.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from src.core import (
    Array, Environment, Key, Learner, LearnerState, Params, Planner, PyTree, Replay, Report, Transition, pytree,
    setting,
)
from src.runners.collect import Actors, as_timestep, collect, evaluate, start


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    num_envs: int = setting(32, "E, environments stepped side by side", low=1)
    rollout_length: int = setting(25, "steps each environment takes per cycle", low=1)
    updates_per_step: float = setting(0.08, "updates per environment step; learners from rollouts take one per rollout", low=0.0)
    reanalyse_per_step: float = setting(0.0, "stored rows planned again per environment step", low=0.0)
    report_every: int = setting(1600, "environment steps per report; one compiled call each", low=1)


@pytree
class RunState:
    """Everything a run needs to go on."""

    learner: LearnerState
    replay: PyTree
    actors: Actors
    key: Key
    env_step: Array  # [] int32
    cycle: Array  # [] int32
    last_eval: Array  # [] int32 environment steps at the last evaluation; this and the next are kept by the host
    training_seconds: Array  # [] float32


def make(
    config: Config,
    env: Environment,
    planner: Planner,
    policy_planner: Planner,
    learner: Learner,
    replay: Replay,
    *,
    t_max: int,
    max_minutes: float,
    eval_episodes: int,
    eval_every: int,
    autoregressive_planner: Planner | None = None,
) -> "SyncRunner":
    """Return the runner: called with a seed, it yields (Report, RunState) until `t_max` steps or `max_minutes` are over.

    A yielded state is dead once the next one is asked for: its buffers are donated. Save it before.
    `max_minutes` counts training alone, from the end of the first report (which compiles); 0 means no limit.
    """
    parts = Parts(config, env, planner, learner, replay, t_max)
    players = {"search": planner, "autoregressive": autoregressive_planner, "policy": policy_planner}
    if planner is policy_planner:
        del players["search"]
    cycles = max(1, round(config.report_every / (config.num_envs * config.rollout_length)))
    return SyncRunner(
        parts=parts,
        steps_per_report=cycles * config.num_envs * config.rollout_length,
        train=jax.jit(partial(_report, parts, num_cycles=cycles), donate_argnums=0),
        evaluators={
            name: jax.jit(partial(evaluate, env, player, num_episodes=eval_episodes)) for name, player in players.items() if player
        },
        priorities=jax.jit(partial(_priorities, replay)) if learner.sequence_length else None,
        max_seconds=60 * max_minutes,
        eval_every=eval_every,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyncRunner:
    """The runner that `make` returns."""

    parts: "Parts"
    steps_per_report: int  # environment steps
    train: Callable  # state -> state, sums; donates its argument
    evaluators: Mapping[str, Callable]  # by name: params, key -> {metric: [episodes]}, entropy [episodes, N]
    priorities: Callable | None  # replay state, key -> [B] of a sample; None where nothing is kept to sample from
    max_seconds: float
    eval_every: int

    def shapes(self) -> RunState:
        return jax.eval_shape(partial(_init, self.parts), jax.random.key(0))

    def initial(self, seed: int) -> RunState:
        """Return the state that a run with this seed begins with."""
        return jax.jit(partial(_init, self.parts))(_keys(seed)[1])

    def __call__(self, seed: int, resume: RunState | None = None) -> Iterator[tuple[Report, RunState]]:
        began = time.monotonic()
        eval_key, _ = _keys(seed)
        state = self.initial(seed) if resume is None else resume
        last_eval, training_seconds = int(state.last_eval), float(state.training_seconds)
        first, over = True, self._over(int(state.env_step), training_seconds)
        while not over:
            call_began = time.monotonic()
            state, summed = self.train(state)
            metrics = _means(jax.device_get(summed))
            env_step, update = int(state.env_step), int(state.learner.step)
            seconds = time.monotonic() - call_began
            if first:  # it compiled
                metrics["time/startup_seconds"], first = time.monotonic() - began, False
            else:
                training_seconds += seconds
                metrics["time/steps_per_second"] = self.steps_per_report / seconds
            over, histograms = self._over(env_step, training_seconds), {}
            if over or env_step - last_eval >= self.eval_every:
                evaluation, histograms = self._evaluation(state, jax.random.fold_in(eval_key, env_step))
                metrics |= evaluation
                last_eval = env_step
            metrics["time/training_seconds"] = training_seconds
            state = state.replace(last_eval=jnp.int32(last_eval), training_seconds=jnp.float32(training_seconds))
            yield Report(env_step, update, metrics, histograms), state

    def _over(self, env_step: int, training_seconds: float) -> bool:
        return env_step >= self.parts.t_max or 0 < self.max_seconds <= training_seconds

    def _evaluation(self, state: RunState, key: Key) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Return the metrics of every evaluator and the time they took, and the distributions worth a look."""
        began, metrics, histograms = time.monotonic(), {}, {}
        for name, evaluator in self.evaluators.items():
            scores = jax.device_get(evaluator(state.learner.params, key))
            metrics |= _summary(name, scores)
            histograms |= {f"histograms/{name}_entropy/agent_{i}": values for i, values in enumerate(scores["entropy"].T)}
        if self.priorities:
            priorities = jax.device_get(self.priorities(state.replay, key))
            if np.ptp(priorities):  # where all are equal, as in uniform sampling, there is nothing to see
                histograms["histograms/priority"] = priorities
        return metrics | {"time/eval_seconds": time.monotonic() - began}, histograms


def _keys(seed: int) -> tuple[Key, Key]:
    """Return the random keys of evaluations and of everything else."""
    eval_key, init_key = jax.random.split(jax.random.key(seed))
    return eval_key, init_key


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a cycle is made of."""

    config: Config
    env: Environment
    planner: Planner
    learner: Learner
    replay: Replay
    t_max: int


def _init(parts: Parts, key: Key) -> RunState:
    learner_key, env_key, plan_key, key = jax.random.split(key, 4)
    learner = parts.learner.init(learner_key)
    actors = start(parts.env, parts.planner, env_key, parts.config.num_envs)
    _, rows, _ = jax.eval_shape(
        lambda: collect(parts.env, parts.planner, learner.params, actors, plan_key, 1, jnp.zeros((), jnp.int32), jnp.zeros(()))
    )
    example = jax.tree.map(lambda x: jnp.zeros(x.shape[2:], x.dtype), rows)
    zero = jnp.zeros((), jnp.int32)
    return RunState(
        learner=learner, replay=parts.replay.init(example), actors=actors, key=key, env_step=zero, cycle=zero,
        last_eval=zero, training_seconds=jnp.zeros(()),
    )


def _report(parts: Parts, state: RunState, *, num_cycles: int) -> tuple[RunState, dict[str, dict[str, Array]]]:
    """Return the state after `num_cycles` cycles and the sums and counts of every metric."""

    def body(state: RunState, _):
        return _cycle(parts, state)

    state, sums = jax.lax.scan(body, state, None, length=num_cycles)
    return state, jax.tree.map(lambda x: jnp.sum(x, axis=0), sums)


def _cycle(parts: Parts, state: RunState):
    config = parts.config
    progress = jnp.minimum(state.env_step / parts.t_max, 1.0)
    key, collect_key, learn_key, reanalyse_key = jax.random.split(state.key, 4)
    actors, rows, episodes = collect(
        parts.env, parts.planner, state.learner.params, state.actors, collect_key, config.rollout_length, state.env_step, progress
    )
    replay = parts.replay.add(state.replay, rows)
    ready = parts.replay.ready(replay)
    env_step = state.env_step + config.num_envs * config.rollout_length
    if parts.learner.sequence_length:
        due = _due(config.updates_per_step, config, state.cycle, ready)
        learner, replay, learned = _learn(parts, state.learner, replay, learn_key, due, env_step, progress)
    else:
        due = jnp.ones((), jnp.int32)
        learner, replay, learned = _learn_whole(parts, state.learner, replay, learn_key, progress)
    if config.reanalyse_per_step > 0.0:
        replay = _reanalyse(parts, learner, replay, reanalyse_key, state.cycle, ready, progress)
    state = state.replace(
        learner=learner, replay=replay, actors=actors, key=key, env_step=env_step, cycle=state.cycle + 1
    )
    episode_sums = {f"train/{name}": total for name, total in episodes.sums.items()}
    return state, {"episodes": {"count": episodes.count, **episode_sums}, "updates": {"count": due.astype(jnp.float32), **learned}}


def _due(per_step: float, config: Config, cycle: Array, ready: Array) -> Array:
    """Return how many of something that happens `per_step` times per environment step fall into this cycle: []."""
    per_cycle = per_step * config.num_envs * config.rollout_length
    due = jnp.floor((cycle + 1) * per_cycle) - jnp.floor(cycle * per_cycle)
    return jnp.where(ready, due, 0).astype(jnp.int32)


def _learn(parts: Parts, learner: LearnerState, replay: PyTree, key: Key, due: Array, env_step: Array, progress: Array):
    """Return learner and replay after `due` updates, and the sums of their metrics."""

    def update(i: Array, loop):
        learner, replay, sums = loop
        sample_key, update_key = jax.random.split(jax.random.fold_in(key, i))
        batch = parts.replay.sample(replay, sample_key, progress)
        learner, metrics, priorities = parts.learner.update(learner, batch, update_key)
        replay = parts.replay.set_priorities(replay, batch.index, priorities)
        metrics = metrics | _batch_metrics(batch, env_step)
        return learner, replay, {name: total + metrics[name] for name, total in sums.items()}

    names = (*parts.learner.metric_names, *BATCH_METRICS)
    sums = {name: jnp.zeros(()) for name in names}
    return jax.lax.fori_loop(0, due, update, (learner, replay, sums))


def _learn_whole(parts: Parts, learner: LearnerState, replay: PyTree, key: Key, progress: Array):
    """Return learner and replay after the one update that a whole rollout is for, and its metrics."""
    sample_key, update_key = jax.random.split(key)
    batch = parts.replay.sample(replay, sample_key, progress)
    learner, metrics, priorities = parts.learner.update(learner, batch, update_key)
    return learner, parts.replay.set_priorities(replay, batch.index, priorities), metrics


BATCH_METRICS = (
    "replay/priority_mean", "replay/priority_max", "replay/weight_mean", "replay/weight_min", "replay/age",
)


def _batch_metrics(batch, env_step: Array) -> dict[str, Array]:
    age = env_step - jnp.mean(batch.traj.env_step[:, 0].astype(jnp.float32))
    values = (jnp.mean(batch.priority), jnp.max(batch.priority), jnp.mean(batch.weight), jnp.min(batch.weight), age)
    return dict(zip(BATCH_METRICS, values, strict=True))


def _reanalyse(parts: Parts, learner: LearnerState, replay: PyTree, key: Key, cycle: Array, ready: Array, progress: Array):
    """Return the replay with the plans of some stored rows made anew, a sampled batch of them at a time."""

    def again(i: Array, replay: PyTree):
        sample_key, plan_key = jax.random.split(jax.random.fold_in(key, i))
        batch = parts.replay.sample(replay, sample_key, progress)
        row: Transition = jax.tree.map(lambda x: x[:, 0], batch.traj)
        carry = parts.planner.init(row.action.shape[0])
        _, plan = parts.planner.plan(learner.params, carry, as_timestep(row), plan_key, True, progress)
        return parts.replay.overwrite_extras(replay, batch.index, plan.extras)

    shapes = jax.eval_shape(parts.replay.sample, replay, key, progress)
    due = _due(parts.config.reanalyse_per_step / shapes.index.shape[0], parts.config, cycle, ready)
    return jax.lax.fori_loop(0, due, again, replay)


def _means(sums: dict[str, dict[str, np.ndarray]]) -> dict[str, float]:
    """Return the mean of every metric that was seen at all."""
    means = {}
    for group in sums.values():
        count = float(group["count"])
        if count > 0:
            means |= {name: float(total) / count for name, total in group.items() if name != "count"}
    return means


def _priorities(replay: Replay, state: PyTree, key: Key) -> Array:
    """Return the priorities [B] of a sample; the rows themselves are not gathered, for nobody asks for them."""
    return replay.sample(state, key, jnp.ones(())).priority


def _summary(name: str, scores: dict[str, np.ndarray]) -> dict[str, float]:
    metrics = {f"eval/{name}/{metric}": float(np.mean(values)) for metric, values in scores.items()}
    returns = scores["return"]
    metrics[f"eval/{name}/return_stderr"] = float(np.std(returns, ddof=1) / len(returns) ** 0.5) if len(returns) > 1 else 0.0
    return metrics
