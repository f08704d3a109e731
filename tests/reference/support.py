"""The value transform as the paper writes it, in float64."""

import numpy as np


def transform(x: np.ndarray, epsilon: float) -> np.ndarray:
    """Return h(x) of Pohlen et al. 2018, proposition A.2."""
    x = np.asarray(x, np.float64)
    return np.sign(x) * (np.sqrt(np.abs(x) + 1.0) - 1.0) + epsilon * x


def two_hot(y: float, bins: np.ndarray) -> np.ndarray:
    """Return the distribution over `bins` with at most two neighbours set and mean y."""
    y = min(max(y, bins[0]), bins[-1])
    upper = max(int(np.searchsorted(bins, y)), 1)
    share = (y - bins[upper - 1]) / (bins[upper] - bins[upper - 1])
    probabilities = np.zeros(len(bins))
    probabilities[upper - 1], probabilities[upper] = 1.0 - share, share
    return probabilities
