"""Environments outside JAX, each with its own random seeds; those that raise or hang are created again."""

import contextlib
import itertools
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tandem.core import EnvSpec, HostEnvironment, RunError, TimeStep
from tandem.runners.tally import ADVICE, SETTING, Tally

LAST_LINES = 30  # of a traceback
FIRST_TRIES = 3  # attempts to start one before any has worked: a port may be taken, but a wrong setting stays wrong


class HostEnvs:
    """E environments. If an environment fails, its episode is discarded and it is created again."""

    def __init__(
        self, make_env: Callable[[], HostEnvironment], num_envs: int, stream: Sequence[int], timeout: float = 0.0,
        max_failures: int = 0, setting: str = SETTING, worked: bool = False,
    ):  # fmt: skip
        """Args:
        stream: non-negative integers, a sequence unique to these environments; it determines all seeds.
        timeout: seconds that one `reset` or `step` may take; 0 = no limit.
        max_failures: failures tolerated in a million steps; fewer if no environment has worked yet, because then
          the cause is hardly chance.
        setting: name of the setting with this number, for messages.
        worked: whether other environments of the same kind have worked.
        """
        self.make_env, self.stream, self.timeout, self.worked = make_env, tuple(stream), timeout, worked
        self.tally = Tally(max_failures, setting)
        self.envs: list[HostEnvironment | None] = [None] * num_envs
        self.lives = [0] * num_envs  # how often each was created
        self.num_steps = 0  # of all of them
        self.failures: list[str] = []  # tracebacks since they were last taken

    def reset(self, i: int, seed: int | None = None) -> TimeStep:
        """Return the first step of a new episode of environment i.

        Args:
          seed: of the episode; None = the environment continues its own stream. A failure derives another one.

        Raises:
          RunError: it failed too often, or never worked.
        """
        for tries in itertools.count():
            try:
                timestep = limited(self.timeout, lambda: self._begin(i, seed, tries))  # noqa: B023  (called at once)
                self.worked = True
                return timestep
            except Exception as error:  # another program may raise anything
                self._failed(i, error)
        raise AssertionError  # the loop has no end

    def _begin(self, i: int, seed: int | None, tries: int) -> TimeStep:
        given = None if seed is None else another_seed(seed, tries)
        if self.envs[i] is None:
            self.lives[i] += 1
            self.envs[i] = self.make_env()
            given = self._seed(i) if seed is None else given
        return typed(self.envs[i].reset(given), self.envs[i].spec)

    def step(self, i: int, action: np.ndarray) -> TimeStep | None:
        """Return the outcome of actions [N] in environment i; None if it failed, so that it has to be reset."""
        try:
            outcome = limited(self.timeout, lambda: typed(self.envs[i].step(action), self.envs[i].spec))
            self.num_steps += 1
            return outcome
        except Exception as error:
            self._failed(i, error)
            return None

    def take_failures(self) -> tuple[str, ...]:
        """Return the tracebacks since the last call."""
        taken, self.failures = tuple(self.failures), []
        return taken

    def close(self) -> None:
        for i in range(len(self.envs)):
            self._discard(i)

    def _seed(self, i: int) -> int:
        return mixed(*self.stream, i, self.lives[i])

    def _failed(self, i: int, error: Exception) -> None:
        lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
        text = "\n".join(lines[-LAST_LINES:])
        self.tally.add(self.num_steps)
        self.failures.append(text)
        self._discard(i)
        tried = self.tally.total
        if not self.worked and tried >= min(FIRST_TRIES, self.tally.most + 1):
            raise RunError(f"the environment cannot be started, tried {tried} times; the last time:\n{text}")
        if self.tally.too_many:
            raise RunError(f"environments failed too often: {self.tally}; {ADVICE}. The last one:\n{text}")

    def _discard(self, i: int) -> None:
        env, self.envs[i] = self.envs[i], None
        with contextlib.suppress(Exception):
            if env is not None:
                limited(self.timeout, lambda: env.close())


def another_seed(seed: int, tries: int) -> int:
    """Return a substitute for a seed that has failed this many times, because the same seed
    would fail again.
    """
    return mixed(seed, tries) if tries else seed


def mixed(*numbers: int) -> int:
    """Return a seed that depends on non-negative numbers and their order."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) >> 1  # some environments accept only 31 bits


def typed(timestep: TimeStep, spec: EnvSpec) -> TimeStep:
    """Return a step with the types that its contract requires.

    Raises:
      ValueError: a shape is not what the environment's own `spec` says, or a metric is missing.
    """
    agents = (spec.num_agents,)
    shapes = {
        "obs": (agents + spec.obs.shape, np.float32), "state": (spec.state.shape, np.float32),
        "legal": (agents + (spec.actions.size,), bool), "present": (agents, bool), "alive": (agents, bool),
        "reward": (agents, np.float32), "terminated": ((), bool), "truncated": ((), bool), "first": ((), bool),
    }  # fmt: skip
    fields = {name: np.asarray(getattr(timestep, name), dtype) for name, (_, dtype) in shapes.items()}
    for name, (shape, _) in shapes.items():
        if fields[name].shape != shape:
            raise ValueError(
                f"the environment's {name} has the shape {list(fields[name].shape)}, its spec says {list(shape)}"
            )
    if lacking := [name for name in spec.metric_names if name not in timestep.metrics]:
        raise ValueError(f"the environment shows no metric '{lacking[0]}', which its spec's metric_names promise")
    metrics = {name: np.asarray(timestep.metrics[name], np.float32) for name in spec.metric_names}
    return TimeStep(**fields, metrics=metrics)


def limited(seconds: float, call: Callable[[], Any]) -> Any:
    """Call a Python function and return its result; raise TimeoutError inside it if it takes longer.

    This works only in a process's main thread; elsewhere there is no limit. An alarm just after the function returned
    is ignored, because its work is done. An alarm that the function itself catches is followed by others.
    """
    if not seconds:
        return call()
    results: list[Any] = []
    with _alarm(seconds, results):
        results.append(call())
    return results[0]


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in a block of statements that takes longer, as `limited` does in a function."""
    with _alarm(seconds, []):
        yield


@contextlib.contextmanager
def _alarm(seconds: float, done: list[Any]) -> Iterator[None]:
    """Raise TimeoutError every few seconds within this context, as long as `done` is empty."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number, frame):
        if not done:
            raise TimeoutError(f"no answer for {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, late)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
        yield
    finally:
        done.append(None)  # alarms from here on are ignored
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
