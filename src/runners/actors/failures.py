"""Counts and reports the failures of a run's actors, and ends the run if there are too
many.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from tandem.core import RunError
from tandem.runners.tally import ADVICE, Tally

REMADE = "an environment failed and was replaced; its episode is discarded"


class Loss(NamedTuple):
    """Why an actor cannot be used any more."""

    why: str  # a line, or a traceback if the actor could not be created
    in_making: bool = False


class Failures:
    """The failures of a run's actors and of their environments."""

    def __init__(self, most: int):
        """Args: most: failures tolerated in a million environment steps."""
        self.tally = Tally(most)
        self.env_step = 0  # environment step of the run, which the session sets
        self.restarts, self.env_failures = 0, 0
        self.notes = Notes()

    def restarted(self, who: str, loss: Loss) -> None:
        """Count an actor that has to be restarted.

        Raises:
          RunError: there were too many, or it could never be started.
        """
        if loss.in_making:
            raise RunError(f"{who} cannot be started:\n{loss.why}")
        self.restarts += 1
        self._count(f"{who} was restarted", loss.why, f"{who}: {loss.why}")

    def of_environments(self, who: str, tracebacks: Sequence[str]) -> None:
        """Count the failures of an actor's environments.

        Raises:
          RunError: there were too many.
        """
        for text in tracebacks:
            self.env_failures += 1
            self._count(REMADE, text, f"an environment of {who}:\n{text}")

    def _count(self, what: str, why: str, last: str) -> None:
        self.notes.add(what, why)
        self.tally.add(self.env_step)
        if self.tally.too_many:
            raise RunError(f"actors and environments failed too often: {self.tally}; {ADVICE}. The last one:\n{last}")

    def take_notes(self) -> tuple[str, ...]:
        return self.notes.take()


class Notes:
    """Messages for the user: the first failure of each kind in full, then the number of repetitions."""

    def __init__(self):
        self.totals: Counter[int] = Counter()  # by kind, the number of all failures
        self.new: dict[int, tuple[str, int]] = {}  # by kind: the first unreported failure, and their number

    def add(self, what: str, why: str) -> None:
        kind = hash((what, re.sub(r"0x[0-9a-f]+|\d+", "#", why)))  # seeds, addresses and times differ
        self.totals[kind] += 1
        text, number = self.new.get(kind, (f"{what}:\n{why}" if "\n" in why else f"{what}: {why}", 0))
        self.new[kind] = text, number + 1

    def take(self) -> tuple[str, ...]:
        """Return the messages since the last call."""
        found = tuple(told(text, number, self.totals[kind]) for kind, (text, number) in self.new.items())
        self.new = {}
        return found


def told(text: str, number: int, total: int) -> str:
    """Return the message about a failure that happened `number` more times, and `total` times in all."""
    if number == total:
        return text if total == 1 else f"{text}\n(and {times(total - 1)} more)"
    lines = text.splitlines()
    short = lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"
    return f"{short} (as reported before; {times(number)} more, {total} in all)"


def times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def problem(error: RayTaskError) -> RunError:
    """Return the message on an error that was raised in an actor."""
    return RunError(str(error.cause) if isinstance(error.cause, RunError) else f"in an actor: {error}")


def loss(error: RayError, waited: float) -> Loss:
    """Return the reason why an actor is gone, from an error.

    Args:
      waited: seconds without an answer, if that was the reason.
    """
    if isinstance(error, GetTimeoutError):
        return Loss(f"no answer for {waited:g} seconds (runner_args.actor_timeout)")
    text = str(error).strip()
    if isinstance(error, RayActorError) and error.actor_init_failed:
        return Loss(text, in_making=True)
    return Loss((text.splitlines() or [type(error).__name__])[0])
