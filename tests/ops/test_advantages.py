"""Advantages and running returns against slow references, over every pattern of episode ends in a short stream."""

import itertools

import jax
import numpy as np
import pytest

from tandem.ops.returns import generalised_advantages, lambda_returns, running_returns
from tests.reference import advantages as reference
from tests.reference.backups import lambda_return

LENGTH, DISCOUNT = 5, 0.9


def all_streams() -> dict[str, np.ndarray]:
    """Return every way to mark five rows as going on, ended or cut off, with random rewards and values."""
    flags = np.array(list(itertools.product((0, 1, 2), repeat=LENGTH)))
    rng = np.random.default_rng(0)
    reward, value, next_value = (rng.normal(size=flags.shape).astype(np.float32) for _ in range(3))
    next_value[:, :-1] = np.where(
        flags[:, :-1] == 0, value[:, 1:], next_value[:, :-1]
    )  # what comes next is the next row
    return {
        "reward": reward,
        "value": value,
        "next_value": next_value,
        "terminated": flags == 1,
        "truncated": flags == 2,
    }


@pytest.mark.parametrize("gae_lambda", [0.0, 0.7, 1.0])
def test_advantages_are_the_weighted_means_of_all_n_step_advantages(gae_lambda):
    streams = all_streams()
    one = lambda *stream: generalised_advantages(*stream, DISCOUNT, gae_lambda)  # noqa: E731
    found = jax.jit(jax.vmap(one))(*streams.values())
    expected = [
        [reference.generalised_advantage(*stream, DISCOUNT, gae_lambda, row) for row in range(LENGTH)]
        for stream in zip(*streams.values(), strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_comes_after_a_true_end_is_not_read_and_after_a_cut_off_it_is():
    ends = np.array([False, True, False])
    values, poison = np.zeros(3, np.float32), np.array([0.0, np.nan, 0.0], np.float32)
    assert np.isfinite(generalised_advantages(values, values, poison, ends, ~ends & False, 0.9, 0.9)).all()
    cut = generalised_advantages(values, values, np.array([0, 2, 0], np.float32), ~ends & False, ends, 0.5, 0.5)
    np.testing.assert_allclose(cut, [0.25, 1.0, 0.0])


def test_running_returns_are_each_episodes_discounted_rewards_so_far():
    streams = all_streams()
    ended = streams["terminated"] | streams["truncated"]
    first = np.pad(ended[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    one = jax.vmap(lambda reward, first: running_returns(np.float32(7.0), reward, first, DISCOUNT))
    last, found = jax.jit(one)(streams["reward"], first)
    expected = [reference.running_returns(r, e, DISCOUNT) for r, e in zip(streams["reward"], ended, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(last, found[:, -1])


def test_running_returns_of_an_episode_in_two_pieces_are_those_of_one():
    reward, first = np.arange(1, 6, dtype=np.float32), np.zeros(5, bool)
    _, whole = running_returns(np.float32(0.0), reward, first, DISCOUNT)
    between, start = running_returns(np.float32(0.0), reward[:2], first[:2], DISCOUNT)
    _, rest = running_returns(between, reward[2:], first[2:], DISCOUNT)
    np.testing.assert_array_equal(np.concatenate([start, rest]), whole)


@pytest.mark.parametrize("td_lambda", [0.0, 0.6, 1.0])
def test_lambda_returns_are_the_weighted_means_of_all_n_step_returns_within_the_episode(td_lambda):
    streams = all_streams()
    del streams["value"]
    found = jax.jit(jax.vmap(lambda *stream: lambda_returns(*stream, DISCOUNT, td_lambda)))(*streams.values())
    expected = [
        [lambda_return(*stream, DISCOUNT, td_lambda, row) for row in range(LENGTH)]
        for stream in zip(*streams.values(), strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("flag, expected", [("terminated", 2.0), ("truncated", 2.0 + DISCOUNT * 5.0)])
def test_a_lambda_return_never_reads_beyond_an_end(flag, expected):
    for later in (0.0, 1e6):
        stream = {"reward": np.array([2.0, later]), "next_value": np.array([5.0, later])}
        flags = {name: np.array([name == flag, False]) for name in ("terminated", "truncated")}
        found = lambda_returns(*map(np.float32, stream.values()), *flags.values(), DISCOUNT, 0.6)
        np.testing.assert_allclose(found[0], expected, rtol=1e-6)
