"""Counts failures per environment steps, and says when there are too many."""

from collections import deque

WINDOW = 1_000_000  # environment steps after which a failure no longer counts
SETTING = "runner_args.max_failures"
ADVICE = "repair what fails, or allow more failures there"


class Tally:
    """The failures of a run, or of a part of it."""

    def __init__(self, most: int, setting: str = SETTING):
        """Args:
        most: failures tolerated in any WINDOW steps.
        setting: name of the setting with this number, for messages.
        """
        self.most, self.setting, self.total = most, setting, 0
        self.steps: deque[int] = deque(maxlen=most + 1)  # steps of the last failures

    def add(self, step: int) -> None:
        """Count a failure; `step` is the number of environment steps so far."""
        self.total += 1
        self.steps.append(step)

    @property
    def too_many(self) -> bool:
        return len(self.steps) > self.most and self.steps[-1] - self.steps[0] < WINDOW

    def __str__(self) -> str:
        return f"more than {self.setting}={self.most} failures in {WINDOW:,} environment steps"
