"""The actors of a run from the view of the learner's process: their orders, their results, and
the replacement of dead ones.

Every actor executes its own orders, cycle after cycle. An actor that dies is replaced by one that continues after the
last trajectory that was taken, with the remaining orders. So every cycle's trajectory is taken once and complete.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import jax
import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

from tandem.core import Acting, Key, Params, PyTree
from tandem.runners.actors.actor import Actor, Order, Replanner, Seat, Trajectory
from tandem.runners.actors.failures import Failures, Loss, loss, problem

POLL_SECONDS = 1.0


@dataclasses.dataclass
class Member:
    """An actor and its work."""

    seat: Seat
    state: PyTree  # of its environments after the last trajectory that was taken
    handle: Any = None
    lives: int = 0
    orders: dict[int, tuple] = dataclasses.field(default_factory=dict)  # by cycle: reference to parameters, order
    tasks: dict[int, Any] = dataclasses.field(default_factory=dict)  # by cycle: reference to the trajectory

    @property
    def name(self) -> str:
        return f"actor {self.seat.index}"


class Fleet:
    """All actors of a run; every method is called from one thread."""

    def __init__(
        self,
        remake: Callable[[], Acting],
        seats: Sequence[Seat],
        states: Sequence[PyTree],
        cycle: int,
        options: dict[str, Any],
        actor_timeout: float,
        failures: Failures,
    ):
        """Args:
        states: of each actor's environments.
        cycle: the first cycle that will be requested.
        options: Ray's, for each actor.
        actor_timeout: seconds for a trajectory, after which an actor counts as hanging.
        """
        self.remake, self.options, self.actor_timeout, self.failures = remake, options, actor_timeout, failures
        self.members = [Member(seat, state) for seat, state in zip(seats, states, strict=True)]
        for member in self.members:
            self._hire(member, cycle)

    def request(self, published: Any, order: Order) -> None:
        """Ask every actor for a cycle; `published` is a reference."""
        for member in self.members:
            member.orders[order.cycle] = (published, order)
            member.tasks[order.cycle] = member.handle.collect.remote(published, order)

    def take(self, cycle: int) -> tuple[list[Trajectory], float]:
        """Return every actor's trajectory of a cycle, in the actors' order, and the seconds that the transfer took.

        Raises:
          RunError: an actor has a problem that would not go away, or there were too many.
        """
        taken: dict[int, Trajectory] = {}
        seconds, began = 0.0, {member.seat.index: time.monotonic() for member in self.members}
        while len(taken) < len(self.members):
            waiting = [member for member in self.members if member.seat.index not in taken]
            ray.wait([member.tasks[cycle] for member in waiting], timeout=POLL_SECONDS)
            for member in waiting:
                fetching = time.perf_counter()
                trajectory = self._fetch(member, cycle)
                if trajectory is not None:
                    taken[member.seat.index] = trajectory
                    seconds += time.perf_counter() - fetching
                elif time.monotonic() - began[member.seat.index] > self.actor_timeout:
                    self._replace(
                        member,
                        cycle,
                        Loss(f"no trajectory for {self.actor_timeout:g} seconds (runner_args.actor_timeout)"),
                    )
                    began[member.seat.index] = time.monotonic()
        return [taken[member.seat.index] for member in self.members], seconds

    def _fetch(self, member: Member, cycle: int) -> Trajectory | None:
        """Return an actor's trajectory if it is ready; replace the actor if it is gone."""
        if not ray.wait([member.tasks[cycle]], timeout=0)[0]:
            return None
        try:
            trajectory = ray.get(member.tasks[cycle])
        except RayTaskError as error:
            raise problem(error) from None
        except RayError as error:
            self._replace(member, cycle, loss(error, self.actor_timeout))
            return None
        assert (trajectory.index, trajectory.cycle) == (member.seat.index, cycle)
        member.state = trajectory.state
        del member.orders[cycle], member.tasks[cycle]
        self.failures.of_environments(member.name, trajectory.failures)
        return trajectory

    def _hire(self, member: Member, cycle: int) -> None:
        actor = ray.remote(**self.options)(Actor)
        member.handle = actor.remote(self.remake, member.seat, (cycle, member.lives), member.state)
        member.lives += 1

    def _replace(self, member: Member, cycle: int, why: Loss) -> None:
        """Replace an actor's process and request its remaining cycles again."""
        self.failures.restarted(member.name, why)
        with suppress(RayError, ValueError):
            ray.kill(member.handle)
        self._hire(member, cycle)
        for wanted in sorted(member.orders):
            member.tasks[wanted] = member.handle.collect.remote(*member.orders[wanted])

    def close(self, seconds: float) -> None:
        """End the actors, even if Ray keeps running; their environments' programs get this time to end."""
        with suppress(Exception):
            if seconds:
                closing = [member.handle.close.remote() for member in self.members]
                ray.wait(closing, num_returns=len(closing), timeout=seconds)
        for member in self.members:
            with suppress(Exception):
                ray.kill(member.handle)
            member.orders.clear()  # references should not outlive Ray
            member.tasks.clear()

    def num_waiting(self) -> int:
        """Return the number of trajectories that are ready and not yet taken."""
        tasks = [task for member in self.members for task in member.tasks.values()]
        return len(ray.wait(tasks, num_returns=len(tasks), timeout=0)[0]) if tasks else 0

    def evaluate(self, cycle: int, name: str, params: Params, key: Key, num_episodes: int) -> dict[str, np.ndarray]:
        """Return the scores of greedy episodes on the host, divided among all actors;
        the key seeds their beginnings.
        """
        seeds = jax.random.randint(key, (num_episodes,), 0, np.iinfo(np.int32).max).tolist()
        shares = [list(range(i, num_episodes, len(self.members))) for i in range(len(self.members))]
        params, key_data = ray.put(jax.device_get(params)), np.asarray(jax.random.key_data(key))
        jobs = {
            member.seat.index: [name, params, key_data, [seeds[n] for n in share]]
            for member, share in self._shared(shares)
        }
        tasks = {
            member.seat.index: member.handle.evaluate.remote(*jobs[member.seat.index])
            for member, _ in self._shared(shares)
        }
        scores: dict[str, np.ndarray] = {}
        for member, share in self._shared(shares):
            found = self._evaluated(member, cycle, tasks[member.seat.index], jobs[member.seat.index])
            for metric, values in found.items():
                scores.setdefault(metric, np.zeros((num_episodes, *values.shape[1:]), np.float32))[share] = values
        return scores

    def _shared(self, shares: list[list[int]]) -> list[tuple[Member, list[int]]]:
        return [(member, share) for member, share in zip(self.members, shares, strict=True) if share]

    def _evaluated(self, member: Member, cycle: int, task: Any, job: list) -> dict[str, np.ndarray]:
        """Return an actor's scores. An actor that is gone or hangs is replaced, and its
        successor plays the episodes again.
        """
        rounds = -(-len(job[-1]) // member.seat.num_envs)
        seconds = self.actor_timeout * (len(member.orders) + rounds)  # it finishes its orders first
        while True:
            try:
                scores, failures = ray.get(task, timeout=seconds)
            except RayTaskError as error:
                raise problem(error) from None
            except RayError as error:
                self._replace(member, cycle, loss(error, seconds))
                task = member.handle.evaluate.remote(*job)
            else:
                self.failures.of_environments(member.name, failures)
                return scores


class Replanners:
    """Planners without environments. They have no state, so one that dies or hangs is simply replaced."""

    def __init__(
        self,
        remake: Callable[[], Acting],
        number: int,
        options: dict[str, Any],
        actor_timeout: float,
        failures: Failures,
    ):
        """Args: actor_timeout: seconds for a job, after which a planner counts as hanging."""
        self.remake, self.options, self.actor_timeout, self.failures = remake, options, actor_timeout, failures
        self.handles = [self._hire() for _ in range(number)]
        self.jobs: list[tuple] = []
        self.tasks: list[Any] = []

    def _hire(self) -> Any:
        return ray.remote(**self.options)(Replanner).remote(self.remake)

    def request(self, jobs: Sequence[tuple]) -> None:
        """Start jobs, each a (reference to parameters, steps [B, ...], key data, progress)."""
        self.jobs = list(jobs)
        self.tasks = [self._send(number) for number in range(len(self.jobs))]

    def close(self) -> None:
        for handle in self.handles:
            with suppress(Exception):
                ray.kill(handle)
        self.jobs, self.tasks = [], []

    def _send(self, number: int) -> Any:
        return self.handles[number % len(self.handles)].replan.remote(*self.jobs[number])

    def take(self) -> list[PyTree]:
        """Return the extras of all jobs, in their order.

        Raises:
          RunError: a planner has a problem that would not go away, or there were too many.
        """
        done: list[PyTree] = []
        while len(done) < len(self.tasks):
            try:
                done.append(ray.get(self.tasks[len(done)], timeout=self.actor_timeout))
            except RayTaskError as error:
                raise problem(error) from None
            except RayError as error:
                self._replace(len(done), loss(error, self.actor_timeout))
        self.jobs, self.tasks = [], []
        return done

    def _replace(self, number: int, why: Loss) -> None:
        """Replace the planner that had this job, and send its successor this job and the
        later ones.
        """
        place = number % len(self.handles)
        self.failures.restarted(f"planner {place}", why)
        with suppress(RayError, ValueError):
            ray.kill(self.handles[place])
        self.handles[place] = self._hire()
        for left in range(number, len(self.tasks), len(self.handles)):
            self.tasks[left] = self._send(left)
