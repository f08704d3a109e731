"""The learned scale of rewards against slow references, and what must not depend on the size of rewards."""

import dataclasses
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Batch
from tandem.envs.matrix_game import Config as Game
from tandem.learners import mazero
from tandem.learners.reward_scale import DECAY, VALUE_RMS, make_reward_scale
from tandem.ops.team import team_reward
from tandem.ops.values import state_value
from tandem.records import checkpoint
from tests.learners.test_mazero import B, CONFIG, MODEL, SPEC, STEPS, U, learner, random_batch, randomised, update
from tests.reference.compiled import quick_jit
from tests.reference.returns import n_step_target
from tests.reference.small_runs import small_run

DISCOUNT, LENGTH, LIMIT = 0.9, 4, 14
SCALING = make_reward_scale(0.0, DISCOUNT, LENGTH, LIMIT)


def scaled_rewards(batch: Batch, factor: float) -> Batch:
    return batch.replace(traj=batch.traj.replace(reward=factor * batch.traj.reward))


def weighted(seed: int) -> Batch:
    weight = np.random.default_rng(seed).uniform(0.1, 1.0, B)
    return random_batch(seed).replace(weight=jnp.asarray(weight, jnp.float32))


def learned(config: mazero.Config = CONFIG, batches=(), seed: int = 0):
    """Return the learner's state after an update with each batch, and the metrics of the last."""
    state, metrics = learner(config).init(jax.random.key(seed)), {}
    for i, batch in enumerate(batches):
        state, metrics, _ = update(config)(state, batch, jax.random.key(i))
    return state, metrics


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def return_by_hand(reward, terminated, truncated) -> float:
    return n_step_target(reward, terminated, truncated, np.zeros(LENGTH), DISCOUNT, LENGTH, 0)[0]


def sequences(seed: int, size: float) -> tuple:
    """Return (rewards, ends, cuts, weights) of five sequences, rewards of a size."""
    rng = np.random.default_rng(seed)
    ends = rng.random((2, 5, LENGTH)) < 0.2
    return size * rng.normal(size=(5, LENGTH)), *ends, rng.uniform(0.1, 1, 5)


def add(stats, reward, terminated, truncated, weight):
    ends = {"terminated": jnp.asarray(terminated), "truncated": jnp.asarray(truncated)}
    traj = random_batch(0, rows=len(reward)).traj.replace(**ends)
    return SCALING.add(stats, jnp.asarray(reward, jnp.float32), traj, jnp.asarray(weight, jnp.float32))


def scales_by_hand(batches: list[tuple]) -> list[float]:
    """Return the scale after each batch; one sequence after another, and batches weighed by their age at the end."""
    squares, found = [], []
    blocks = 1 + DISCOUNT**4 + DISCOUNT**8 + DISCOUNT**12  # 14 steps are begun by four times 4
    for *streams, weight in batches:
        paid = [return_by_hand(*stream) for stream in zip(*streams, strict=True)]
        if any(paid):
            squares.append(sum(w * r**2 for w, r in zip(weight, paid, strict=True)) / sum(weight))
        ages = [DECAY ** (len(squares) - 1 - i) for i in range(len(squares))]
        found.append(VALUE_RMS / (blocks * (np.dot(ages, squares) / sum(ages)) ** 0.5) if squares else 1.0)
    return found


def test_the_scale_is_that_of_the_weighted_second_moment_and_batches_of_zeros_do_not_count():
    batches = [sequences(i, size) for i, size in enumerate((0, 3, 1, 0, 40, 0.2, 0))]
    stats, got = SCALING.init(), []
    for batch in batches:
        stats = add(stats, *batch)
        got.append(float(SCALING.scale(stats)))
    np.testing.assert_allclose(got, scales_by_hand(batches), rtol=1e-5)
    assert got[0] == 1.0 and got[2] == got[3]


def returns_of(reward: np.ndarray) -> np.ndarray:
    """Return the discounted return from each row on [E, T] of whole episodes [E, T]."""
    found = np.zeros_like(reward)
    for t in reversed(range(reward.shape[1])):
        found[:, t] = reward[:, t] + (DISCOUNT * found[:, t + 1] if t + 1 < reward.shape[1] else 0.0)
    return found


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(
    ("kind", "least"), [("every step", 6.0), ("won at the end", 4.0), ("seldom won", 4.0), ("noise", 3.5)]
)
def test_scaled_returns_have_a_root_mean_square_of_ten_at_most_whatever_the_game_pays(kind, least, size):
    rng = np.random.default_rng(5)
    reward = np.zeros((400, LIMIT))
    if kind == "every step":
        reward -= rng.uniform(0.5, 1.5, reward.shape)
    elif kind == "noise":
        reward += rng.normal(size=reward.shape)
    else:
        reward[:, -1] = rng.random(400) < (0.9 if kind == "won at the end" else 0.01)
    # Every row once the first of a sequence, those of the next episode never its part.
    padded = np.pad(size * reward, ((0, 0), (0, LENGTH - 1)))
    starts = np.concatenate([padded[:, t : t + LENGTH] for t in range(LIMIT)])
    over = np.zeros(starts.shape, bool)
    stats = add(SCALING.init(), starts, over, over, np.ones(len(starts)))
    scaled = float(SCALING.scale(stats)) * size * returns_of(reward)
    assert least < np.sqrt(np.mean(scaled**2)) <= VALUE_RMS * (1 + 1e-5)


def test_without_any_reward_the_scale_is_one_and_all_stays_finite():
    state, metrics = learned(batches=[scaled_rewards(random_batch(i), 0.0) for i in range(4)])
    assert float(metrics["train/reward_scale"]) == 1.0
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((state, metrics)))
    # The first reward after it has the scale of its own batch, as if nothing had been before.
    state, metrics, _ = update()(state, random_batch(9), jax.random.key(9))
    np.testing.assert_allclose(
        metrics["train/reward_scale"], learned(batches=[random_batch(9)])[1]["train/reward_scale"]
    )


@pytest.mark.parametrize("factor", [2.0**20, 2.0**-20])
def test_what_is_learned_does_not_depend_on_the_size_of_rewards(factor):
    # Powers of two, which floating-point numbers are multiplied by without rounding.
    batches = [weighted(i) for i in range(5)]
    plain, plain_metrics = learned(batches=batches)
    other, metrics = learned(batches=[scaled_rewards(batch, factor) for batch in batches])
    assert same((plain.params, plain.target), (other.params, other.target))
    assert float(metrics["train/reward_scale"]) * factor == float(plain_metrics["train/reward_scale"])
    fixed = dataclasses.replace(CONFIG, reward_scale=1.0)
    outcomes = [learned(fixed, [scaled_rewards(b, f) for b in batches])[0].params for f in (1.0, factor)]
    assert not same(*outcomes)


def paid_more(env):
    """Return the game with all rewards 1024 times as large."""

    def step(key, state, action):
        state, timestep = env.step(key, state, action)
        return state, timestep.replace(reward=1024.0 * timestep.reward)

    return env._replace(step=step)


def whole_run(change=None):
    return small_run("joint", Game(), change=change, num_simulations=4, reward_scale=0.0)


def test_a_whole_run_learns_the_same_from_rewards_a_thousand_times_as_large():
    plain, more = (deque(whole_run(change)(3), maxlen=1)[0] for change in (None, paid_more))
    learned, larger = plain[1], more[1]
    assert same(
        (learned.learner.params, learned.replay.experience.action),
        (larger.learner.params, larger.replay.experience.action),
    )
    assert more[0].metrics["eval/search/return"] == 1024 * plain[0].metrics["eval/search/return"] != 0


def test_a_run_that_goes_on_from_a_saved_state_ends_as_one_that_never_stopped(tmp_path):
    run, path = whole_run(), tmp_path / "1"
    for i, (_, state) in enumerate(run(3)):
        if i == 1:  # of three reports
            arrays, keys = checkpoint.split(state)
            checkpoint.write(path, jax.tree.map(np.array, arrays), checkpoint.Meta(1, 1, None, {}, keys))
            assert float(arrays["learner.stats.square"]) > 0
    again = deque(run(3, checkpoint.read(path, run.shapes())), maxlen=1)[0][1]
    assert same(again.learner, state.learner)


def test_a_fixed_scale_keeps_no_statistics_and_is_a_factor_on_rewards():
    half = dataclasses.replace(CONFIG, reward_scale=0.5)
    state, metrics = learned(half, [weighted(i) for i in range(3)])
    one = dataclasses.replace(CONFIG, reward_scale=1.0)
    other, _ = learned(one, [scaled_rewards(weighted(i), 0.5) for i in range(3)])
    assert state.stats == () and float(metrics["train/reward_scale"]) == 0.5
    assert same(state, other)


def test_bootstrapped_values_are_converted_from_the_scale_that_they_had_when_the_target_network_was_copied():
    batch, params = random_batch(3), randomised(learner().init(jax.random.key(0)).params)
    reward = team_reward(batch.traj.reward, shared=False)

    def targets_and_values(params, traj):
        targets = mazero.value_targets(CONFIG, MODEL, DISCOUNT, params, traj, reward, since_copy=0.25)
        return targets, state_value(MODEL.team_value, params, mazero.represent(MODEL, params, traj.next_obs))

    got, value = quick_jit(targets_and_values)(params, batch.traj)
    next_value = 0.25 * value
    for b in range(B):
        streams = (reward[b], batch.traj.terminated[b], batch.traj.truncated[b], next_value[b])
        expected = [n_step_target(*map(np.asarray, streams), DISCOUNT, STEPS, k)[0] for k in range(U + 1)]
        np.testing.assert_allclose(got[b], expected, rtol=2e-4, atol=2e-4)


def test_the_target_networks_scale_is_that_of_its_copy():
    scaling = make_reward_scale(0.0, 0.9, U + STEPS, SPEC.episode_limit)
    state, scales = learner().init(jax.random.key(0)), []
    for i in range(5):
        batch = scaled_rewards(random_batch(i), 1.0 + i)
        state, metrics, _ = update()(state, batch, jax.random.key(i))
        scales.append(float(metrics["train/reward_scale"]))
        copied = (
            scales[(i + 1) // CONFIG.target_period_updates * CONFIG.target_period_updates - 1] if i > 1 else scales[0]
        )
        assert float(state.stats.target_scale) == pytest.approx(copied)
        assert float(scaling.since_copy(state.stats)) == pytest.approx(scales[-1] / copied)
    assert np.all(np.diff(scales) < -0.05)  # so that the first, the last and the copied one differ
