"""Environments in JAX as programs on the host, which may be made to fail: for tests of what drives those."""

import time
from collections.abc import Callable
from functools import lru_cache

import jax
import numpy as np

from tandem.core import Environment, TimeStep


class OnHost:
    """An environment in JAX behind the face of a HostEnvironment; its stream of keys follows from its first seed."""

    def __init__(self, env: Environment):
        self.env, self.spec = env, env.spec
        self.reset_env, self.step_env = compiled(env)
        self.state, self.key, self.closed = None, None, 0

    def reset(self, seed: int | None) -> TimeStep:
        if seed is not None:
            self.key = jax.random.key(seed)
        self.state, timestep = self.reset_env(self._draw())
        return jax.device_get(timestep)

    def step(self, action: np.ndarray) -> TimeStep:
        self.state, timestep = self.step_env(self._draw(), self.state, action)
        return jax.device_get(timestep)

    def render(self) -> np.ndarray:
        return np.zeros((8, 12, 3), np.uint8)

    def close(self) -> None:
        self.closed += 1

    def _draw(self) -> jax.Array:
        self.key, key = jax.random.split(self.key)
        return key


class Troubled(OnHost):
    """An environment that does something at its `when`-th step: `trouble` raises, waits or ends the process."""

    def __init__(self, env: Environment, when: int, trouble: Callable[[], None]):
        super().__init__(env)
        self.left, self.trouble = when, trouble

    def step(self, action: np.ndarray) -> TimeStep:
        self.left -= 1
        if self.left == 0:
            self.trouble()
        return super().step(action)


def crash() -> None:
    raise OSError("the game has crashed")


def hang() -> None:
    time.sleep(3600)


@lru_cache(maxsize=None)
def compiled(env: Environment) -> tuple[Callable, Callable]:
    return jax.jit(env.reset), jax.jit(env.step)
