"""Rollouts and evaluations against episodes counted by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.runners.collect import as_timestep, collect, evaluate, start
from tests.reference.compiled import quick_jit
from tests.runners.counting import (
    LIMIT, STOP, A, N, make_env, make_planner, make_still_planner, pay, signature, telling,
)  # fmt: skip

ENVS, STEPS = 5, 7
BEFORE = 1000  # environment steps before the first rollout


def roll_twice(shared: bool):
    """Return the rows [E, 2 T] of two rollouts, the second of which goes on where the first stopped, and both sums."""
    env, planner = make_env(shared=shared), make_planner()

    def both(key):
        actors, rows, sums = start(env, planner, key, ENVS), [], []
        for i, progress in enumerate((0.25, 0.75)):
            env_step = jnp.int32(BEFORE + i * ENVS * STEPS)
            inputs = actors, jax.random.fold_in(key, i), STEPS, env_step, jnp.float32(progress)
            actors, row, episodes = collect(env, planner, {}, *inputs)
            rows.append(row)
            sums.append(episodes)
        return jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), *rows), sums, actors

    return jax.tree.map(np.array, quick_jit(both)(jax.random.key(1)))


@pytest.fixture(scope="module", params=[True, False], ids=["shared reward", "own rewards"])
def rolled(request):
    return request.param, *roll_twice(request.param)


@pytest.fixture(scope="module")
def rows(rolled):
    return rolled[1]


def ended(rows) -> np.ndarray:
    return rows.terminated | rows.truncated


def test_there_are_episodes_of_every_kind(rows):
    lengths = rows.next_obs[ended(rows)][:, 0, 1]
    assert set(lengths) == {1.0, 2.0, 3.0} and rows.terminated.any() and rows.truncated.any()
    assert not ended(rows)[:, STEPS - 1].all(), "no episode crosses the border between the rollouts"


def test_a_row_holds_the_true_outcome_of_its_action_also_at_an_episodes_end(rolled):
    shared, rows, *_ = rolled
    tag, count, action = rows.obs[..., 0, 0], rows.obs[..., 0, 1] + 1, rows.action.astype(np.float32)
    np.testing.assert_array_equal(rows.next_obs[..., 0, 0], tag)
    np.testing.assert_array_equal(rows.next_obs[..., 0, 1], count)
    np.testing.assert_array_equal(rows.next_obs[..., 0, 2:4], action)
    np.testing.assert_array_equal(rows.next_state, rows.next_obs[..., 0, :3])
    np.testing.assert_array_equal(rows.next_legal[..., 0, 1], True)
    np.testing.assert_array_equal(rows.terminated, action[..., 0] == STOP)
    np.testing.assert_array_equal(rows.truncated, (count == LIMIT) & (action[..., 0] != STOP))
    for e, t in np.ndindex(ENVS, 2 * STEPS):
        np.testing.assert_allclose(rows.reward[e, t], pay(count[e, t], action[e, t], shared))


def test_the_next_row_goes_on_or_begins_a_new_episode(rows):
    over = ended(rows)[:, :-1]
    for before, after in ((rows.next_obs, rows.obs), (rows.next_legal, rows.legal), (rows.next_state, rows.state)):
        same = (before[:, :-1] == after[:, 1:]).reshape(*over.shape, -1).all(-1)
        np.testing.assert_array_equal(same, ~over)
    np.testing.assert_array_equal(rows.first[:, 1:], over)
    assert rows.first[:, 0].all()
    np.testing.assert_array_equal(rows.obs[rows.first][:, 0, 1], 0.0)
    tags = rows.obs[rows.first][:, 0, 0]
    assert len(set(tags)) == len(tags), "two episodes began from one key"


def test_rows_are_stamped_with_the_runs_steps_before_them(rows):
    for env in rows.env_step:
        np.testing.assert_array_equal(env, BEFORE + ENVS * np.arange(2 * STEPS))


def test_the_planner_is_told_what_it_sees_and_how_far_the_run_is(rows):
    np.testing.assert_array_equal(rows.extras.committed, signature(rows.obs))
    np.testing.assert_array_equal(rows.extras.policy[:, :STEPS], 0.25)
    np.testing.assert_array_equal(rows.extras.policy[:, STEPS:], 0.75)


def test_exploring_environments_and_steps_draw_numbers_of_their_own(rows):
    assert len({tuple(x) for x in rows.action.reshape(ENVS, -1)}) == ENVS
    assert len({tuple(x) for x in rows.action.swapaxes(0, 1).reshape(2 * STEPS, -1)}) == 2 * STEPS


def test_finished_episodes_are_summed_as_by_hand_and_running_ones_kept(rolled):
    shared, rows, sums, actors = rolled
    team = rows.reward[..., 0] if shared else rows.reward.sum(-1)
    finished = {0: [], 1: []}  # of each rollout: (return, length, tag, count)
    for e in range(ENVS):
        total, length = 0.0, 0
        for t in range(2 * STEPS):
            total, length = total + team[e, t], length + 1
            if ended(rows)[e, t]:
                finished[t // STEPS].append((total, length, *rows.next_obs[e, t, 0, :2]))
                total, length = 0.0, 0
        np.testing.assert_allclose(actors.episode_return[e], total)
        assert actors.episode_length[e] == length
    for i, episodes in enumerate(sums):
        assert episodes.count == len(finished[i]) > ENVS
        for name, expected in zip(("return", "length", "tag", "count"), np.sum(finished[i], axis=0), strict=True):
            np.testing.assert_allclose(episodes.sums[name], expected, rtol=1e-6)
        assert set(episodes.sums) == {"return", "length", "tag", "count"}
    assert actors.carry == 2 * STEPS


@pytest.mark.parametrize("shared", [True, False], ids=["shared reward", "own rewards"])
def test_evaluation_is_the_return_of_each_environments_first_episode(shared):
    env = make_env(shared=shared)
    score = quick_jit(lambda key: evaluate(env, make_planner(), {}, key, 11))
    scores = jax.tree.map(np.array, score(jax.random.key(2)))
    assert set(scores) == {"return", "length", "tag", "count", "entropy"}
    assert len(set(scores["tag"])) == 11
    for i, tag in enumerate(scores["tag"]):
        length = 1 + int(np.floor(3 * tag))
        total = 0.0
        for count in range(1, length + 1):
            last = np.array([STOP if count == length else count - 1, count - 1], np.float32)
            reward = pay(count, last, shared)
            total += reward[0] if shared else reward.sum()
        assert scores["length"][i] == scores["count"][i] == length
        np.testing.assert_allclose(scores["return"][i], total)
    assert set(scores["length"]) == {1, 2, 3}
    assert set(np.array(score(jax.random.key(3))["tag"])).isdisjoint(scores["tag"])


def test_evaluation_of_a_planner_that_never_ends_the_task_runs_to_the_time_limit():
    env, planner = make_env(shared=False), make_still_planner()
    scores = quick_jit(lambda key: evaluate(env, planner, {}, key, 3))(jax.random.key(4))
    np.testing.assert_array_equal(scores["length"], [LIMIT] * 3)
    np.testing.assert_array_equal(scores["return"], [N * 10.0 * (1 + 2 + 3)] * 3)


def test_entropy_is_of_each_agents_own_policy_over_the_steps_that_it_lives():
    env, inner = make_env(shared=True), make_planner()

    def step(key, state, action):
        state, timestep = env.step(key, state, action)
        return state, timestep.replace(alive=jnp.array([True, False]))

    def plan(params, carry, timestep, *rest):
        carry, plan = inner.plan(params, carry, timestep, *rest)
        count = timestep.obs[:, 0, 1][:, None]
        more_and_more = (jnp.arange(A)[None] <= count) / (count + 1.0)
        less = jnp.where(count == 0.0, 1.0 / A, jax.nn.one_hot(jnp.zeros(count.shape[0], jnp.int32), A))
        return carry, plan.replace(extras=plan.extras.replace(policy=jnp.stack([more_and_more, less], axis=1)))

    play = quick_jit(lambda key: evaluate(env._replace(step=step), inner._replace(plan=plan), {}, key, 11))
    scores = jax.tree.map(np.array, play(jax.random.key(2)))
    assert set(scores["length"]) == {1, 2, 3}
    undecided = [np.mean(np.log(np.arange(1, int(length) + 1))) for length in scores["length"]]
    np.testing.assert_allclose(scores["entropy"], np.stack([undecided, np.full(11, np.log(A))], axis=1), atol=1e-6)


def test_a_stored_row_shows_the_planner_what_it_saw_then(rows):
    timestep = as_timestep(rows)
    for name in ("obs", "state", "legal", "alive", "first"):
        np.testing.assert_array_equal(getattr(timestep, name), getattr(rows, name))
    assert not np.any(timestep.terminated) and not np.any(timestep.truncated) and not np.any(timestep.reward)


def test_what_a_planner_reports_is_summed_over_steps_and_changes_nothing_else():
    env, planner = make_env(shared=True), make_planner()

    def roll(planner, key):
        inputs = key, STEPS, jnp.int32(BEFORE), jnp.float32(0.25)
        return collect(env, planner, {}, start(env, planner, key, ENVS), *inputs)

    def rolled(planner):
        return jax.tree.map(np.array, quick_jit(lambda key: roll(planner, key))(jax.random.key(1)))

    plain, told = rolled(planner), rolled(telling(planner))
    jax.tree.map(np.testing.assert_array_equal, plain[:2], told[:2])
    jax.tree.map(np.testing.assert_array_equal, plain[2].sums, told[2].sums)
    assert plain[2].plans == {}
    assert_sums_of_steps(told[2].plans, told[1])


def assert_sums_of_steps(plans, rows) -> None:
    """Assert that a group of metrics is what `telling` says of rows [E, T, ...]."""
    assert set(plans) == {"count", "search/at", "search/stops"} and plans["count"] == rows.first.shape[1]
    np.testing.assert_allclose(plans["search/at"], rows.obs[..., 0, 1].mean(axis=0).sum(), rtol=1e-6)
    np.testing.assert_allclose(plans["search/stops"], (rows.action[..., 0] == STOP).mean(axis=0).sum(), rtol=1e-6)
    assert 0 < plans["search/stops"] < plans["search/at"] < plans["count"] * LIMIT
