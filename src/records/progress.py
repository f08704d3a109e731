"""The progress and the speed of a run."""

import dataclasses
import math
import time
from collections.abc import Mapping

from tandem.core import Report
from tandem.core.metrics import POLICY_RETURN, SEARCH_RETURN, TRAIN_RETURN, TRAINING_SECONDS

SHOWN = {SEARCH_RETURN: "search", POLICY_RETURN: "policy", TRAIN_RETURN: "train"}


def not_finite(metrics: Mapping[str, float]) -> list[str]:
    """Return the names of the metrics that are not finite numbers. Metrics without a value are not in a report."""
    return sorted(name for name, value in metrics.items() if not math.isfinite(value))


@dataclasses.dataclass
class Progress:
    """A run's progress. Training time is the runner's own count if reported, else the time since the first report."""

    t_max: int
    max_seconds: float  # of training; 0 = no limit
    clock: str = "environment steps"  # what the run counts
    last: dict[str, float] = dataclasses.field(default_factory=dict)  # latest value of each metric
    step: int = 0
    update: int = 0
    begun: float = dataclasses.field(default_factory=time.monotonic)
    ending: str = ""  # why it ended before both of its limits
    first: tuple[float, int, float] | None = None  # time, step, training time at the first report

    def add(self, report: Report) -> None:
        self.step, self.update, self.ending = report.step, report.update, report.ending
        self.last |= report.metrics
        if self.first is None:
            self.first = time.monotonic(), report.step, report.metrics.get(TRAINING_SECONDS, 0.0)

    @property
    def training_seconds(self) -> float:
        since_first = time.monotonic() - self.first[0] if self.first else 0.0
        return self.last.get(TRAINING_SECONDS, since_first)

    @property
    def startup_seconds(self) -> float:
        return (self.first[0] if self.first else time.monotonic()) - self.begun

    @property
    def steps_per_second(self) -> float:
        steps, seconds = (self.step - self.first[1], self.training_seconds - self.first[2]) if self.first else (0, 0.0)
        return steps / seconds if steps and seconds else 0.0

    @property
    def fraction(self) -> float:
        time_used = self.training_seconds / self.max_seconds if self.max_seconds else 0.0
        return min(1.0, max(self.step / self.t_max, time_used))

    @property
    def ended_by_the_clock(self) -> bool:
        """Whether max_minutes has passed before t_max."""
        return 0 < self.max_seconds <= self.training_seconds and self.step < self.t_max

    @property
    def seconds_left(self) -> float | None:
        """Seconds until t_max or max_minutes, whichever comes first; None if still unknown."""
        limits = []
        if self.steps_per_second:
            limits.append((self.t_max - self.step) / self.steps_per_second)
        if self.max_seconds and self.first:
            limits.append(self.max_seconds - self.training_seconds)
        return max(0.0, min(limits)) if limits else None

    def pace(self) -> str:
        """Return steps, speed and time left."""
        parts = [f"{self.step:,} of {self.t_max:,} {_short(self.clock)}"]
        if self.steps_per_second:
            parts.append(f"{self.steps_per_second:,.0f} {_short(self.clock)}/s")
        if self.seconds_left is not None:
            parts.append(f"{clock(self.seconds_left)} left")
        return " | ".join(parts)

    def actors(self) -> str:
        """Return the actors' speed and how they keep pace with the learner; "" without separate actors."""
        if "actors/learner_idle" not in self.last:
            return ""
        speeds = [value for name, value in self.last.items() if name.startswith("actors/steps_per_second/")]
        names = ("learner_idle", "staleness", "queue", "store_mb")
        idle, staleness, queue, store = (self.last[f"actors/{name}"] for name in names)
        return (
            f"actors: {len(speeds)}, {sum(speeds):,.0f} steps/s while acting, staleness {staleness:.1f}, queue "
            f"{queue:.1f}, "
            f"store {store:,.0f} MB, learner idle {idle:.0%}"
        )

    def returns(self) -> str:
        """Return the last returns: of the evaluations with search and by the policy alone, and of training."""
        known = [f"{label} {self.last[name]:.2f}" for name, label in SHOWN.items() if name in self.last]
        return "return: " + ", ".join(known or ["none yet"])


def clock(seconds: float) -> str:
    """Return "2:05" or "1:02:05"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _short(clock: str) -> str:
    """Return the last word of what a run counts: "steps" of "environment steps"."""
    return clock.split()[-1]
