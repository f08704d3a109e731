"""Recorded data written down row by row, and learners that learn from nothing else; compiled once for all problems."""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Discrete, EnvSpec, Learner, Planner, PolicyExtras, TimeStep, Transition, Vector
from tandem.data import uniform
from tandem.runners.learn import learn_once
from tests.reference.compiled import quick_jit

N, A, SITUATIONS, ROWS, BATCH = 2, 3, 3, 512, 64
SPEC = EnvSpec(
    num_agents=N, obs=Vector(SITUATIONS), state=Vector(SITUATIONS), actions=Discrete(A), episode_limit=2,
    shared_reward=True,
)  # fmt: skip
OVER = SITUATIONS - 1  # the situation after an episode


def seen(situation: np.ndarray) -> np.ndarray:
    """Return what all agents observe [..., N, S] in situations [...]."""
    return np.repeat(np.eye(SITUATIONS, dtype=np.float32)[situation][..., None, :], N, axis=-2)


def episodes(draw: Callable[[np.random.Generator], list[tuple]], choices: int, seed: int = 0) -> Transition:
    """Return the rows [1, ROWS, ...] of episodes that `draw` returns: [(situation, joint action, reward), ...].

    Args:
      choices: how many of the actions are legal, the first ones.
    """
    rng, rows = np.random.default_rng(seed), []
    while len(rows) < ROWS:
        episode = draw(rng)
        after = [situation for situation, _, _ in episode[1:]] + [OVER]
        rows += [(*row, then, t == 0, then == OVER) for t, (row, then) in enumerate(zip(episode, after, strict=True))]
    situation, action, reward, then, first, over = (np.array(x) for x in zip(*rows[:ROWS], strict=True))
    here = np.ones((ROWS, N), bool)
    legal = np.broadcast_to(np.arange(A) < choices, (ROWS, N, A))
    zero = np.zeros((ROWS, N), np.float32)
    traj = Transition(
        obs=seen(situation), state=seen(situation)[:, 0], legal=legal, present=here, alive=here, first=first,
        action=action.astype(np.int32), reward=np.repeat(reward[:, None], N, axis=1).astype(np.float32),
        extras=PolicyExtras(log_prob=zero, policy=np.zeros((ROWS, N, A), np.float32), entropy=zero), terminated=over,
        truncated=np.zeros(ROWS, bool), next_obs=seen(then), next_state=seen(then)[:, 0], next_legal=legal,
        next_alive=here, env_step=np.arange(ROWS, dtype=np.int32),
    )  # fmt: skip
    return jax.tree.map(lambda x: jnp.asarray(x)[None], traj)


@cache
def _trainer(learner: Learner, updates: int) -> Callable:
    replay = uniform.make(uniform.Config(capacity=ROWS, batch_size=BATCH, min_size=1), 1, learner.sequence_length)

    def train(state, rows: Transition, key):
        example = jax.tree.map(lambda x: jnp.zeros(x.shape[2:], x.dtype), rows)
        data = replay.store.add(replay.store.init(example), rows)

        def update(state, key):
            state, metrics, _, _ = learn_once(learner, replay.source, state, data, key, jnp.int32(0), jnp.zeros(()))
            return state, metrics

        state, metrics = jax.lax.scan(update, state, jax.random.split(key, updates))
        return state, jax.tree.map(lambda x: x[-1], metrics)

    return quick_jit(train)


@cache
def begun(learner: Learner, seed: int = 0):
    """Return a learner's first state."""
    return quick_jit(learner.init)(jax.random.key(seed))


def learned(learner: Learner, rows: Transition, updates: int, seed: int = 0, state=None):
    """Return a learner's state after updates on rows [1, ROWS, ...], and its last metrics."""
    state = begun(learner, seed) if state is None else state
    state, metrics = _trainer(learner, updates)(state, rows, jax.random.key(seed))
    return state, {name: float(value) for name, value in metrics.items()}


def plays(planner: Planner, params, choices: int, seed: int = 0):
    """Return the actions [S, N] of greedy play in every situation, and the policies [S, N, A]."""
    plan = _player(planner.init, planner.plan, choices)(params, jax.random.key(seed))
    return np.asarray(plan.action), np.asarray(plan.extras.policy)


@cache
def _player(init: Callable, plan: Callable, choices: int) -> Callable:
    flag, here = jnp.zeros(SITUATIONS, bool), jnp.ones((SITUATIONS, N), bool)
    timestep = TimeStep(
        obs=jnp.asarray(seen(np.arange(SITUATIONS))), state=jnp.eye(SITUATIONS),
        legal=jnp.broadcast_to(jnp.arange(A) < choices, (SITUATIONS, N, A)), present=here, alive=here,
        reward=jnp.zeros((SITUATIONS, N)), terminated=flag, truncated=flag, first=~flag, metrics={},
    )  # fmt: skip
    carry = init(SITUATIONS)
    return quick_jit(lambda params, key: plan(params, carry, timestep, key, False)[1])
