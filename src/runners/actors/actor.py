"""The code of an actor's process: a planner with environments, compiled or on the host, or a planner alone.

The platform and threads of the process are set before it imports this module, and with it JAX.
"""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Acting, Params, PyTree, TimeStep
from tandem.runners.collect import collect, start
from tandem.runners.host.collect import HostActors, evaluate
from tandem.runners.host.envs import HostEnvs
from tandem.runners.loop import actor_key

TRAINING, EVALUATION = 0, 1  # kinds of random streams


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seat:
    """An actor's place in a run."""

    index: int  # among the actors
    num_envs: int  # of this actor
    all_envs: int  # of all actors
    rollout_length: int
    seed: int
    env_timeout: float
    max_failures: int


class Order(NamedTuple):
    """An actor's orders for one cycle."""

    cycle: int
    env_step: int  # the run's environment steps before the cycle
    progress: float  # in [0, 1]


class Published(NamedTuple):
    """Parameters as NumPy leaves, and the number of learning cycles that made them."""

    version: int
    params: Params


class Trajectory(NamedTuple):
    """An actor's result of one cycle, with NumPy leaves."""

    index: int
    cycle: int
    version: int  # version of the parameters that made it
    rows: Any  # Transition [E, T, ...]
    episodes: dict[str, float]  # count and sums of the episodes that ended
    state: PyTree  # state of compiled environments, to continue from; () for environments on the host
    seconds: float  # spent acting
    packing_seconds: float  # spent on copying it to the host's memory
    failures: tuple[str, ...]  # tracebacks of environments
    plans: dict[str, float] = {}  # the planner's metrics, as in Episodes


class Actor:
    """Acts as ordered, one call at a time."""

    def __init__(self, remake: Callable[[], Acting], seat: Seat, born: tuple[int, int], state: PyTree):
        """Args:
        born: the first cycle of this process, and the number of its predecessors; unique among the processes.
        state: of compiled environments, from which they continue.
        """
        acting = remake()
        self.seat, self.key = seat, actor_key(seat.seed, seat.index)
        self.body = (HostBody if acting.host else CompiledBody)(acting, seat, born, state)

    def collect(self, published: Published, order: Order) -> Trajectory:
        """Return the trajectory of a cycle, which depends on order, parameters and the environments' state alone."""
        return self.body.collect(jax.random.fold_in(self.key, order.cycle), published, order)

    def evaluate(
        self, name: str, params: Params, key_data: np.ndarray, seeds: list[int]
    ) -> tuple[dict, tuple[str, ...]]:
        """Return the scores of greedy episodes on the host, and tracebacks of failures."""
        return self.body.evaluate(name, params, jax.random.wrap_key_data(key_data), seeds)

    def close(self) -> None:
        """End the environments that are programs."""
        self.body.close()


class CompiledBody:
    """Environments in JAX: a rollout is one compiled call."""

    def __init__(self, acting: Acting, seat: Seat, born: tuple[int, int], state: PyTree):
        del born
        env, planner, self.seat = acting.make_env(), acting.planner, seat
        like = jax.eval_shape(partial(start, env, planner, num_envs=seat.num_envs), jax.random.key(0))
        self.state = unpacked(state, like)

        def run(params, state, key, made_at, progress):
            state, rows, episodes = collect(
                env, planner, params, state, key, seat.rollout_length, jnp.int32(0), progress
            )
            return state, rows.replace(env_step=jnp.broadcast_to(made_at, rows.env_step.shape)), episodes

        self.run = jax.jit(run)

    def collect(self, key: jax.Array, published: Published, order: Order) -> Trajectory:
        began = time.perf_counter()
        made_at, progress = stamps(self.seat, order), np.float32(order.progress)
        done = self.run(published.params, self.state, key, made_at, progress)
        self.state, rows, episodes = jax.block_until_ready(done)
        acted = time.perf_counter()
        rows, episodes, state = jax.device_get(rows), jax.device_get(episodes), packed(self.state)
        return Trajectory(
            index=self.seat.index,
            cycle=order.cycle,
            version=published.version,
            rows=rows,
            episodes=sums(episodes),
            state=state,
            seconds=acted - began,
            packing_seconds=time.perf_counter() - acted,
            failures=(),
            plans=episodes.plans,
        )

    def close(self) -> None:
        """Nothing has to be ended."""


class HostBody:
    """Environments on the host. They end with the process, and its successor begins new episodes with other seeds.

    Evaluations have their own environments, so that they do not interrupt training episodes. These are closed when
    acting continues, because StarCraft takes 1 GB. Keeping it open would save no start, because it restarts for
    every seed.
    """

    def __init__(self, acting: Acting, seat: Seat, born: tuple[int, int], state: PyTree):
        del state
        self.acting, self.seat, self.spec = acting, seat, acting.make_env().spec
        envs = self._envs(TRAINING, born, worked=False)
        self.actors = HostActors(envs, acting.planner, self.spec)
        self.trial_envs: HostEnvs | None = None  # of a running evaluation

    def _envs(self, kind: int, born: tuple[int, int], worked: bool) -> HostEnvs:
        seat = self.seat
        stream = (seat.seed, kind, seat.index, *born)
        return HostEnvs(self.acting.make_env, seat.num_envs, stream, seat.env_timeout, seat.max_failures, worked=worked)

    def collect(self, key: jax.Array, published: Published, order: Order) -> Trajectory:
        self._end_evaluation()
        began, seat = time.perf_counter(), self.seat
        made_at = stamps(seat, order)
        rows, episodes = self.actors.collect(published.params, key, seat.rollout_length, made_at, order.progress)
        return Trajectory(
            index=seat.index,
            cycle=order.cycle,
            version=published.version,
            rows=rows,
            episodes=sums(episodes),
            state=(),
            seconds=time.perf_counter() - began,
            packing_seconds=0.0,
            failures=self.actors.envs.take_failures(),
            plans=episodes.plans,
        )

    def evaluate(self, name: str, params: Params, key: jax.Array, seeds: list[int]) -> tuple[dict, tuple[str, ...]]:
        self.trial_envs = self.trial_envs or self._envs(EVALUATION, (0, 0), self.actors.envs.worked)
        planner = self.acting.players[name]
        scores = evaluate(self.trial_envs, planner, self.spec, params, key, seeds)
        return scores, self.trial_envs.take_failures()

    def _end_evaluation(self) -> None:
        if self.trial_envs:
            self.trial_envs.close()
            self.trial_envs = None

    def close(self) -> None:
        self.actors.envs.close()
        self._end_evaluation()


class Replanner:
    """A planner without environments, for reanalysis of stored rows."""

    def __init__(self, remake: Callable[[], Acting]):
        planner = remake().planner

        def plan(params, seen: TimeStep, key, progress):
            return planner.plan(params, planner.init(seen.first.shape[0]), seen, key, True, progress)[1].extras

        self.plan = jax.jit(plan)

    def replan(self, published: Published, seen: TimeStep, key_data: np.ndarray, progress: np.ndarray) -> PyTree:
        """Return the extras [B, ...] of plans for steps [B, ...]."""
        return jax.device_get(self.plan(published.params, seen, jax.random.wrap_key_data(key_data), progress))


def stamps(seat: Seat, order: Order) -> np.ndarray:
    """Return the run's environment steps before each step of a cycle, [T] int32."""
    return (order.env_step + np.arange(seat.rollout_length) * seat.all_envs).astype(np.int32)


def sums(episodes: Any) -> dict[str, float]:
    """Return finished episodes as a group of metrics."""
    return {"count": float(episodes.count)} | {f"train/{name}": float(total) for name, total in episodes.sums.items()}


def packed(state: PyTree) -> PyTree:
    """Return a state with NumPy leaves; random keys become plain numbers."""
    return jax.tree.map(lambda x: np.asarray(jax.random.key_data(x) if is_key(x) else x), state)


def unpacked(state: PyTree, like: PyTree) -> PyTree:
    """Return the packed state, on the device."""

    def back(x: np.ndarray, like: Any) -> jax.Array:
        return jax.random.wrap_key_data(jnp.asarray(x)) if is_key(like) else jnp.asarray(x)

    return jax.tree.map(back, state, like)


def is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
