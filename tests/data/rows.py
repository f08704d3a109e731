"""Rows that say where they come from: environment and time stand in every field that can hold them."""

import jax
import numpy as np

from tandem.core import SearchExtras, Transition

AGENTS, ACTIONS, FEATURES, STATE = 2, 5, 3, 7


def tagged(envs: np.ndarray, times: np.ndarray) -> Transition:
    """Return rows [...], in NumPy, for environments and times of one shape [...]."""
    envs, times = np.asarray(envs, np.int32), np.asarray(times, np.int32)

    def fill(values: np.ndarray, *shape: int) -> np.ndarray:
        return np.broadcast_to(values.reshape(values.shape + (1,) * len(shape)), values.shape + shape)

    def features(times: np.ndarray, *shape: int) -> np.ndarray:
        return fill((1000 * envs + times).astype(np.float32), *shape)

    odd = np.asarray(times % 2 == 1)
    return Transition(
        obs=features(times, AGENTS, FEATURES),
        state=features(times, STATE),
        legal=fill(odd, AGENTS, ACTIONS),
        present=fill(odd, AGENTS),
        alive=fill(odd, AGENTS),
        first=times == 0,
        action=fill(times, AGENTS),
        extras=SearchExtras(
            policy=features(times, AGENTS, ACTIONS),
            value=features(times),
            rank=fill(envs, AGENTS),
            committed=fill(times, AGENTS),
        ),
        reward=features(times, AGENTS),
        terminated=odd,
        truncated=~odd,
        next_obs=features(times + 1, AGENTS, FEATURES),
        next_state=features(times + 1, STATE),
        next_legal=fill(~odd, AGENTS, ACTIONS),
        next_alive=fill(odd, AGENTS),
        env_step=times,
    )


def example() -> Transition:
    """Return one row without leading axes."""
    return tagged(np.array(0), np.array(0))


def block(num_envs: int, start: int, length: int) -> Transition:
    """Return rows [B, length] of environments 0..B-1 from time `start` on."""
    envs, times = np.meshgrid(np.arange(num_envs), np.arange(start, start + length), indexing="ij")
    return tagged(envs, times)


def assert_same(actual: Transition, expected: Transition) -> None:
    """Compare two sets of rows leaf by leaf, to the bit."""
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
