"""Advantages, running returns and scales in plain Python, one row after the other."""

import numpy as np


def generalised_advantage(reward, value, next_value, terminated, truncated, discount, gae_lambda, start) -> float:
    """Return the advantage of row `start` as the weighted mean of all n-step advantages within its episode.

    The definition (Schulman et al. 2016, equation 16): (1 - lambda) times the sum of lambda^(n-1) A_n, and all that
    is left of the weight on the longest, which ends where the episode or the stream does.
    """
    total, weight, rewards, factor = 0.0, 1.0, 0.0, 1.0
    for row in range(start, len(reward)):
        rewards += factor * reward[row]
        factor *= discount
        rest = 0.0 if terminated[row] else factor * next_value[row]
        n_step = rewards + rest - value[start]
        if terminated[row] or truncated[row] or row == len(reward) - 1:
            return total + weight * n_step
        total += weight * (1.0 - gae_lambda) * n_step
        weight *= gae_lambda
    raise AssertionError("no row")


def running_returns(reward, ended, discount) -> list[float]:
    """Return for every row the discounted sum of its episode's rewards so far."""
    returns = []
    for row in range(len(reward)):
        first = row
        while first > 0 and not ended[first - 1]:
            first -= 1
        returns.append(sum(discount ** (row - i) * reward[i] for i in range(first, row + 1)))
    return returns


def weighted_mean_and_std(batches, masks, decay) -> tuple[float, float]:
    """Return mean and spread of batches' values, batch k of n weighing decay^(n - 1 -
    k), each batch its values alike.
    """
    weights, means, squares = [], [], []
    for age, (batch, mask) in enumerate(reversed(list(zip(batches, masks, strict=True)))):
        kept = [float(x) for x, m in zip(batch, mask, strict=True) if m]
        weights.append(decay**age)
        means.append(sum(kept) / len(kept))
        squares.append(sum(x * x for x in kept) / len(kept))
    mean, square = np.average(means, weights=weights), np.average(squares, weights=weights)
    return float(mean), float(np.sqrt(square - mean**2))
