"""Estimators over seeds against slow, plain versions."""

import itertools

import numpy as np
import pytest

from tandem.analysis import estimators


def slow_iqm(scores):
    """Sort, drop a quarter at each end, average."""
    ordered = sorted(scores)
    cut = int(0.25 * len(ordered))
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)


def slow_win_rate(first, second):
    wins = [1.0 if x > y else 0.5 if x == y else 0.0 for x, y in itertools.product(first, second)]
    return sum(wins) / len(wins)


@pytest.mark.parametrize("seeds", [1, 3, 4, 7, 12])
def test_the_interquartile_mean_is_the_mean_of_the_middle_half(seeds):
    scores = np.random.default_rng(seeds).normal(size=(seeds, 5))
    expected = [slow_iqm(column) for column in scores.T]
    np.testing.assert_allclose(estimators.interquartile_mean(scores), expected)


def test_the_interval_is_the_percentiles_of_means_of_runs_drawn_anew():
    scores = np.random.default_rng(0).normal(size=9)
    found = estimators.over_seeds(scores, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    drawn = [slow_iqm(rng.choice(scores, size=9)) for _ in range(20_000)]
    # 2,000 resamples: the bounds' own standard error is about 0.02 here; 0.15 is far outside of chance.
    np.testing.assert_allclose([found.low, found.high], np.percentile(drawn, [2.5, 97.5]), atol=0.15)
    assert found.low < found.value < found.high


def test_one_seed_has_no_interval():
    assert estimators.over_seeds(np.array([3.0]), np.random.default_rng(0)) == estimators.Estimate(3.0)


@pytest.mark.parametrize("sizes", [(4, 6), (3, 3)])
def test_the_probability_of_improvement_counts_pairs_and_ties_half(sizes):
    rng = np.random.default_rng(5)
    first, second = (rng.integers(0, 4, size=size).astype(float) for size in sizes)
    found = estimators.probability_of_improvement([first], [second], rng)
    assert found.value == pytest.approx(slow_win_rate(first, second))
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_over_several_tasks_it_is_their_mean():
    rng = np.random.default_rng(3)
    first, second = [rng.normal(size=4), rng.normal(size=5)], [rng.normal(size=3), rng.normal(size=6)]
    expected = np.mean([slow_win_rate(one, other) for one, other in zip(first, second)])
    assert estimators.probability_of_improvement(first, second, rng).value == pytest.approx(expected)
