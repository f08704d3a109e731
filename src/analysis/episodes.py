"""Greedy episodes, step by step on the host, with the data for films and pages."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tandem.analysis.opinions import NOBODY, Watcher, rows
from tandem.core import Environment, Key, Params, Planner, PyTree
from tandem.ops.team import team_reward


class Episode(NamedTuple):
    """One episode of T steps."""

    states: Sequence[PyTree]  # T + 1 states of the environment, leaves are NumPy arrays
    action: np.ndarray  # [T, N] int32, or [T, N, A] where actions are continuous
    policy: (
        np.ndarray | None
    )  # [T, N, A] the search's policy, or without search the network's; None if the planner leaves none
    legal: np.ndarray  # [T, N, A] bool
    alive: np.ndarray  # [T + 1, N] bool
    reward: np.ndarray  # [T] the team's
    metrics: dict[str, float]  # the environment's, at the end
    network: np.ndarray | None = None  # [T, N, A] the network's own policy, where a search or a turn played
    value: np.ndarray | None = None  # [T, M] discounted return that the network expects; M = 1 of the team, or N
    search_value: np.ndarray | None = None  # [T] the same as the search found it
    cut_off: bool = False  # by the time limit; values then look beyond the end
    obs: np.ndarray | None = None  # [T + 1, N, O] what the agents saw; None where that are pictures
    last_legal: np.ndarray | None = None  # [N, A] bool, after the last step


Play = Callable[[Params, Key], list[Episode]]


def make_player(
    env: Environment,
    planner: Planner,
    num_episodes: int,
    limit: Callable[[], AbstractContextManager] = nullcontext,
    watcher: Watcher = NOBODY,
) -> Play:
    """Return play(params, key), which plays episodes in parallel; compiled once, at the first call.

    Args:
      limit: returns a context for each step, which raises if the step takes too long.
      watcher: its opinions are recorded at each step.
    """

    @jax.jit
    def start(key: Key):
        state, timestep = jax.vmap(env.reset)(jax.random.split(key, num_episodes))
        return state, timestep, (planner.init(num_episodes), watcher.init(num_episodes))

    @jax.jit
    def step(params: tuple[Params, PyTree], key: Key, state: PyTree, timestep, carry):
        plan_key, env_key = jax.random.split(key)
        memory, plan = planner.plan(params[0], carry[0], timestep, plan_key, False, jnp.ones(()))
        seen, opinion = watcher.look(params[1], carry[1], timestep, plan_key, plan.extras)
        state, outcome = jax.vmap(env.step)(jax.random.split(env_key, num_episodes), state, plan.action)
        reward = team_reward(outcome.reward, env.spec.shared_reward)
        shown = (plan.action, getattr(plan.extras, "policy", None), reward, opinion)
        return state, outcome, (memory, seen), shown

    def play(params: Params, key: Key) -> list[Episode]:
        reset_key, key = jax.random.split(key)
        state, timestep, carry = start(reset_key)
        ended, states, seen, shown = np.zeros(num_episodes, bool), [state], [timestep], []
        while not ended.all():
            key, step_key = jax.random.split(key)
            with limit():
                state, timestep, carry, decided = step((params, watcher.params), step_key, state, timestep, carry)
            states.append(state)
            seen.append(timestep)
            shown.append(decided)
            ended |= np.asarray(timestep.terminated | timestep.truncated)
        return [_episode(i, *jax.device_get((states, seen, shown))) for i in range(num_episodes)]

    return play


def _episode(i: int, states: list, seen: list, shown: list) -> Episode:
    """Return the i-th of the parallel episodes, up to its own end."""
    length = next(t for t, timestep in enumerate(seen) if timestep.terminated[i] or timestep.truncated[i])
    action, policy, reward, opinions = ([decided[field] for decided in shown[:length]] for field in range(4))
    return Episode(
        states=[jax.tree.map(lambda leaf: leaf[i], state) for state in states[: length + 1]],
        action=np.stack([row[i] for row in action]),
        policy=None if policy[0] is None else np.stack([row[i] for row in policy]),
        legal=np.stack([timestep.legal[i] for timestep in seen[:length]]),
        alive=np.stack([timestep.alive[i] for timestep in seen[: length + 1]]),
        reward=np.stack([row[i] for row in reward]),
        metrics={name: float(values[i]) for name, values in seen[length].metrics.items()},
        **thoughts(rows(opinions, i)),
        cut_off=bool(seen[length].truncated[i]),
        **views([timestep.obs[i] for timestep in seen[: length + 1]], seen[length].legal[i]),
    )


def views(obs: list[np.ndarray], last_legal: np.ndarray) -> dict[str, np.ndarray]:
    """Return what was seen [N, ...] at the steps of an episode, and what was legal after them, as an Episode's fields;
    nothing where that are pictures, which fill the memory.
    """
    return {"obs": np.stack(obs), "last_legal": np.asarray(last_legal)} if np.ndim(obs[0]) == 2 else {}


def thoughts(by_step: dict[str, list | None]) -> dict[str, np.ndarray | None]:
    """Return the opinions at the steps of an episode as an Episode's fields."""
    names = {"policy": "network", "value": "value", "search_value": "search_value"}
    return {names[name]: None if values is None else np.stack(values) for name, values in by_step.items()}
