"""The names of metrics that several parts use, and the metric that ranks runs."""

from collections.abc import Mapping

SEARCH, AUTOREGRESSIVE, POLICY = "search", "autoregressive", "policy"  # ways to play, as evaluations call them
SAMPLED = "sampled"  # samples the policy's actions; POLICY plays the likeliest
SCRIPTED = "scripted"  # a way to play that is not learned


def evaluated(player: str, metric: str) -> str:
    """Return the name of an evaluation's metric, from the player and the measure."""
    return f"eval/{player}/{metric}"


SEARCH_RETURN = evaluated(SEARCH, "return")
AUTOREGRESSIVE_RETURN = evaluated(AUTOREGRESSIVE, "return")
POLICY_RETURN = evaluated(POLICY, "return")
TRAIN_RETURN = "train/return"
JUDGED_BY = (SEARCH_RETURN, POLICY_RETURN)  # a run is ranked by the first that it has; the policy's if nothing searches

PARAMETER_NORM = "train/parameter_norm"
STARTUP_SECONDS = "time/startup_seconds"
TRAINING_SECONDS = "time/training_seconds"
EVAL_SECONDS = "time/eval_seconds"
STEPS_PER_SECOND = "time/steps_per_second"


def result(metrics: Mapping[str, float]) -> float | None:
    """Return the metric that ranks a run: the return with search, or of the policy if nothing
    searches; None if unknown.
    """
    return next((metrics[name] for name in JUDGED_BY if name in metrics), None)
