"""What goes wrong with the actors of a run: counted together, told to people, and the end of the run when it is too much."""

from collections.abc import Sequence

from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from src.core import RunError

IN_MAKING = "creation task"  # Ray's words for an actor that could not even be made


class Failures:
    """The failures of a run's actors and of their environments."""

    def __init__(self, most: int):
        """Args: most: so many are lived with."""
        self.most = most
        self.restarts, self.env_failures = 0, 0
        self.notes: list[str] = []  # for people, since they were last taken

    def restarted(self, who: str, why: str) -> None:
        """Count an actor that is to be started again.

        Raises:
          RunError: there were too many, or it could never be started.
        """
        if IN_MAKING in why:
            raise RunError(f"{who} cannot be started:\n{why}")
        self.restarts += 1
        self._count(f"{who} was started again: {why}", f"{who}: {why}")

    def of_environments(self, who: str, tracebacks: Sequence[str]) -> None:
        """Count the failures of an actor's environments.

        Raises:
          RunError: there were too many.
        """
        for text in tracebacks:
            self.env_failures += 1
            self._count(f"an environment of {who} failed and was made anew; its episode is discarded:\n{text}", text)

    def _count(self, note: str, last: str) -> None:
        self.notes.append(note)
        if self.restarts + self.env_failures > self.most:
            raise RunError(
                f"more than runner_args.max_failures={self.most} failures of actors and environments; the last one:\n{last}"
            )

    def take_notes(self) -> tuple[str, ...]:
        notes, self.notes = tuple(self.notes), []
        return notes


def problem(error: RayTaskError) -> RunError:
    """Return what to tell the user of an error that was raised in an actor."""
    return RunError(str(error.cause) if isinstance(error.cause, RunError) else f"in an actor: {error}")


def reason(error: RayError, waited: float) -> str:
    """Return why an actor is of no use any more, in a line, or with its traceback if it could not be made.

    Args:
      waited: seconds, where there was no answer.
    """
    if isinstance(error, GetTimeoutError):
        return f"no answer for {waited:g} seconds (runner_args.actor_timeout)"
    text = str(error).strip()
    return text if IN_MAKING in text else (text.splitlines() or [type(error).__name__])[0]
