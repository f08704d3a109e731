"""How many failures are too many: they are counted against the environment steps that are taken meanwhile."""

from collections import deque

WINDOW = 1_000_000  # environment steps, after which a failure is forgotten
SETTING = "runner_args.max_failures"
ADVICE = "repair what fails, or allow more failures there"


class Tally:
    """The failures of a run, or of a part of it."""

    def __init__(self, most: int, setting: str = SETTING):
        """Args:
        most: so many are lived with in any WINDOW steps.
        setting: the name of what says so, for people.
        """
        self.most, self.setting, self.total = most, setting, 0
        self.steps: deque[int] = deque(maxlen=most + 1)  # at which the last ones happened

    def add(self, step: int) -> None:
        """Count a failure; `step` is how many environment steps have been taken so far."""
        self.total += 1
        self.steps.append(step)

    @property
    def too_many(self) -> bool:
        return len(self.steps) > self.most and self.steps[-1] - self.steps[0] < WINDOW

    def __str__(self) -> str:
        return f"more than {self.setting}={self.most} failures in {WINDOW:,} environment steps"
