"""The auto-reset wrapper, on an environment whose every observation tells the episode and the step."""

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Discrete, EnvSpec, Environment, TimeStep, Vector
from tandem.envs.auto_reset import auto_reset_step

N, O, A = 2, 3, 5


def counting_env(episode_limit: int) -> Environment:
    """Observations [N, O] hold (a number drawn at reset, the step, the last action); action 4 of agent 0 terminates."""

    def show(state, reward, terminated):
        tag, count, last = state
        obs = jnp.tile(jnp.stack([tag, count, last]), (N, 1))
        truncated = (count >= episode_limit) & ~terminated
        return TimeStep(
            obs=obs,
            state=obs[0],
            legal=jnp.ones((N, A), bool),
            present=jnp.ones(N, bool),
            alive=jnp.ones(N, bool),
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            first=count == 0,
            metrics={"length": count},
        )

    def reset(key):
        state = (jax.random.uniform(key), jnp.float32(0.0), jnp.float32(-1.0))
        return state, show(state, jnp.zeros(N), jnp.array(False))

    def step(key, state, action):
        state = (state[0], state[1] + 1, action[0].astype(jnp.float32))
        return state, show(state, jnp.full(N, 1.0), action[0] == 4)

    spec = EnvSpec(
        num_agents=N,
        obs=Vector(O),
        state=Vector(O),
        actions=Discrete(A),
        episode_limit=episode_limit,
        shared_reward=True,
        metric_names=("length",),
    )
    return Environment(spec=spec, reset=reset, step=step)


def play(env, actions, key):
    state, timestep = env.reset(key)
    rows = []
    for i, action in enumerate(actions):
        state, following, outcome = auto_reset_step(
            env, jax.random.fold_in(key, i), state, jnp.full(N, action, jnp.int32)
        )
        rows.append((timestep, outcome, following))
        timestep = following
    return rows


def test_truncation_keeps_the_true_last_observation_and_starts_a_new_episode():
    rows = play(counting_env(3), [0, 1, 2, 3], jax.random.key(7))
    tag = float(rows[0][0].obs[0, 0])
    np.testing.assert_allclose(rows[2][1].obs, np.tile([tag, 3.0, 2.0], (N, 1)))
    assert bool(rows[2][1].truncated) and not bool(rows[2][1].terminated) and not bool(rows[2][1].first)
    assert bool(rows[2][2].first) and float(rows[2][2].obs[0, 1]) == 0 and float(rows[2][2].obs[0, 0]) != tag
    np.testing.assert_array_equal(rows[2][2].reward, np.zeros(N))
    assert float(rows[3][1].obs[0, 1]) == 1  # the fourth action is the new episode's first


def test_termination_resets_at_once_and_keeps_reward_and_metrics():
    rows = play(counting_env(9), [0, 4, 1], jax.random.key(8))
    outcome, following = rows[1][1], rows[1][2]
    assert bool(outcome.terminated) and float(outcome.metrics["length"]) == 2 and float(outcome.reward[0]) == 1
    assert bool(following.first) and not bool(following.terminated)


def test_each_environment_of_a_batch_resets_alone():
    env = counting_env(9)
    keys = jax.random.split(jax.random.key(9), 3)
    state, before = jax.vmap(env.reset)(keys)
    action = jnp.array([[0, 0], [4, 0], [1, 4]])
    state, following, outcome = jax.vmap(lambda k, s, a: auto_reset_step(env, k, s, a))(keys, state, action)
    np.testing.assert_array_equal(outcome.terminated, [False, True, False])
    np.testing.assert_array_equal(following.first, [False, True, False])
    np.testing.assert_array_equal(state[1], [1.0, 0.0, 1.0])
    np.testing.assert_array_equal(following.obs[0], outcome.obs[0])


def test_a_batch_of_episodes_ends_in_a_scan_as_by_hand():
    env, keys = counting_env(2), jax.random.split(jax.random.key(3), 4)
    state, _ = env.reset(jax.random.key(4))

    def body(state, key):
        state, following, outcome = auto_reset_step(env, key, state, jnp.zeros(N, jnp.int32))
        return state, (following.first, outcome.truncated, outcome.metrics["length"])

    _, (first, truncated, length) = jax.jit(lambda s: jax.lax.scan(body, s, keys))(state)
    np.testing.assert_array_equal(first, [False, True, False, True])
    np.testing.assert_array_equal(truncated, [False, True, False, True])
    np.testing.assert_array_equal(length, [1, 2, 1, 2])
