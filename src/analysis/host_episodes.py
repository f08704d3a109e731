"""Greedy episodes of an environment outside JAX, one after another; its own pictures stand where states are."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import jax
import numpy as np

from tandem.analysis.episodes import Episode, Play
from tandem.analysis.pictures import Pictures
from tandem.core import HostEnvironment, Key, Params, Planner, TimeStep
from tandem.ops.team import team_reward


def make_host_player(
    make_env: Callable[[], HostEnvironment],
    planner: Planner,
    num_episodes: int,
    most_pictures: int,
    size: tuple[int, int],
    limit: Callable[[], AbstractContextManager] = nullcontext,
) -> Play:
    """Return play(params, key), which plays episodes; compiled at the first call, once.

    Args:
      most_pictures: so many are kept, of all episodes together, each no larger than `size`, width and height.
      limit: within what this returns the environment is called; it raises what is to be raised if that takes too long.
    """

    @jax.jit
    def plan(params: Params, key: Key, carry, timestep: TimeStep):
        seen = jax.tree.map(lambda leaf: leaf[None], timestep)
        carry, plan = planner.plan(params, carry, seen, key, False, np.float32(1.0))
        return carry, (plan.action[0], plan.extras.policy[0])

    def play(params: Params, key: Key) -> list[Episode]:
        with limit():
            env, episodes = make_env(), []
        try:
            for i in range(num_episodes):
                pictures = Pictures(most_pictures // num_episodes, size)
                episodes.append(_play(env, plan, planner, params, jax.random.fold_in(key, i), pictures, limit))
        finally:
            with limit():
                env.close()
        return episodes

    return play


def _play(
    env: HostEnvironment,
    plan: Callable,
    planner: Planner,
    params: Params,
    key: Key,
    pictures: Pictures,
    limit: Callable,
) -> Episode:
    """Return one episode."""
    seed = int(jax.random.randint(key, (), 0, np.iinfo(np.int32).max))
    with limit():
        timestep = env.reset(seed)
        pictures.append(env.render())
    carry, seen, shown = planner.init(1), [timestep], []
    while not (timestep.terminated or timestep.truncated):
        carry, decided = plan(params, jax.random.fold_in(key, len(seen)), carry, timestep)
        action, policy = jax.device_get(decided)
        with limit():
            timestep = env.step(action)
            pictures.append(env.render())
        shown.append((action, policy, team_reward(np.asarray(timestep.reward), env.spec.shared_reward)))
        seen.append(timestep)
    action, policy, reward = (np.stack(values) for values in zip(*shown, strict=True))
    return Episode(
        states=pictures, action=action, policy=policy, legal=np.stack([one.legal for one in seen[:-1]]),
        alive=np.stack([one.alive for one in seen]), reward=reward,
        metrics={name: float(timestep.metrics[name]) for name in env.spec.metric_names},
    )  # fmt: skip
