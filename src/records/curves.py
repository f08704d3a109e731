"""Writes reports to TensorBoard: one folder of event files for each run, even if it is resumed.

Beside the curves it has the data of TensorBoard's other tabs: the settings and final metrics (HParams), the most
important curves (Custom Scalars), the configuration (Text), distributions and pictures. tensorboardX would write
HParams as a separate run named by the time. Here they belong to the run, so that it has one name in every tab.
"""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tensorboardX.proto.api_pb2 import STATUS_SUCCESS
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.proto.tensor_pb2 import TensorProto
from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboardX.summary import custom_scalars, histogram, image, scalar

from tandem.config import schema
from tandem.core import Report
from tandem.core.metrics import (
    AUTOREGRESSIVE_RETURN,
    EVAL_SECONDS,
    POLICY_RETURN,
    STEPS_PER_SECOND,
    TRAIN_RETURN,
    result,
)
from tandem.records.events import EventFile

BINS = 30  # the number that TensorBoard draws
# The metric that ranks runs, under one name for all algorithms. It is sorted first, because the
# HParams tab shows five metrics.
JUDGED = "eval/main/return"

# The most important curves: category -> chart -> metric. Charts without a metric in the run are left out.
# TensorBoard merges the layouts of several runs by appending new charts, so those that only some runs
# have come last.
RETURNS = {
    "evaluation, with search where there is one": JUDGED,
    "evaluation, without search, seeing earlier agents' actions": AUTOREGRESSIVE_RETURN,
    "evaluation, policy alone": POLICY_RETURN,
    "exploring play": TRAIN_RETURN,
}
LOSSES = {
    "all that is minimised": "train/loss",
    "policy": "train/policy_loss",
    "value": "train/value_loss",
    "reward": "train/reward_loss",
    "consistency": "train/consistency_loss",
    "distillation": "train/distil_loss",
}
SPEED = {"environment steps per second": STEPS_PER_SECOND, "seconds of an evaluation": EVAL_SECONDS}
OF_EVERY_TASK = (
    "return",
    "return_stderr",
    "length",
    "entropy",
)  # names of an evaluation's own metrics; the others are the environment's


def add_image(folder: Path, name: str, picture: np.ndarray, step: int) -> None:
    """Write a picture [height, width, 3] uint8 beside the curves of a finished run."""
    events = EventFile(folder, ".film")
    events.add(image(name, picture, dataformats="HWC"), step)
    events.flush()


class Curves:
    """The TensorBoard folder of one run."""

    def __init__(self, folder: Path, config: Mapping[str, Any], resume_at: int | None = None):
        """Args: resume_at: environment step from which a run continues; later points
        are hidden. None = a new run.
        """
        purge = None if resume_at is None else resume_at + 1
        suffix = "" if resume_at is None else f".{resume_at}"  # without it names are seconds
        self.folder = folder
        self.events = EventFile(folder, suffix, purge)
        self.names: set[str] = set()
        self.layout: dict[str, dict[str, str]] = {}
        self._add(text("config", f"```yaml\n{yaml.safe_dump(dict(config), sort_keys=False)}```"), resume_at or 0)
        self._add(session_start(flat(config)), 0)

    def write(self, report: Report, at: float | None = None) -> None:
        """Add the numbers of one report, and its distributions if it has any; `at` is its time, else now."""
        judged = result(report.metrics)
        metrics = report.metrics if judged is None else report.metrics | {JUDGED: judged}
        for name, value in metrics.items():
            self.events.add(scalar(name, float(value)), report.step, at)
        for name, values in report.histograms.items():
            finite = np.asarray(values, np.float64)[np.isfinite(values)]
            if finite.size:
                self.events.add(histogram(name, finite, BINS), report.step, at)
        if not self.names >= metrics.keys():
            self.names |= metrics.keys()
            self._lay_out(report.step)

    def flush(self) -> None:
        """Write everything that was added to the disk.

        Raises:
          OSError: this failed; the data are kept for the next attempt.
        """
        self.events.flush()

    def finish(self) -> None:
        """Write that the run has reached its end; an interrupted run writes this when it is resumed and ends."""
        self._add(session_end(), 0)

    def _lay_out(self, step: int) -> None:
        """Write the layout if it has changed; TensorBoard uses the last one, and merges those of all runs."""
        wanted = layout(self.names)
        if wanted != self.layout:
            self.layout = wanted
            charts = {
                category: {title: ["Multiline", [f"^{name}$"]] for title, name in charts.items()}
                for category, charts in wanted.items()
            }
            self._add(custom_scalars(charts), step)

    def _add(self, summary: Summary, step: int) -> None:
        self.events.add(summary, step)


def layout(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return {category: {chart's title: metric}}, most important first, of a run that has these metrics."""
    names = set(names)
    own = [name for name in sorted(names) if name.startswith("eval/") and name.split("/")[-1] not in OF_EVERY_TASK]
    categories = {
        "Team return": RETURNS,
        "What the environment counts": {name.removeprefix("eval/"): name for name in own},
        "Losses": LOSSES,
        "Speed": SPEED,
    }
    known = {
        title: {chart: name for chart, name in charts.items() if name in names} for title, charts in categories.items()
    }
    return {title: charts for title, charts in known.items() if charts}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the settings by which runs are compared: {"planner_args.num_simulations": 16}."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if not prefix and key in schema.bookkeeping():  # runs are not compared by these
            continue
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def session_start(settings: Mapping[str, Any]) -> Summary:
    """Return the summary that gives the run its line in the HParams tab.

    There is no summary with the tag `_hparams_/experiment`, which would list the columns, because TensorBoard takes it
    from any one run, without the settings of other algorithms. Without it, the columns are those of all runs, with
    differing settings first and the last value of every metric.
    """
    info = SessionStartInfo(start_time_secs=time.time())
    for key, value in settings.items():
        if isinstance(value, bool):
            info.hparams[key].bool_value = value
        elif isinstance(value, (int, float)):
            info.hparams[key].number_value = value
        else:
            info.hparams[key].string_value = str(value)
    return _hparams("_hparams_/session_start_info", HParamsPluginData(session_start_info=info))


def session_end() -> Summary:
    """Return the summary that marks the run as finished in the HParams tab."""
    info = SessionEndInfo(status=STATUS_SUCCESS, end_time_secs=time.time())
    return _hparams("_hparams_/session_end_info", HParamsPluginData(session_end_info=info))


def _hparams(tag: str, data: HParamsPluginData) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, metadata=_metadata("hparams", data.SerializeToString()))])


def text(tag: str, markdown: str) -> Summary:
    """Return a text for the Text tab."""
    tensor = TensorProto(
        dtype="DT_STRING",
        string_val=[markdown.encode()],
        tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
    )
    return Summary(value=[Summary.Value(tag=tag, metadata=_metadata("text"), tensor=tensor)])


def _metadata(plugin: str, content: bytes = b"") -> SummaryMetadata:
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin, content=content))
