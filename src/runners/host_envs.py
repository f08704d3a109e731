"""Environments outside JAX, each with a stream of random numbers of its own; those that raise or hang are made anew."""

import contextlib
import itertools
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from src.core import EnvSpec, HostEnvironment, RunError, TimeStep

LAST_LINES = 30  # of a traceback
FIRST_TRIES = 3  # to start one before any has worked: a game's ports may be taken, but a wrong setting stays wrong


class HostEnvs:
    """E environments. An episode whose environment fails is discarded, and the environment made anew."""

    def __init__(
        self, make_env: Callable[[], HostEnvironment], num_envs: int, stream: Sequence[int], timeout: float = 0.0,
        max_failures: int = 0,
    ):  # fmt: skip
        """Args:
        stream: non-negative whole numbers that nobody else's environments have, in this order; they decide all seeds.
        timeout: seconds that one `reset` or `step` may take; 0 = for ever.
        max_failures: so many are lived with; less where nothing ever worked, for that is hardly bad luck.
        """
        self.make_env, self.stream, self.timeout, self.max_failures = make_env, tuple(stream), timeout, max_failures
        self.envs: list[HostEnvironment | None] = [None] * num_envs
        self.lives = [0] * num_envs  # how often each was made
        self.worked = False  # any of them, ever
        self.num_failures = 0
        self.failures: list[str] = []  # tracebacks since they were last taken

    def reset(self, i: int, seed: int | None = None) -> TimeStep:
        """Return the first step of a new episode of environment i.

        Args:
          seed: of the episode; None = the environment goes on with its own stream. If it fails, others follow from it.

        Raises:
          RunError: it failed too often, or never worked.
        """
        for tries in itertools.count():
            given = None if seed is None else another_seed(seed, tries)
            try:
                with time_limit(self.timeout):
                    if self.envs[i] is None:
                        self.lives[i] += 1
                        self.envs[i] = self.make_env()
                        given = self._seed(i) if seed is None else given
                    timestep = typed(self.envs[i].reset(given), self.envs[i].spec)
                self.worked = True
                return timestep
            except Exception as error:  # of somebody else's program: anything may come
                self._failed(i, error)

    def step(self, i: int, action: np.ndarray) -> TimeStep | None:
        """Return the outcome of actions [N] in environment i; None if it failed, and wants to be reset."""
        try:
            with time_limit(self.timeout):
                return typed(self.envs[i].step(action), self.envs[i].spec)
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
        self.num_failures += 1
        self.failures.append(text)
        self._discard(i)
        if not self.worked and self.num_failures >= min(FIRST_TRIES, self.max_failures + 1):
            raise RunError(f"the environment cannot be started, tried {self.num_failures} times; the last time:\n{text}")
        if self.num_failures > self.max_failures:
            raise RunError(f"environments failed more than {self.max_failures} times; the last time:\n{text}")

    def _discard(self, i: int) -> None:
        env, self.envs[i] = self.envs[i], None
        with contextlib.suppress(Exception), time_limit(self.timeout):
            if env is not None:
                env.close()


def another_seed(seed: int, tries: int) -> int:
    """Return what to play instead of a seed that has failed so many times: with itself, it would fail the same way again."""
    return mixed(seed, tries) if tries else seed


def mixed(*numbers: int) -> int:
    """Return a seed that depends on non-negative numbers and their order."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) >> 1  # some take 31 bits only


def typed(timestep: TimeStep, spec: EnvSpec) -> TimeStep:
    """Return a step with the types of its contract.

    Raises:
      ValueError: a shape is not what the environment's own `spec` says.
    """
    agents = (spec.num_agents,)
    shapes = {
        "obs": (agents + (spec.obs.size,), np.float32), "state": ((spec.state.size,), np.float32),
        "legal": (agents + (spec.actions.size,), bool), "present": (agents, bool), "alive": (agents, bool),
        "reward": (agents, np.float32), "terminated": ((), bool), "truncated": ((), bool), "first": ((), bool),
    }  # fmt: skip
    fields = {name: np.asarray(getattr(timestep, name), dtype) for name, (_, dtype) in shapes.items()}
    for name, (shape, _) in shapes.items():
        if fields[name].shape != shape:
            raise ValueError(f"the environment's {name} has the shape {list(fields[name].shape)}, its spec says {list(shape)}")
    metrics = {name: np.asarray(timestep.metrics[name], np.float32) for name in spec.metric_names}
    return TimeStep(**fields, metrics=metrics)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes longer, wherever it waits; only in a process's main thread, elsewhere do nothing."""
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number, frame):
        raise TimeoutError(f"no answer for {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
