"""The asynchronous runner: actors in their own processes, here or on a Ray cluster;
learner and replay in this process.

A cycle is the same as in `jax_sync`: every environment takes `rollout_length` steps, the rows go into the replay, and
the learner does the due updates. The trajectories of a cycle are made with the parameters of an earlier one, at most
`max_staleness` cycles ago, because actors are not asked for more. So a slow learner slows the actors, slow actors slow
the learner, and updates and steps keep their ratio. Environments in JAX are functions, so neither speed nor the death
of an actor changes the results.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from tandem import machine
from tandem.core import (
    Acting, Environment, HostEnvironment, Key, Learner, Planner, Recorded, Replay, Report, RunPlan, Transition, setting,
)  # fmt: skip
from tandem.runners.host import collect as host_collect
from tandem.runners import jax_sync
from tandem.runners.collect import collect, start
from tandem.runners.jax_sync import ENV_STEPS, RunState
from tandem.runners.learn import Parts, absorb
from tandem.runners.loop import Loop, compiled_evaluators, keys, priorities
from tandem.runners.pretraining import pretrained
from tandem.signals import deaf


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(jax_sync.Config):
    num_actors: int = setting(
        0,
        "number of actors, each with num_envs / num_actors environments; 0 = one per core that the learner leaves free",
        low=0,
    )
    max_staleness: int = setting(
        1, "cycles that actors may be ahead of the learner; on-policy learners always use 0", low=0
    )
    reanalyse_actors: int = setting(0, "processes that reanalyse stored rows; 0 = the learner does so", low=0)
    cpus_per_actor: float = setting(1.0, "cores that Ray reserves for each actor", low=0.0)
    threads_per_actor: int = setting(1, "threads of each actor", low=1)
    actor_resources: dict = setting(
        {}, "other resources of Ray that each actor needs, {name: amount}; actors run on nodes that have them"
    )
    ray_address: str = setting(
        "", "HOST:PORT of a Ray cluster to join, or auto; '' = Ray is started on this machine for the run"
    )
    object_store_mb: int = setting(
        500, "megabytes of shared memory for trajectories and parameters, if the run starts Ray", low=80
    )
    env_timeout: float = setting(
        60.0, "seconds that a step or a reset of an environment outside JAX may take; 0 = no limit", low=0.0
    )
    actor_timeout: float = setting(
        900.0,
        "seconds that an actor may take for a cycle, a round of episodes or a batch of plans before it is "
        "started again",
        low=1.0,
    )
    max_failures: int = setting(
        50,
        "failures of actors and of environments outside JAX that a run survives within a million environment steps",
        low=0,
    )


def make(
    config: Config,
    env: Environment | HostEnvironment,
    planner: Planner,
    players: Mapping[str, Planner],
    learner: Learner,
    replay: Replay,
    *,
    remake: Callable[[], Acting],
    t_max: int,
    max_minutes: float,
    eval_episodes: int,
    eval_every: int,
    pretrain: Recorded | None = None,
) -> "AsyncRunner":
    """Return the runner: called with a seed, it yields (Report, RunState) until `t_max`
    steps or `max_minutes` are over.

    As with `jax_sync`, a yielded state is dead once the next one is requested.

    Args:
      remake: makes the acting parts in another process; picklable by name.
      pretrain: the rows that the learner is pre-trained on, if it is.

    Raises:
      ValueError: the environments cannot be divided among the actors.
    """
    num_actors = config.num_actors or default_actors(config.num_envs)
    if config.num_envs % num_actors:
        raise ValueError(
            f"runner_args.num_envs={config.num_envs} cannot be divided evenly among num_actors={num_actors}"
        )
    config = dataclasses.replace(
        config, num_actors=num_actors, max_staleness=config.max_staleness if learner.sequence_length else 0
    )
    parts = Parts(config, env, planner, learner, replay, t_max)
    in_jax, envs = isinstance(env, Environment), config.num_envs // num_actors
    return AsyncRunner(
        parts=parts,
        remake=remake,
        start=jax.jit(partial(start, env, planner, num_envs=envs)) if in_jax else None,
        evaluators=compiled_evaluators(env, players, eval_episodes)
        if in_jax
        else dict.fromkeys(players, eval_episodes),
        priorities=jax.jit(partial(priorities, replay)) if learner.sequence_length else None,
        learn=jax.jit(partial(learn, parts), donate_argnums=0),
        clocks={"t_max": t_max, "max_seconds": 60 * max_minutes, "eval_every": eval_every},
        pretrain=pretrain,
    )


plan = jax_sync.plan


def problems(config: Config, plan: RunPlan) -> list[str]:
    """Return a sentence for each setting that cannot work in a run of this length with this learner."""
    return jax_sync.problems(config, plan) + _idle_planners(config, plan)


def _idle_planners(config: Config, plan: RunPlan) -> list[str]:
    """Return a sentence if there are actors for reanalysis, but never any rows for them."""
    actors = config.reanalyse_actors
    if actors and plan.on_policy:
        return [f"runner_args.reanalyse_actors={actors}: rollouts are used once and not reanalysed; set it to 0"]
    if actors and not config.reanalyse_per_step:
        return [
            f"runner_args.reanalyse_actors={actors}: runner_args.reanalyse_per_step=0 leaves them nothing to do; "
            "set that above 0, "
            "or reanalyse_actors to 0"
        ]
    return []


def settled(args: Mapping[str, Any]) -> dict[str, Any]:
    """Return this runner's settings with the number of actors for this machine, if it was not set."""
    return {**args, "num_actors": args["num_actors"] or default_actors(args["num_envs"])}


def cores_of_learner() -> int:
    """Return the number of this machine's cores for the learner; actors use the others."""
    return max(1, len(machine.cores()) // 4)


def default_actors(num_envs: int) -> int:
    """Return the default number of actors beside the learner."""
    return most_actors(num_envs, len(machine.cores()) - cores_of_learner())


def most_actors(num_envs: int, room: int) -> int:
    """Return the largest number of actors from 1 to `room` among which the environments
    can be divided evenly.
    """
    return max(number for number in range(1, max(1, room) + 1) if num_envs % number == 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AsyncRunner:
    """The runner that `make` returns."""

    clock = ENV_STEPS
    parts: Parts
    remake: Callable[[], Acting]
    start: Callable | None  # key -> one actor's environments; None if they are not in JAX
    evaluators: dict[str, Any]  # as in Loop; if environments are not in JAX, the number of episodes that actors play
    priorities: Callable | None
    # RunState with actors=(), rows [E, T, ...] -> RunState, sums, key for planning again; donates the first
    learn: Callable
    clocks: dict[str, float]
    pretrain: Recorded | None = None

    def shapes(self) -> RunState:
        return jax.eval_shape(self.initial, 0)

    def initial(self, seed: int) -> RunState:
        """Return the state that a run with this seed begins with."""
        parts, config = self.parts, self.parts.config
        learner_key, env_key, key = jax.random.split(keys(seed)[1], 3)
        learner = jax.jit(parts.learner.init)(learner_key)
        actors = (
            tuple(self.start(jax.random.fold_in(env_key, i)) for i in range(config.num_actors)) if self.start else ()
        )
        example = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self.example())
        env_step, cycle, last_eval = (jnp.zeros((), jnp.int32) for _ in range(3))  # copies, because they are donated
        return RunState(
            learner=learner,
            replay=jax.jit(parts.replay.store.init)(example),
            actors=actors,
            key=key,
            env_step=env_step,
            cycle=cycle,
            last_eval=last_eval,
            training_seconds=jnp.zeros(()),
        )

    def example(self) -> Transition:
        """Return the structure of a row with jax.ShapeDtypeStruct leaves."""
        parts = self.parts
        params = jax.eval_shape(lambda key: parts.learner.acting(parts.learner.init(key)), jax.random.key(0))
        if not self.start:
            return host_collect.example(parts.env.spec, parts.planner, params)

        def rows(params, key):
            zero = jnp.zeros(())
            return collect(parts.env, parts.planner, params, self.start(key), key, 1, zero.astype(jnp.int32), zero)[1]

        found = jax.eval_shape(rows, params, jax.random.key(0))
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[2:], x.dtype), found)

    def __call__(self, seed: int, resume: RunState | None = None) -> Iterator[tuple[Report, RunState]]:
        from tandem.runners.actors.session import Session  # imports Ray

        began, config, known = time.monotonic(), self.parts.config, {}
        if resume is None:
            resume, known = pretrained(self.parts.learner, self.pretrain, self.initial(seed), seed)
        cycles = max(1, round(config.report_every / self.parts.steps_per_cycle))
        stack = ExitStack()
        try:
            session = Session(self, seed, cycles, stack)
            evaluators = self.evaluators
            if not self.start:
                evaluators = {name: partial(session.evaluate, name, number) for name, number in evaluators.items()}
            loop = Loop(
                train=session.train, evaluators=evaluators, priorities=self.priorities,
                steps_per_report=cycles * self.parts.steps_per_cycle, learner=self.parts.learner, **self.clocks,
            )  # fmt: skip
            for report, state in loop(resume, seed, began, known):
                yield report._replace(notes=report.notes + session.take_notes()), state
        finally:
            with deaf():  # or a second Ctrl-C leaves processes behind
                stack.close()


def learn(parts: Parts, state: RunState, rows: Transition) -> tuple[RunState, dict[str, Any], Key]:
    """Return the state after a cycle's rows [E, T, ...], the sums of its updates' metrics,
    and the key for planning again.
    """
    if parts.config.reanalyse_actors:
        parts = dataclasses.replace(parts, config=dataclasses.replace(parts.config, reanalyse_per_step=0.0))
    key, *learn_keys = jax.random.split(state.key, 3)
    learner, replay, updates = absorb(parts, state.learner, state.replay, rows, learn_keys, state.cycle, state.env_step)
    state = state.replace(
        learner=learner, replay=replay, key=key, env_step=state.env_step + parts.steps_per_cycle, cycle=state.cycle + 1
    )
    return state, updates, learn_keys[1]
