"""The steps of every runner after new rows: add them to the replay, do the due updates, reanalyse some stored rows."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from tandem.core import Array, Batch, Key, Learner, LearnerState, Planner, PyTree, Replay, Source, TimeStep, Transition
from tandem.runners.collect import as_timestep


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of a cycle."""

    config: Any  # the runner's, which has num_envs, rollout_length, updates_per_step, reanalyse_per_step
    env: Any  # Environment or HostEnvironment
    planner: Planner
    learner: Learner
    replay: Replay
    t_max: int

    @property
    def steps_per_cycle(self) -> int:
        return self.config.num_envs * self.config.rollout_length


def absorb(
    parts: Parts,
    learner: LearnerState,
    replay: PyTree,
    rows: Transition,
    keys: tuple[Key, Key],
    cycle: Array,
    env_step: Array,
) -> tuple[LearnerState, PyTree, dict[str, Array]]:
    """Return learner and replay after one cycle's rows [E, T, ...], and the sums and the count of its updates' metrics.

    Args:
      keys: for the updates and for planning again.
      cycle: [] int32, cycles before this one.
      env_step: [] int32, the run's environment steps before this cycle.
    """
    config, progress = parts.config, progress_at(parts, env_step)
    replay = parts.replay.store.add(replay, rows)
    ready = parts.replay.source.ready(replay)
    if parts.learner.sequence_length:
        due = updates_due(config.updates_per_step, config, cycle, ready)
        learner, replay, learned = _learn(
            parts, learner, replay, keys[0], due, env_step + parts.steps_per_cycle, progress
        )
    else:
        due = jnp.ones((), jnp.int32)
        learner, replay, learned = _learn_whole(parts, learner, replay, keys[0], progress)
    if config.reanalyse_per_step > 0.0:
        replay = _reanalyse(parts, learner, replay, keys[1], cycle, ready, progress)
    return learner, replay, {"count": due.astype(jnp.float32), **learned}


def progress_at(parts: Parts, env_step: Array) -> Array:
    """Return the progress of the run after this many environment steps: [] in [0, 1]."""
    return jnp.minimum(env_step / parts.t_max, 1.0)


def updates_due(per_step: float, config: Any, cycle: Array, ready: Array) -> Array:
    """Return the number [] of events in this cycle, if there are `per_step` per environment step."""
    per_cycle = per_step * config.num_envs * config.rollout_length
    due = jnp.floor((cycle + 1) * per_cycle) - jnp.floor(cycle * per_cycle)
    return jnp.where(ready, due, 0).astype(jnp.int32)


def _learn(parts: Parts, learner: LearnerState, replay: PyTree, key: Key, due: Array, env_step: Array, progress: Array):
    """Return learner and replay after `due` updates, and the sums of their metrics."""

    def update(i: Array, loop):
        learner, replay, sums = loop
        learner, metrics, index, priorities = learn_once(
            parts.learner, parts.replay.source, learner, replay, jax.random.fold_in(key, i), env_step, progress
        )
        replay = parts.replay.source.set_priorities(replay, index, priorities)
        return learner, replay, {name: total + metrics[name] for name, total in sums.items()}

    sums = {name: jnp.zeros(()) for name in (*parts.learner.metric_names, *BATCH_METRICS)}
    return jax.lax.fori_loop(0, due, update, (learner, replay, sums))


def learn_once(
    learner: Learner, source: Source, state: LearnerState, data: PyTree, key: Key, env_step: Array, progress: Array
) -> tuple[LearnerState, dict[str, Array], Array, Array]:
    """Return the learner's state after one update on a batch of the data, its metrics, and the
    batch's indices and priorities.
    """
    sample_key, update_key = jax.random.split(key)
    batch = source.sample(data, sample_key, progress)
    state, metrics, priorities = learner.update(state, batch, update_key)
    return state, metrics | batch_metrics(batch, env_step), batch.index, priorities


def _learn_whole(parts: Parts, learner: LearnerState, replay: PyTree, key: Key, progress: Array):
    """Return learner and replay after the one update with a whole rollout, and its metrics."""
    sample_key, update_key = jax.random.split(key)
    batch = parts.replay.source.sample(replay, sample_key, progress)
    learner, metrics, priorities = parts.learner.update(learner, batch, update_key)
    return learner, parts.replay.source.set_priorities(replay, batch.index, priorities), metrics


BATCH_METRICS = (
    "replay/priority_mean",
    "replay/priority_max",
    "replay/weight_mean",
    "replay/weight_min",
    "replay/age",
)


def batch_metrics(batch: Batch, env_step: Array) -> dict[str, Array]:
    """Return what is worth knowing of a batch that was drawn; `env_step` is how old the newest row is."""
    age = env_step - jnp.mean(batch.traj.env_step[:, 0].astype(jnp.float32))
    values = (jnp.mean(batch.priority), jnp.max(batch.priority), jnp.mean(batch.weight), jnp.min(batch.weight), age)
    return dict(zip(BATCH_METRICS, values, strict=True))


def _reanalyse(
    parts: Parts, learner: LearnerState, replay: PyTree, key: Key, cycle: Array, ready: Array, progress: Array
):
    """Return the replay after reanalysis of some stored rows, one sampled batch at a time."""

    def again(i: Array, replay: PyTree):
        index, seen, plan_key = draw_seen(parts.replay, replay, key, i, progress)
        carry = parts.planner.init(index.shape[0])
        _, plan = parts.planner.plan(parts.learner.acting(learner), carry, seen, plan_key, True, progress)
        return parts.replay.store.overwrite_extras(replay, index, plan.extras)

    due = replans_due(parts, replay, cycle, ready)
    return jax.lax.fori_loop(0, due, again, replay)


def draw_seen(replay: Replay, state: PyTree, key: Key, i: Array, progress: Array) -> tuple[Array, TimeStep, Key]:
    """Return the i-th batch of a cycle's reanalysis: the rows' index [B], their time steps [B,
    ...], and the plan's key.
    """
    sample_key, plan_key = jax.random.split(jax.random.fold_in(key, i))
    batch = replay.source.sample(state, sample_key, progress)
    return batch.index, as_timestep(jax.tree.map(lambda x: x[:, 0], batch.traj)), plan_key


def replans_due(parts: Parts, replay: PyTree, cycle: Array, ready: Array) -> Array:
    """Return the number [] of batches to reanalyse in this cycle."""
    shapes = jax.eval_shape(parts.replay.source.sample, replay, jax.random.key(0), jnp.zeros(()))
    return updates_due(parts.config.reanalyse_per_step / shapes.index.shape[0], parts.config, cycle, ready)
