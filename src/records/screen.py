"""A run's output on the screen: one progress bar, and a closing table."""

import contextlib
import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table

from tandem.core import Report
from tandem.core.metrics import result
from tandem.records.places import Places, title
from tandem.records.progress import Progress, clock
from tandem.records.transcript import Transcript

COMPILING = "compiling, a minute or so at a first start ..."
SECONDS_BETWEEN_LINES = 10.0  # of plain output


class Screen:
    """One progress bar on a terminal, and otherwise a line at intervals. The transcript always gets
    these lines.
    """

    def __init__(self, progress: Progress, transcript: Transcript):
        self.transcript = transcript
        terminal = sys.stdout.isatty()
        # Text is shown unchanged, as in the transcript: [i], [/usr] and :name: in a traceback are no markup.
        self.console = Console(highlight=False, markup=False, emoji=False, width=None if terminal else 120)
        self.progress = progress
        self.last_line = float("-inf")
        self.live = None
        if terminal:
            self.live = Live(get_renderable=lambda: bar(progress), console=self.console, refresh_per_second=2)

    def __enter__(self) -> "Screen":
        if self.live:
            self.live.start()
        self._plain(COMPILING)
        return self

    def __exit__(self, *error: Any) -> None:
        if self.live:
            with contextlib.suppress(OSError):
                self.live.stop()

    def say(self, what: Any) -> None:
        self.transcript.say(what)
        self._print(what)

    def _print(self, what: Any) -> None:
        """Print if possible, because a closed terminal or pipe or a full disk must not end the training."""
        with contextlib.suppress(OSError):
            self.console.print(what, soft_wrap=isinstance(what, str))
            self.console.file.flush()

    def show(self, report: Report) -> None:
        """Show a report: plain output gets a line if it has an evaluation or a line is due."""
        due = time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES
        if due or result(report.metrics) is not None:
            self.last_line = time.monotonic()
            self._plain(" | ".join(lines(self.progress)))

    def _plain(self, line: str) -> None:
        """Print a line with the content of a terminal's bar."""
        self.transcript.say(line)
        if not self.live:
            self._print(line)


def lines(progress: Progress) -> list[str]:
    """Return a run's progress, its actors' work, if any, and its last returns."""
    return [line for line in (progress.pace(), progress.actors(), progress.returns()) if line]


def bar(progress: Progress) -> Any:
    """Return a terminal's display of a running run: bar, pace, last returns."""
    if progress.first is None:
        return Spinner("dots", f"{COMPILING} {clock(time.monotonic() - progress.begun)}")
    rows = Table.grid(expand=True)
    for row in (ProgressBar(total=1.0, completed=progress.fraction), *lines(progress)):
        rows.add_row(row)
    return rows


def summary(config: Mapping[str, Any], progress: Progress, places: Places, interrupted: bool) -> Table:
    """Return the closing table: final evaluation, steps, what ended the run early, time and where the files are."""
    table = Table(
        title=title(config) + (": interrupted" if interrupted else ": done"), show_header=False, title_justify="left"
    )
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name in sorted(name for name in progress.last if name.startswith("eval/")):
        table.add_row(name, f"{progress.last[name]:.3f}")
    table.add_row(progress.clock, f"{progress.step:,}")
    if progress.ended_by_the_clock and not interrupted:
        reached = f"{100 * progress.step / progress.t_max:.1f} % of t_max={progress.t_max:,}"
        table.add_row(
            "ended by",
            f"max_minutes={config['max_minutes']:g}, at {reached}, which schedules of learning rates span",
        )
    if progress.ending and not interrupted:
        table.add_row("ended by", f"{progress.ending}; t_max={progress.t_max:,}")
    if progress.clock != "updates":
        table.add_row("updates", f"{progress.update:,}")
    table.add_row(
        "training time", f"{clock(progress.training_seconds)} (and {clock(progress.startup_seconds)} to start up)"
    )
    table.add_row("records", str(places.record or "none (-u)"))
    table.add_row("curves", str(places.curves))
    return table
