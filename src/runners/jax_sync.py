"""The synchronous runner: collect, learn and reanalyse in one compiled loop, one host synchronisation per report.

A cycle is: every environment takes `rollout_length` steps, the rows go into the replay, the learner takes the updates
  that
are due, and some stored rows are planned again with the fresh parameters. A report is several cycles under one `jit`
with the run state donated.
"""

import dataclasses
import time
from collections.abc import Iterator, Mapping
from functools import partial

import jax
import jax.numpy as jnp

from tandem.core import (
    Array, Environment, EnvSpec, Key, Learner, LearnerState, Params, Planner, PolicyExtras, PyTree, Recorded, Replay,
    Report, RunPlan, Transition, pytree, setting,
)  # fmt: skip
from tandem.ops.clocks import step_problems
from tandem.runners.collect import Actors, collect, start
from tandem.runners.learn import Parts, absorb, progress_at
from tandem.runners.loop import Loop, compiled_once, keys, make_loop, priorities, report_problems, sums_of
from tandem.runners.pretraining import pretrained

ENV_STEPS = "environment steps"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    num_envs: int = setting(32, "E, number of parallel environments", low=1)
    rollout_length: int = setting(25, "steps of each environment per cycle", low=1)
    updates_per_step: float = setting(
        0.08, "updates per environment step; on-policy learners make one per rollout", low=0.0
    )
    reanalyse_per_step: float = setting(0.0, "stored rows planned again (reanalysed) per environment step", low=0.0)
    report_every: int = setting(1600, "environment steps per report; each report is one compiled call", low=1)


def plan(config: Config, spec: EnvSpec, discount: float, t_max: int, on_policy: bool) -> RunPlan:
    """Return the sizes of a run of `t_max` environment steps; on-policy learners update once per rollout."""
    rows = config.num_envs * config.rollout_length
    return RunPlan(
        spec=spec, discount=discount, clock=ENV_STEPS, total_steps=t_max,
        total_updates=-(-t_max // rows) if on_policy else int(t_max * config.updates_per_step),
        num_envs=config.num_envs, rollout_length=config.rollout_length, on_policy=on_policy,
    )  # fmt: skip


def problems(config: Config, plan: RunPlan) -> list[str]:
    """Return a sentence for each setting that cannot work in a run of this length with this learner."""
    rows = config.num_envs * config.rollout_length
    found = step_problems(plan.total_steps, rows, config.report_every)
    if plan.total_steps < rows:
        found.append(
            f"t_max={plan.total_steps}: less than one round of collecting, runner_args.num_envs * rollout_length = "
            f"{config.num_envs} * {config.rollout_length} = {rows} environment steps"
        )
    found += report_problems(config.report_every, plan)
    if plan.on_policy and config.reanalyse_per_step > 0:
        found.append("runner_args.reanalyse_per_step: a rollout is used once and not stored; set it to 0")
    elif isinstance(plan.extras, PolicyExtras) and config.reanalyse_per_step > 0:
        found.append("runner_args.reanalyse_per_step: a planner without search has no plans to renew; set it to 0")
    return found


@pytree
class RunState:
    """Everything that a run needs to continue."""

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
    players: Mapping[str, Planner],
    learner: Learner,
    replay: Replay,
    *,
    t_max: int,
    max_minutes: float,
    eval_episodes: int,
    eval_every: int,
    pretrain: Recorded | None = None,
) -> "SyncRunner":
    """Return the runner: called with a seed, it yields (Report, RunState) until `t_max`
    steps or `max_minutes` are over.

    A yielded state is dead once the next one is requested, because its buffers are donated. Save it before.
    `max_minutes` counts training only, from the end of the first report (which compiles); 0 means no limit.

    Args:
      pretrain: the rows that the learner is pre-trained on, if it is.
    """
    parts = Parts(config, env, planner, learner, replay, t_max)
    cycles = max(1, round(config.report_every / parts.steps_per_cycle))
    loop = make_loop(
        env, players, learner, t_max=t_max, max_minutes=max_minutes, eval_episodes=eval_episodes, eval_every=eval_every,
        train=jax.jit(partial(_report, parts, num_cycles=cycles), donate_argnums=0),
        priorities=jax.jit(partial(priorities, replay)) if learner.sequence_length else None,
        steps_per_report=cycles * parts.steps_per_cycle,
    )  # fmt: skip
    return SyncRunner(parts=parts, loop=loop, pretrain=pretrain)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyncRunner:
    """The runner that `make` returns."""

    parts: Parts
    loop: Loop
    pretrain: Recorded | None = None
    clock = ENV_STEPS

    def shapes(self) -> RunState:
        return jax.eval_shape(partial(_init, self.parts), jax.random.key(0))

    def initial(self, seed: int) -> RunState:
        """Return the state that a run with this seed begins with."""
        return compiled_once(partial(_init, self.parts))(keys(seed)[1])

    def __call__(self, seed: int, resume: RunState | None = None) -> Iterator[tuple[Report, RunState]]:
        began, state, known = time.monotonic(), resume, {}
        if state is None:
            state, known = pretrained(self.parts.learner, self.pretrain, self.initial(seed), seed)
        yield from self.loop(state, seed, began, known)


def _init(parts: Parts, key: Key) -> RunState:
    learner_key, env_key, plan_key, key = jax.random.split(key, 4)
    learner = parts.learner.init(learner_key)
    actors = start(parts.env, parts.planner, env_key, parts.config.num_envs)
    example = _example(parts, parts.learner.acting(learner), actors, plan_key)
    zero = jnp.zeros((), jnp.int32)
    return RunState(
        learner=learner,
        replay=parts.replay.store.init(example),
        actors=actors,
        key=key,
        env_step=zero,
        cycle=zero,
        last_eval=zero,
        training_seconds=jnp.zeros(()),
    )


def _example(parts: Parts, params: Params, actors: Actors, key: Key) -> Transition:
    """Return a row of zeros with the structure of the replay's rows."""
    _, rows, _ = jax.eval_shape(
        lambda: collect(parts.env, parts.planner, params, actors, key, 1, jnp.zeros((), jnp.int32), jnp.zeros(()))
    )
    return jax.tree.map(lambda x: jnp.zeros(x.shape[2:], x.dtype), rows)


def _report(parts: Parts, state: RunState, *, num_cycles: int) -> tuple[RunState, dict[str, dict[str, Array]]]:
    """Return the state after `num_cycles` cycles and the sums and counts of every metric."""

    def body(state: RunState, _):
        return _cycle(parts, state)

    state, sums = jax.lax.scan(body, state, None, length=num_cycles)
    return state, jax.tree.map(lambda x: jnp.sum(x, axis=0), sums)


def _cycle(parts: Parts, state: RunState):
    key, collect_key, *learn_keys = jax.random.split(state.key, 4)
    actors, rows, episodes = collect(
        parts.env,
        parts.planner,
        parts.learner.acting(state.learner),
        state.actors,
        collect_key,
        parts.config.rollout_length,
        state.env_step,
        progress_at(parts, state.env_step),
    )
    learner, replay, updates = absorb(parts, state.learner, state.replay, rows, learn_keys, state.cycle, state.env_step)
    state = state.replace(
        learner=learner, replay=replay, actors=actors, key=key, env_step=state.env_step + parts.steps_per_cycle,
        cycle=state.cycle + 1,
    )  # fmt: skip
    return state, {"episodes": sums_of(episodes), "plans": episodes.plans, "updates": updates}
