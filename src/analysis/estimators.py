"""Statistics over a few seeds: interquartile means, bootstrap intervals, probabilities of improvement.

The estimators are those of Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(NeurIPS 2021, arXiv:2108.13264), section 4, made of SciPy's trimmed mean, bootstrap and Mann-Whitney statistic. The
paper's own package, rliable 1.2.0, cannot be imported beside pandas 3 (it pins arch below 8).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
RESAMPLES = 2000  # what the paper takes for curves
TRIMMED = 0.25


class Estimate(NamedTuple):
    """A number, or [X] numbers, with the interval around each; the interval is None for a single seed."""

    value: Any
    low: Any = None
    high: Any = None


def interquartile_mean(scores: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean of what lies between the quartiles along `axis`; of fewer than four scores it is their mean."""
    return stats.trim_mean(scores, TRIMMED, axis=axis)


def over_seeds(scores: np.ndarray, rng: np.random.Generator) -> Estimate:
    """Return the interquartile mean over seeds, with percentile intervals of a bootstrap that draws whole runs.

    Args:
      scores: [R] or [R, X], one row per seed.
    """
    value = interquartile_mean(scores)
    if len(scores) < 2 or np.isinf(scores).any():  # a seed that diverged has no place on the axis
        return Estimate(value)
    return Estimate(value, *_interval([scores], interquartile_mean, rng))


def probability_of_improvement(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray], rng: np.random.Generator
) -> Estimate:
    """Return the probability that the first algorithm beats the second in two runs on a random task; ties count half.

    The bootstrap is stratified: seeds are drawn anew within each algorithm and task.

    Args:
      first: final scores [R] on each task; `second`: the same tasks in the same order.
    """
    samples = [*first, *second]

    def statistic(*drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        pairs = zip(drawn[: len(first)], drawn[len(first) :])
        return np.mean([_win_rate(one, other, axis) for one, other in pairs], axis=0)

    value = float(statistic(*samples))
    if min(len(sample) for sample in samples) < 2:
        return Estimate(value)
    return Estimate(value, *_interval(samples, statistic, rng))


def _win_rate(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
    """Return the share of pairs in which the first is greater, ties counting half: Mann-Whitney's U over all pairs."""
    wins = stats.mannwhitneyu(first, second, axis=axis, method="asymptotic").statistic
    return wins / (first.shape[axis] * second.shape[axis])


def _interval(
    samples: Sequence[np.ndarray], statistic: Callable[..., Any], rng: np.random.Generator
) -> tuple[Any, Any]:
    """Return the bounds of a percentile bootstrap in which each sample's rows are drawn anew by themselves."""
    done = stats.bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        axis=0,
        vectorized=True,
        rng=rng,
    )
    return done.confidence_interval.low, done.confidence_interval.high
