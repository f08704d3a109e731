"""Every pattern of episode ends in a short stream, against the slow reference."""

import itertools

import jax
import numpy as np
import pytest

from tandem.ops.returns import bootstrap_index, n_step_targets, unroll_masks
from tests.reference import returns as reference

SIZES = [(3, 2), (2, 5), (5, 1), (1, 3), (4, 3)]  # (U, n), streams of up to 7 rows
DISCOUNT = 0.9


def all_streams(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (terminated, truncated), each [M, length] bool: every way to mark each row as
    going on, ended, cut off or both.

    Both at once never happens (a true end is never also a cut-off), but must count as a true end; it is tried where the
    number of streams stays small.
    """
    marks = (0, 1, 2, 3) if length < 6 else (0, 1, 2)
    flags = np.array(list(itertools.product(marks, repeat=length)))
    return (flags & 1) > 0, (flags & 2) > 0


@pytest.mark.parametrize(("unroll", "n_step"), SIZES)
def test_targets_and_bootstrap_rows_are_those_of_a_walk_through_the_episode(unroll: int, n_step: int):
    terminated, truncated = all_streams(unroll + n_step)
    rng = np.random.default_rng(0)
    reward = rng.normal(size=terminated.shape).astype(np.float32)
    next_value = 10.0 * rng.normal(size=terminated.shape).astype(np.float32)

    def one_stream(reward, terminated, truncated, next_value):
        rows = bootstrap_index(terminated | truncated, n_step, unroll)
        return rows, n_step_targets(reward, terminated, truncated, next_value[rows], DISCOUNT, n_step, unroll)

    rows, targets = jax.jit(jax.vmap(one_stream))(reward, terminated, truncated, next_value)
    expected = [
        [reference.n_step_target(*stream, DISCOUNT, n_step, position) for position in range(unroll + 1)]
        for stream in zip(*(x.tolist() for x in (reward, terminated, truncated, next_value)), strict=True)
    ]
    expected_targets, expected_rows = np.moveaxis(np.array(expected), -1, 0)  # each [M, U + 1]
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(targets, expected_targets, atol=1e-4)


@pytest.mark.parametrize(("unroll", "length"), [(3, 5), (5, 5), (4, 7)])
def test_masks_are_decided_by_the_first_end(unroll: int, length: int):
    terminated, truncated = all_streams(length)
    alive, known = jax.jit(jax.vmap(lambda t, c: unroll_masks(t, c, unroll)))(terminated, truncated)
    expected = [reference.masks(t, c, unroll) for t, c in zip(terminated, truncated, strict=True)]
    np.testing.assert_array_equal(alive, np.stack([a for a, _ in expected]))
    np.testing.assert_array_equal(known, np.stack([k for _, k in expected]))
    assert np.all(np.asarray(alive)[:, 0] == 1) and np.all(np.asarray(known)[:, 0] == 1)


def test_a_poisoned_bootstrap_value_does_not_reach_a_terminated_return():
    terminated, truncated = np.array([False, True, False, False, False]), np.zeros(5, bool)
    bootstrap = np.array([np.nan, np.nan, 1.0, 1.0], np.float32)
    targets = n_step_targets(np.ones(5, np.float32), terminated, truncated, bootstrap, DISCOUNT, 2, 3)
    np.testing.assert_allclose(targets, [1.9, 1.0, 1.9 + 0.81, 1.9 + 0.81], rtol=1e-6)


def test_a_stream_of_the_wrong_length_is_refused():
    flags = np.zeros(6, bool)
    with pytest.raises(AssertionError):
        bootstrap_index(flags, n_step=2, unroll=3)
    with pytest.raises(AssertionError):
        n_step_targets(np.zeros(6), flags, flags, np.zeros(4), DISCOUNT, n_step=2, unroll=3)
