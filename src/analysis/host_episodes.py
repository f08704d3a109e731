"""Greedy episodes of an environment outside JAX, one after another; its own pictures stand where states are."""

from collections.abc import Callable

import jax
import numpy as np

from src.analysis.episodes import Episode, Play
from src.core import HostEnvironment, Key, Params, Planner, TimeStep
from src.ops.team import team_reward


def make_host_player(make_env: Callable[[], HostEnvironment], planner: Planner, num_episodes: int) -> Play:
    """Return play(params, key), which plays episodes; compiled at the first call, once."""

    @jax.jit
    def plan(params: Params, key: Key, carry, timestep: TimeStep):
        seen = jax.tree.map(lambda leaf: leaf[None], timestep)
        carry, plan = planner.plan(params, carry, seen, key, False, np.float32(1.0))
        return carry, (plan.action[0], plan.extras.policy[0])

    def play(params: Params, key: Key) -> list[Episode]:
        env, episodes = make_env(), []
        try:
            for i in range(num_episodes):
                episodes.append(_play(env, plan, planner, params, jax.random.fold_in(key, i)))
        finally:
            env.close()
        return episodes

    return play


def _play(env: HostEnvironment, plan: Callable, planner: Planner, params: Params, key: Key) -> Episode:
    """Return one episode."""
    timestep = env.reset(int(jax.random.randint(key, (), 0, np.iinfo(np.int32).max)))
    carry, seen, shown, pictures = planner.init(1), [timestep], [], [env.render()]
    while not (timestep.terminated or timestep.truncated):
        carry, decided = plan(params, jax.random.fold_in(key, len(seen)), carry, timestep)
        action, policy = jax.device_get(decided)
        timestep = env.step(action)
        shown.append((action, policy, team_reward(np.asarray(timestep.reward), env.spec.shared_reward)))
        seen.append(timestep)
        pictures.append(env.render())
    action, policy, reward = (np.stack(values) for values in zip(*shown, strict=True))
    return Episode(
        states=pictures, action=action, policy=policy, legal=np.stack([one.legal for one in seen[:-1]]),
        alive=np.stack([one.alive for one in seen]), reward=reward,
        metrics={name: float(timestep.metrics[name]) for name in env.spec.metric_names},
    )  # fmt: skip
