"""Reports -> Sacred, TensorBoard and the screen. The only place of a run that writes or prints anything."""

import contextlib
import dataclasses
import logging
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from tensorboardX import SummaryWriter

from src.core import Report, Runner

RESULT = "eval/search/return"
SHOWN = {RESULT: "search", "eval/policy/return": "policy", "train/return": "train"}
COMPILING = "compiling, a minute or so at a first start ..."
SECONDS_BETWEEN_LINES = 10.0  # of plain output


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
    screen = Screen(progress)
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
    if interrupted:
        raise KeyboardInterrupt
    return progress.last.get(RESULT)


def title(config: Mapping[str, Any]) -> str:
    """Return what is being run in one line."""
    return f"{config['name']} on {_task(config)}, seed {config['seed']}"


def _task(config: Mapping[str, Any]) -> str:
    """Return the environment and which of its tasks: "mpe/simple_spread"."""
    scenario = config["env_args"].get("scenario", config["env_args"].get("map_name"))
    return f"{config['env']}/{scenario}" if scenario else config["env"]


class Places:
    """Where a run's records lie."""

    def __init__(self, config: Mapping[str, Any], run_id: str | None):
        results = Path(config["results_dir"])
        self.record = results / "sacred" / run_id if run_id else None
        self.logs = results / "tb_logs"
        stamp = time.strftime("%Y%m%d-%H%M%S") + (f"-run{run_id}" if run_id else "")
        self.curves = self.logs / _task(config) / config["name"] / f"{config['seed']}-{stamp}"

    def __str__(self) -> str:
        return f"records: {self.record or 'none (-u)'}\ncurves:  {self.curves}  (tensorboard --logdir {self.logs})"


@dataclasses.dataclass
class Progress:
    """How far a run is. Training time is the runner's own count if it reports one, else since the first report."""

    t_max: int
    max_seconds: float  # of training; 0 = no limit
    last: dict[str, float] = dataclasses.field(default_factory=dict)  # latest value of each metric
    env_step: int = 0
    update: int = 0
    begun: float = dataclasses.field(default_factory=time.monotonic)
    first: tuple[float, int] | None = None  # time and environment step of the first report, when all is compiled

    def add(self, report: Report) -> None:
        self.first = self.first or (time.monotonic(), report.env_step)
        self.env_step, self.update = report.env_step, report.update
        self.last |= report.metrics

    @property
    def training_seconds(self) -> float:
        since_first = time.monotonic() - self.first[0] if self.first else 0.0
        return self.last.get("time/training_seconds", since_first)

    @property
    def startup_seconds(self) -> float:
        return (self.first[0] if self.first else time.monotonic()) - self.begun

    @property
    def steps_per_second(self) -> float:
        steps = self.env_step - self.first[1] if self.first else 0
        return steps / self.training_seconds if steps and self.training_seconds else 0.0

    @property
    def fraction(self) -> float:
        time_used = self.training_seconds / self.max_seconds if self.max_seconds else 0.0
        return min(1.0, max(self.env_step / self.t_max, time_used))

    @property
    def seconds_left(self) -> float | None:
        """Seconds until t_max or max_minutes, whichever comes first; None while nobody can tell."""
        limits = []
        if self.steps_per_second:
            limits.append((self.t_max - self.env_step) / self.steps_per_second)
        if self.max_seconds and self.first:
            limits.append(self.max_seconds - self.training_seconds)
        return max(0.0, min(limits)) if limits else None

    def pace(self) -> str:
        """Return steps, speed and time left."""
        parts = [f"{self.env_step:,} of {self.t_max:,} steps"]
        if self.steps_per_second:
            parts.append(f"{self.steps_per_second:,.0f} steps/s")
        if self.seconds_left is not None:
            parts.append(f"{_clock(self.seconds_left)} left")
        return " | ".join(parts)

    def returns(self) -> str:
        """Return the last returns: of the evaluations with search and by the policy alone, and of training."""
        known = [f"{label} {self.last[name]:.2f}" for name, label in SHOWN.items() if name in self.last]
        return "return: " + ", ".join(known or ["none yet"])


class Screen:
    """One progress bar on a terminal; elsewhere a line now and then."""

    def __init__(self, progress: Progress):
        terminal = sys.stdout.isatty()
        self.console = Console(highlight=False, width=None if terminal else 120)
        self.progress = progress
        self.last_line = float("-inf")
        self.live = None
        if terminal:
            self.live = Live(get_renderable=lambda: bar(progress), console=self.console, refresh_per_second=2)

    def __enter__(self) -> "Screen":
        if self.live:
            self.live.start()
        else:
            self.say(COMPILING)
        return self

    def __exit__(self, *error: Any) -> None:
        if self.live:
            self.live.stop()

    def say(self, what: Any) -> None:
        self.console.print(what, soft_wrap=isinstance(what, str))
        self.console.file.flush()

    def show(self, report: Report) -> None:
        """Take note of a report: plain output gets a line if it holds an evaluation or one is due."""
        due = time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES
        if not self.live and (due or RESULT in report.metrics):
            self.last_line = time.monotonic()
            self.say(f"{self.progress.pace()} | {self.progress.returns()}")


def bar(progress: Progress) -> Any:
    """Return what a terminal shows while a run goes on: bar, pace, last returns."""
    if progress.first is None:
        return Spinner("dots", f"{COMPILING} {_clock(time.monotonic() - progress.begun)}")
    rows = Table.grid(expand=True)
    for row in (ProgressBar(total=1.0, completed=progress.fraction), progress.pace(), progress.returns()):
        rows.add_row(row)
    return rows


def summary(config: Mapping[str, Any], progress: Progress, places: Places, interrupted: bool) -> Table:
    """Return the closing table: final evaluation, steps, time and where the files are."""
    table = Table(
        title=title(config) + (": interrupted" if interrupted else ": done"), show_header=False, title_justify="left"
    )
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name in sorted(name for name in progress.last if name.startswith("eval/")):
        table.add_row(name, f"{progress.last[name]:.3f}")
    table.add_row("environment steps", f"{progress.env_step:,}")
    table.add_row("updates", f"{progress.update:,}")
    table.add_row(
        "training time", f"{_clock(progress.training_seconds)} (and {_clock(progress.startup_seconds)} to start up)"
    )
    table.add_row("records", str(places.record or "none (-u)"))
    table.add_row("curves", str(places.curves))
    return table


def _write(report: Report, sacred_run: Any, writer: SummaryWriter) -> None:
    """Write one report to Sacred's observers and TensorBoard."""
    for name, value in report.metrics.items():
        sacred_run.log_scalar(name, float(value), report.env_step)
        writer.add_scalar(name, float(value), report.env_step)
    if RESULT in report.metrics:
        sacred_run.result = report.metrics[RESULT]  # kept with the run even if it never finishes


def _clock(seconds: float) -> str:
    """Return "2:05" or "1:02:05"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


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
