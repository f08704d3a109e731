"""The names of metrics that more than one part knows, and what a run is judged by."""

from collections.abc import Mapping

SEARCH, AUTOREGRESSIVE, POLICY = "search", "autoregressive", "policy"  # ways to play, as evaluations name them
SAMPLED = "sampled"  # the policy's actions drawn, where POLICY plays the likeliest
SCRIPTED = "scripted"  # and one that is not learned


def evaluated(player: str, metric: str) -> str:
    """Return the name of an evaluation's metric: of who plays, and of what is measured."""
    return f"eval/{player}/{metric}"


SEARCH_RETURN = evaluated(SEARCH, "return")
AUTOREGRESSIVE_RETURN = evaluated(AUTOREGRESSIVE, "return")
POLICY_RETURN = evaluated(POLICY, "return")
TRAIN_RETURN = "train/return"
JUDGED_BY = (SEARCH_RETURN, POLICY_RETURN)  # the first that a run has: the policy's where nothing searches

PARAMETER_NORM = "train/parameter_norm"
STARTUP_SECONDS = "time/startup_seconds"
TRAINING_SECONDS = "time/training_seconds"
EVAL_SECONDS = "time/eval_seconds"
STEPS_PER_SECOND = "time/steps_per_second"


def result(metrics: Mapping[str, float]) -> float | None:
    """Return what a run is judged by: the return with search, of the policy alone where
    nothing searches, None if unknown.
    """
    return next((metrics[name] for name in JUDGED_BY if name in metrics), None)
