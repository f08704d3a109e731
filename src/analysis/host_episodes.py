"""Greedy episodes of an environment outside JAX, one after another, with its pictures in place of states."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import jax
import numpy as np

from tandem.analysis.episodes import Episode, Play, thoughts, views
from tandem.analysis.opinions import NOBODY, Watcher, rows, unbatched
from tandem.analysis.pictures import Pictures
from tandem.core import HostEnvironment, Key, Params, Planner, PyTree, TimeStep
from tandem.ops.team import team_reward


def make_host_player(
    make_env: Callable[[], HostEnvironment],
    planner: Planner,
    num_episodes: int,
    most_pictures: int,
    size: tuple[int, int],
    limit: Callable[[], AbstractContextManager] = nullcontext,
    watcher: Watcher = NOBODY,
) -> Play:
    """Return play(params, key), which plays episodes; compiled once, at the first call.

    Args:
      most_pictures: number of pictures to keep, of all episodes together, each at most `size` (width, height).
      limit: returns a context for each call of the environment, which raises if the call takes too long.
      watcher: its opinions are recorded at each step.
    """

    @jax.jit
    def plan(params: Params, key: Key, carry, timestep: TimeStep):
        step = jax.tree.map(lambda leaf: leaf[None], timestep)
        memory, plan = planner.plan(params[0], carry[0], step, key, False, np.float32(1.0))
        seen, opinion = watcher.look(params[1], carry[1], step, key, plan.extras)
        return (memory, seen), (plan.action[0], plan.extras.policy[0], unbatched(opinion))

    def begin():
        return planner.init(1), watcher.init(1)

    def play(params: Params, key: Key) -> list[Episode]:
        with limit():
            env, episodes = make_env(), []
        try:
            for i in range(num_episodes):
                pictures = Pictures(most_pictures // num_episodes, size)
                episodes.append(
                    _play(env, plan, begin(), (params, watcher.params), jax.random.fold_in(key, i), pictures, limit)
                )
        finally:
            with limit():
                env.close()
        return episodes

    return play


def _play(
    env: HostEnvironment,
    plan: Callable,
    carry: PyTree,
    params: tuple[Params, PyTree],
    key: Key,
    pictures: Pictures,
    limit: Callable,
) -> Episode:
    """Return one episode."""
    seed = int(jax.random.randint(key, (), 0, np.iinfo(np.int32).max))
    with limit():
        timestep = env.reset(seed)
        pictures.append(env.render())
    seen, shown = [timestep], []
    while not (timestep.terminated or timestep.truncated):
        carry, decided = plan(params, jax.random.fold_in(key, len(seen)), carry, timestep)
        action, policy, opinion = jax.device_get(decided)
        with limit():
            timestep = env.step(action)
            pictures.append(env.render())
        shown.append((action, policy, team_reward(np.asarray(timestep.reward), env.spec.shared_reward), opinion))
        seen.append(timestep)
    *played, opinions = zip(*shown, strict=True)
    action, policy, reward = map(np.stack, played)
    return Episode(
        states=pictures, action=action, policy=policy, legal=np.stack([one.legal for one in seen[:-1]]),
        alive=np.stack([one.alive for one in seen]), reward=reward,
        metrics={name: float(timestep.metrics[name]) for name in env.spec.metric_names},
        **thoughts(rows(opinions)), cut_off=bool(timestep.truncated),
        **views([one.obs for one in seen], timestep.legal),
    )  # fmt: skip
