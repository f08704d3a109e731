"""A running asynchronous run: the fleet of actors, the learner, and statistics of both."""

import math
import os
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tandem.cluster.authentication import NoCluster
from tandem.cluster.start import cluster
from tandem.core import Key, Params, PyTree, RunError, Transition
from tandem.runners.actors import placement
from tandem.runners.jax_sync import RunState
from tandem.runners.learn import draw_seen, replans_due
from tandem.runners.actors.actor import Order, Published, Seat, Trajectory, packed, unpacked

MEGABYTE = 1e6
SECONDS_TO_CLOSE = 5.0  # for programs outside JAX
KILLED = (
    "The learner's process {pid} was killed (by hand, or because memory ran out), so the run has ended. "
    "`python src/main.py train --resume=RUN` continues from its last checkpoint."
)


class Session:
    """What `AsyncRunner` drives; Ray is started by the first call of `train` and ended by `stack`."""

    def __init__(self, runner: Any, seed: int, cycles: int, stack: ExitStack):
        """Args: cycles: of each report."""
        self.runner, self.parts, self.config = runner, runner.parts, runner.parts.config
        self.seed, self.cycles, self.stack = seed, cycles, stack
        self.fleet = self.planners = None
        self.cycle = self.env_step = 0  # learned from so far

    def train(self, state: RunState) -> tuple[RunState, dict[str, dict[str, Any]]]:
        """Return the state after a report's cycles, and the sums and counts of every metric."""
        actors, state = state.actors, state.replace(actors=())
        if self.fleet is None:
            self._begin(actors, state)
        gauges, groups = Gauges(self.config.num_actors), []
        for _ in range(self.cycles):
            state, found = self._cycle(state, gauges)
            groups.append(found)
        state = self._write_plans(state)
        sums = jax.tree.map(lambda *x: sum(x), *groups)
        failures = self.fleet.failures
        sums["actors"] = gauges.metrics() | {
            "actors/restarts": failures.restarts, "actors/env_failures": failures.env_failures,
            "actors/store_mb": placement.store_use(),
        }  # fmt: skip
        actors = tuple(
            unpacked(m.state, x) for m, x in zip(self.fleet.members, self.like, strict=False)
        )  # none of the host
        return state.replace(actors=actors), sums

    def _begin(self, actors: tuple, state: RunState) -> None:
        """Start Ray and the actors, request the first cycles, and meanwhile compile the learner's program."""
        config = self.config
        number = config.num_actors + config.reanalyse_actors
        wants = placement.wanted(config.cpus_per_actor, config.actor_resources)
        rows_like = self._rows_like()
        self._check_store(num_bytes(rows_like) / MEGABYTE)
        self._enter_cluster({name: amount * number for name, amount in wants.items()})
        placement.check_room(number, wants)
        room = self.stack.enter_context(placement.reserved(number, wants))
        from tandem.runners.actors.failures import Failures
        from tandem.runners.actors.fleet import Fleet, Replanners

        options = placement.actor_options(wants, config.threads_per_actor) | room
        self.cycle, self.env_step = int(state.cycle), int(state.env_step)
        reports = math.ceil((self.parts.t_max - self.env_step) / (self.cycles * self.parts.steps_per_cycle))
        self.last_cycle = self.cycle + max(1, reports) * self.cycles - 1
        states = [packed(one) for one in actors] or [()] * config.num_actors
        seats = [self._seat(i) for i in range(config.num_actors)]
        remake, limits = self.runner.remake, (config.actor_timeout, Failures(config.max_failures))
        self.fleet = Fleet(remake, seats, states, self.cycle, options, *limits)
        self.stack.callback(self.fleet.close, 0.0 if actors else SECONDS_TO_CLOSE)
        published = self._publish(state)
        for ahead in range(config.max_staleness + 1):
            self._request(published, ahead)
        if config.reanalyse_actors:
            self.planners = Replanners(remake, config.reanalyse_actors, options, *limits)
            self.stack.callback(self.planners.close)
            self.draw = jax.jit(partial(draw_seen, self.parts.replay))
            self.overwrite = jax.jit(self.parts.replay.store.overwrite_extras, donate_argnums=0)
            self.due = jax.jit(
                lambda replay, cycle: replans_due(self.parts, replay, cycle, self.parts.replay.source.ready(replay))
            )
            self.drawn: list[jax.Array] = []  # index of the rows that are being planned again
        self.like = jax.eval_shape(lambda: actors)
        self.learn = self.runner.learn.lower(state, rows_like).compile()

    def _enter_cluster(self, resources: dict[str, float]) -> None:
        config, store_bytes = self.config, int(self.config.object_store_mb * MEGABYTE)
        try:
            self.stack.enter_context(
                cluster(config.ray_address, resources, store_bytes, KILLED.format(pid=os.getpid()))
            )
        except NoCluster as error:
            raise RunError(f"runner_args.ray_address={error}") from None

    def _seat(self, index: int) -> Seat:
        config = self.config
        return Seat(
            index=index,
            num_envs=config.num_envs // config.num_actors,
            all_envs=config.num_envs,
            rollout_length=config.rollout_length,
            seed=self.seed,
            env_timeout=config.env_timeout,
            max_failures=config.max_failures,
        )

    def _rows_like(self) -> Transition:
        shape = (self.config.num_envs, self.config.rollout_length)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(shape + x.shape, x.dtype), self.runner.example())

    def _check_store(self, cycle: float) -> None:
        """Raise if Ray's store, if started for the run, cannot hold the waiting cycles of this many
        megabytes each.
        """
        config = self.config
        needed = cycle * (config.max_staleness + 1)
        if not config.ray_address and needed > config.object_store_mb:
            raise RunError(
                f"runner_args.object_store_mb={config.object_store_mb}: a cycle's rows, num_envs * rollout_length "
                f"= {config.num_envs} "
                f"* {config.rollout_length}, take {cycle:,.0f} MB, and {config.max_staleness + 1} cycles may wait "
                "in Ray's store; "
                "choose fewer environments or shorter rollouts, or "
                f"runner_args.object_store_mb={math.ceil(1.2 * needed)}"
            )

    def _publish(self, state: RunState) -> Any:
        """Return a reference to the parameters, which later updates do not change; waits for pending updates."""
        params = jax.device_get(
            self.parts.learner.acting(state.learner)
        )  # not stored, because it may be a view of a buffer that is donated next
        self.params_bytes = num_bytes(params)
        return placement.ray.put(Published(self.cycle, params))

    def _request(self, published: Any, ahead: int) -> None:
        """Ask for the cycle that comes `ahead` cycles after the next, if the run will need it."""
        if self.cycle + ahead <= self.last_cycle:
            env_step = self.env_step + ahead * self.parts.steps_per_cycle
            self.fleet.request(published, Order(self.cycle + ahead, env_step, self._progress(env_step)))

    def _progress(self, env_step: int) -> float:
        return min(env_step / self.parts.t_max, 1.0)

    def _cycle(self, state: RunState, gauges: "Gauges") -> tuple[RunState, dict[str, dict[str, Any]]]:
        """Return the state after one cycle and the sums of its metrics."""
        began, queue, cycle = time.perf_counter(), self.fleet.num_waiting(), self.cycle
        self.fleet.failures.env_step = self.env_step
        state = self._write_plans(state)
        trajectories, fetching = self.fleet.take(cycle)
        taken = time.perf_counter()
        rows = joined(trajectories)
        joining = time.perf_counter() - taken
        gauges.bytes = num_bytes(rows) + self.params_bytes
        state, updates, key = self.learn(state, rows)
        progress = self._progress(self.env_step)
        self.cycle, self.env_step = cycle + 1, self.env_step + self.parts.steps_per_cycle
        published = self._publish(state)
        self._request(published, self.config.max_staleness)
        if self.planners:
            self._request_plans(state, published, cycle, key, progress)
        gauges.add(
            trajectories, cycle, queue, taken - began - fetching, fetching + joining, time.perf_counter() - began
        )
        groups = [{"episodes": one.episodes, "plans": one.plans} for one in trajectories]
        return state, jax.tree.map(lambda *x: sum(x), *groups) | {"updates": jax.device_get(updates)}

    def _request_plans(self, state: RunState, published: Any, cycle: int, key: Key, progress: float) -> None:
        """Start planning stored rows again; nothing may be added to the replay before they are written."""
        jobs, self.drawn, progress = [], [], jnp.float32(progress)
        for i in range(int(self.due(state.replay, jnp.int32(cycle)))):
            index, seen, plan_key = self.draw(state.replay, key, jnp.int32(i), progress)
            self.drawn.append(index)
            jobs.append(
                (published, jax.device_get(seen), np.asarray(jax.random.key_data(plan_key)), np.asarray(progress))
            )
        self.planners.request(jobs)

    def _write_plans(self, state: RunState) -> RunState:
        """Return the state with the requested plans in its replay."""
        if self.planners is None or not self.planners.tasks:
            return state
        replay = state.replay
        for index, extras in zip(self.drawn, self.planners.take(), strict=True):
            replay = self.overwrite(replay, index, extras)
        return state.replace(replay=replay)

    def evaluate(self, name: str, num_episodes: int, params: Params, key: Key) -> dict[str, np.ndarray]:
        """Return the scores of greedy episodes that the actors play; as an evaluator of Loop."""
        return self.fleet.evaluate(self.cycle, name, params, key, num_episodes)

    def take_notes(self) -> tuple[str, ...]:
        return self.fleet.failures.take_notes() if self.fleet else ()


class Gauges:
    """Statistics of actors and learner during one report."""

    def __init__(self, num_actors: int):
        self.acting, self.steps = np.zeros(num_actors), np.zeros(num_actors)  # seconds, environment steps
        self.staleness: list[int] = []
        self.queue: list[int] = []
        self.idle = self.transport = self.total = 0.0  # seconds
        self.bytes = 0  # of a cycle's rows and of the parameters

    def add(self, taken: list[Trajectory], cycle: int, queue: int, idle: float, transport: float, total: float) -> None:
        for trajectory in taken:
            self.acting[trajectory.index] += trajectory.seconds
            self.steps[trajectory.index] += trajectory.rows.first.size
            self.staleness.append(cycle - trajectory.version)
        self.queue.append(queue)
        self.idle += idle
        self.transport += transport + sum(trajectory.packing_seconds for trajectory in taken)
        self.total += total

    def metrics(self) -> dict[str, float]:
        """Return a group of metrics that is counted once."""
        speeds = self.steps / np.maximum(self.acting, 1e-9)
        return {
            "count": 1.0,
            "actors/staleness": float(np.mean(self.staleness)),  # age of the acting parameters in learning cycles
            "actors/queue": float(np.mean(self.queue)),  # trajectories that waited for the learner
            "actors/learner_idle": self.idle / max(self.total, 1e-9),  # share of time
            "actors/transport": self.transport / max(float(self.acting.sum()), 1e-9),  # over the actors' time
            "actors/cycle_mb": self.bytes / MEGABYTE,
        } | {f"actors/steps_per_second/actor_{i}": float(speed) for i, speed in enumerate(speeds)}


def num_bytes(tree: PyTree) -> int:
    """Return the bytes of all leaves, which are arrays or their shapes."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def joined(trajectories: list[Trajectory]) -> Transition:
    """Return the rows of all actors as one cycle's [E, T, ...]."""
    return jax.tree.map(lambda *x: np.concatenate(x) if len(x) > 1 else x[0], *[one.rows for one in trajectories])
