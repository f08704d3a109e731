"""What a dataset's card says in numbers, counted from its rows."""

import json
from typing import Any

import numpy as np

from tandem.datasets.dataset import METRIC, Dataset, lengths, returns

QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
DECIMALS = 4  # to which states are equal, as in OG-MARL's analysis of vaults


def complete(data: Dataset) -> dict[str, Any]:
    """Return the card with all that is counted; it can be stored as JSON."""
    found = returns(data)
    metrics = {
        name[len(METRIC) :]: float(np.mean(each, dtype=np.float64))
        for name, each in data.ends.items()
        if name.startswith(METRIC)
    }
    numbers = {
        "rows": data.size,
        "episodes": len(data.ends["row"]),
        "return": spread(found),
        "length": spread(lengths(data)),
        "metrics": metrics,
        "truncated_share": float(np.mean(data.rows["truncated"][data.ends["row"]])),
        "action_shares": action_shares(data),
        "behaviour_entropy": behaviour_entropy(data),
        "trajectory_quality": trajectory_quality(float(np.mean(found)), data.card.get("references")),
        "coverage": coverage(data),
    }
    return json.loads(json.dumps(data.card | numbers))


def spread(values: np.ndarray) -> dict[str, float]:
    """Return mean, standard deviation and quantiles of values [E]."""
    quantiles = np.quantile(values, list(QUANTILES.values()))
    return {"mean": float(np.mean(values)), "sd": float(np.std(values))} | dict(zip(QUANTILES, quantiles.tolist()))


def action_shares(data: Dataset) -> list[float] | None:
    """Return how often living agents played each action, as shares [A]; None where actions are numbers."""
    if data.card["spec"]["continuous"]:
        return None
    played = data.rows["action"][data.rows["alive"]]
    counts = np.bincount(played, minlength=data.card["spec"]["actions"])
    return (counts / max(counts.sum(), 1)).round(6).tolist()


def behaviour_entropy(data: Dataset) -> float | None:
    """Return the mean entropy in nats of the policies of living agents; None where it is not known."""
    if "entropy" not in data.rows:
        return None
    return float(np.mean(data.rows["entropy"][data.rows["alive"]], dtype=np.float64))


def trajectory_quality(mean_return: float, references: dict[str, float] | None) -> float | None:
    """Return (mean return - random) / (expert - random): TQ of Schweighofer et al. 2021 (arXiv:2111.04714).

    None where the returns of a random and an expert team were not measured, or are the same.
    """
    if not references or references["expert"] == references["random"]:
        return None
    return (mean_return - references["random"]) / (references["expert"] - references["random"])


def coverage(data: Dataset) -> float:
    """Return the unique pairs of state and joint action over the rows: joint SACo, as OG-MARL counts it.

    States are the same to four decimals. Where the environment shows none, all agents' observations stand for it.
    """
    size = data.size
    seen = data.rows["state"] if data.rows["state"].shape[-1] else data.rows["obs"].reshape(size, -1)
    action = data.rows["action"].reshape(size, -1)
    pairs = np.empty((size, seen.shape[1] + action.shape[1]), np.float32)
    pairs[:, : seen.shape[1]], pairs[:, seen.shape[1] :] = seen, action
    np.round(pairs, DECIMALS, out=pairs)
    pairs += 0.0  # so that -0 is 0
    whole = pairs.view(np.dtype((np.void, pairs.dtype.itemsize * pairs.shape[1])))
    return len(np.unique(whole)) / size
