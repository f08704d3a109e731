"""Backups and lambda-returns in plain Python, of one state or one stream."""

import math

import numpy as np


def lambda_return(reward, next_value, terminated, truncated, discount, td_lambda, start) -> float:
    """Return the weighted mean of all n-step returns of row `start` within its episode.

    (1 - lambda) times the sum of lambda^(n-1) G_n, and all that is left of the weight on the longest, which ends where
    the episode or the stream does (Sutton and Barto 2018, equation 12.3).
    """
    total, weight, rewards, factor = 0.0, 1.0, 0.0, 1.0
    for row in range(start, len(reward)):
        rewards += factor * reward[row]
        factor *= discount
        n_step = rewards + (0.0 if terminated[row] else factor * next_value[row])
        if terminated[row] or truncated[row] or row == len(reward) - 1:
            return total + weight * n_step
        total += weight * (1.0 - td_lambda) * n_step
        weight *= td_lambda
    raise AssertionError("no row")


def greedy(values, judge, legal) -> float:
    best = max((a for a in range(len(values)) if legal[a]), key=lambda a: judge[a])
    return values[best]


def support(values, judge, legal, behaviour, threshold) -> float:
    often = [legal[a] and behaviour[a] / max(behaviour) > threshold for a in range(len(values))]
    return greedy(values, judge, often)


def expected(values, legal, behaviour) -> float:
    return sum(behaviour[a] * values[a] for a in range(len(values)) if legal[a])


def reweighted(values, legal, behaviour, temperature) -> float:
    kept = [(q, beta) for q, beta, may in zip(values, behaviour, legal, strict=True) if may]
    most = max(q for q, _ in kept)
    weights = [beta * math.exp((q - most) / temperature) for q, beta in kept]
    return sum(w * q for w, (q, _) in zip(weights, kept, strict=True)) / sum(weights)


def penalised(policy, values, behaviour, temperature) -> float:
    """Return what a policy earns less its divergence from the behaviour: E Q - alpha KL, where both have support."""
    gain = 0.0
    for p, q, beta in zip(policy, values, behaviour, strict=True):
        if p > 0:
            gain += p * (q - temperature * (math.log(p) - math.log(beta)))
    return gain


def expectile(values, legal, behaviour, level) -> float:
    """Return where the weighted distances above and below balance, by halving an interval."""
    kept = [(values[a], behaviour[a]) for a in range(len(values)) if legal[a]]
    low, high = min(q for q, _ in kept), max(q for q, _ in kept)
    for _ in range(100):
        middle = 0.5 * (low + high)
        slope = sum(beta * (level if q > middle else 1.0 - level) * (q - middle) for q, beta in kept)
        low, high = (middle, high) if slope > 0 else (low, middle)
    return float(np.mean([low, high]))
