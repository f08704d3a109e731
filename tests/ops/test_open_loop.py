"""Errors of dreams by step are those of slow sums over rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Dreamt, SequenceModel
from tandem.ops.open_loop import TWICE, Happened, Start, errors, foresee

S, C, H, N, A, OBS = 7, 2, 5, 3, 4, 6


def begin(params, obs, action, first, room):
    return obs[:, -1] + 0.25, obs[:, -1] + 0.25  # what is seen is not quite what is there


def step(params, carry, action, alive, key):
    keys = jax.random.split(key, 5)
    moved = jnp.where(alive[..., None], carry + 0.1 * jax.random.normal(keys[0], carry.shape), carry)
    return moved, Dreamt(
        obs=moved,
        reward=action.sum(axis=-1) + jax.random.normal(keys[1], action.shape[:1]),
        continues=jax.random.uniform(keys[2], action.shape[:1]),
        legal=jax.random.uniform(keys[3], (*action.shape, A)),
        alive=jax.random.uniform(keys[4], action.shape),
    )


WORLD = SequenceModel(
    agent=None, longest=99, see=None, losses=None, loss_names=(), metric_names=(), settle=None, begin=begin, step=step
)  # fmt: skip


@pytest.fixture(scope="module")
def case():
    """Random rows with ends of both kinds, what is dreamt of them (twice), and the errors."""
    rng = np.random.default_rng(3)
    over, cut = rng.random((S, H)) < 0.25, rng.random((S, H)) < 0.4
    start = Start(
        obs=rng.normal(size=(S, C, N, OBS)).astype(np.float32), action=rng.integers(0, A, (S, C - 1, N)),
        first=np.zeros((S, C), bool), legal=rng.random((S, N, A)) < 0.6, alive=np.ones((S, N), bool),
    )  # fmt: skip
    real = Happened(
        action=rng.integers(0, A, (S, H, N)), alive=rng.random((S, H, N)) < 0.7,
        next_obs=rng.normal(size=(S, H, N, OBS)).astype(np.float32), next_legal=rng.random((S, H, N, A)) < 0.6,
        reward=rng.normal(size=(S, H)).astype(np.float32), terminated=over & ~cut, truncated=over & cut,
    )  # fmt: skip
    key = jax.random.key(1)
    carry, seen = begin((), start.obs, start.action, start.first, H)
    dreams = [
        jax.tree.map(np.asarray, jax.jit(lambda key: foresee(WORLD, (), carry, real.action, real.alive, key))(each))
        for each in jax.random.split(key, TWICE)
    ]
    found = jax.jit(lambda key: errors(WORLD, (), start, real, key))(key)
    return start, real, np.asarray(seen), dreams, found


def test_errors_are_those_of_a_slow_sum(case):
    start, real, seen, dreams, found = case
    counted = {name: [[] for _ in range(H)] for name in found._fields}
    valid = [(s, h) for s in range(S) for h in range(H) if not (real.terminated | real.truncated)[s, :h].any()]
    mean = np.mean([real.reward[row] for row in valid])
    for s, h in valid:
        one, two = ({name: getattr(dream, name)[h, s] for name in ("obs", "reward", "continues", "legal")}
                    for dream in dreams)  # fmt: skip
        counted["reward"][h].append((one["reward"] - real.reward[s, h]) * (two["reward"] - real.reward[s, h]))
        counted["reward_mean"][h].append((real.reward[s, h] - mean) ** 2)
        end = 1 - (one["continues"] + two["continues"]) / 2
        counted["end" if real.terminated[s, h] else "end_feared"][h].append(end)
        for n in np.flatnonzero(real.alive[s, h]):
            truth = real.next_obs[s, h, n]
            counted["obs"][h].append(np.mean([np.abs(x["obs"][n] - truth).mean() for x in (one, two)]))
            counted["obs_still"][h].append(np.abs(seen[s, n] - truth).mean())
            if not real.terminated[s, h]:
                legal = real.next_legal[s, h, n]
                counted["legal"][h].append(np.mean([(x["legal"][n] > 0.5) == legal for x in (one, two)]))
                counted["legal_still"][h].append((start.legal[s, n] == legal).mean())
    assert any(len(each) for each in counted["end"]) and len(valid) < S * H
    for name, rows in counted.items():
        tally = getattr(found, name)
        np.testing.assert_array_equal(tally.count, [len(each) for each in rows], err_msg=name)
        np.testing.assert_allclose(tally.by_step(), [np.mean(each or [0.0]) for each in rows], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(tally.overall(), np.mean(sum(rows, [])), rtol=1e-4, atol=1e-6)
