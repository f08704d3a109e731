"""Reports -> Sacred, TensorBoard and the screen: who drives a run and writes down what it reports."""

import contextlib
import logging
import signal
from collections.abc import Iterator, Mapping
from typing import Any

from tensorboardX import SummaryWriter

from src.core import Report, Runner
from src.recording.places import Places, title
from src.recording.progress import RESULT, Progress
from src.recording.screen import Screen, summary
from src.recording.transcript import Transcript


def record(sacred_run: Any, config: Mapping[str, Any], run: Runner) -> float | None:
    """Drive a run to its end, writing down every report, and return the last return of an evaluation with search.

    Every metric goes to the Sacred run's observers and to TensorBoard under its own name, at its environment step.
    SIGINT and SIGTERM end the run; what was reported until then is kept.

    Raises:
      KeyboardInterrupt: after an interrupted run is written and summed up, so that Sacred marks it INTERRUPTED.
    """
    logging.getLogger("tensorboardX").setLevel(
        logging.ERROR
    )  # it warns of every NaN, which is a value like others here
    places = Places(config, sacred_run._id)
    progress = Progress(t_max=config["t_max"], max_seconds=60 * config["max_minutes"])
    transcript = Transcript()
    transcript.keep_with(sacred_run)
    screen = Screen(progress, transcript)
    interrupted = False
    screen.say(f"{title(config)}\n{places}")
    with contextlib.closing(SummaryWriter(str(places.curves), flush_secs=10)) as writer:
        try:
            with _terminable(), screen:
                for report, _ in run(config["seed"]):
                    progress.add(report)
                    _write(report, sacred_run, writer)
                    screen.show(report)
        except KeyboardInterrupt:
            interrupted = True
    screen.say(summary(config, progress, places, interrupted))
    sacred_run.captured_out = transcript.text  # Sacred looks no more when it is interrupted
    if interrupted:
        raise KeyboardInterrupt
    return progress.last.get(RESULT)


def _write(report: Report, sacred_run: Any, writer: SummaryWriter) -> None:
    """Write one report to Sacred's observers and TensorBoard."""
    for name, value in report.metrics.items():
        sacred_run.log_scalar(name, float(value), report.env_step)
        writer.add_scalar(name, float(value), report.env_step)
    if RESULT in report.metrics:
        sacred_run.result = report.metrics[RESULT]  # kept with the run even if it never finishes


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Within this context SIGTERM does what Ctrl-C does."""

    def interrupt(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
