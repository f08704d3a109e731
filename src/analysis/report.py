"""The tables of a comparison: numbers first, then as Markdown, CSV and JSON."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tandem.analysis.comparison import Group, reaches
from tandem.analysis.estimators import Estimate

Row = dict[str, Any]


def row(group: Group, final: Estimate, at: float | None, threshold: float) -> Row:
    """Return one group's numbers; the median includes seeds that never reach the threshold."""
    reached = reaches(group, threshold)
    return {
        "task": group.task,
        "algorithm": group.label,
        "differing": group.differing,
        "seeds": len(group.histories),
        "unfinished": ", ".join(f"{run.label} ({run.status})" for run in group.unfinished),
        "diverged": group.diverged(at),
        "final": _finite(final.value),
        "final_low": None if final.low is None else float(final.low),
        "final_high": None if final.high is None else float(final.high),
        "steps": float(np.median([run.series[name].steps[-1] for run, name in zip(group.histories, group.metrics)])),
        "threshold": threshold,
        "reached": sum(math.isfinite(steps) for steps in reached["steps"]),
        "steps_to_threshold": _median(reached["steps"]),
        "minutes_to_threshold": _median(reached["time"]),
        "metric": ", ".join(dict.fromkeys(group.metrics)),
        "runs": [
            {
                "run": run.label,
                "seed": run.seed,
                "status": run.status,
                "final": _finite(score),
                "steps_to_threshold": _finite(steps),
                "minutes_to_threshold": _finite(minutes),
            }
            for run, score, steps, minutes in zip(group.histories, group.scores(at), reached["steps"], reached["time"])
        ],
        "config": group.config,
    }


def _median(values: Sequence[float]) -> float | None:
    """Return the median over seeds, or None if at least half never reached the threshold (or have no clock)."""
    middle = np.sort(np.asarray(values, dtype=float))[[(len(values) - 1) // 2, len(values) // 2]]
    return _finite(float(middle.sum() / 2))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def markdown(rows: Sequence[Row], improvements: Sequence[Mapping[str, Any]]) -> str:
    """Return both tables as Markdown with even columns."""
    head = [
        "task",
        "algorithm",
        "seeds",
        "final score, IQM [95 %]",
        "steps",
        "threshold",
        "steps to it",
        "minutes to it",
    ]
    body = [
        [
            row["task"],
            row["algorithm"],
            str(row["seeds"]) + (" †" if row["unfinished"] else ""),
            _interval(row),
            f"{row['steps']:,.0f}",
            f"{row['threshold']:.4g}",
            _reached(row, "steps_to_threshold", "{:,.0f}"),
            _reached(row, "minutes_to_threshold", "{:.2f}"),
        ]
        for row in rows
    ]
    text = _table(head, body)
    marks = [f"† unfinished: {row['unfinished']}" for row in rows if row["unfinished"]]
    if improvements:
        text += "\n\n" + _table(
            ["probability that a run of", "beats one of", "[95 %]"], [_improvement(i) for i in improvements]
        )
    return "\n".join([text, *([""] if marks else []), *marks])


def _interval(row: Row) -> str:
    if row["diverged"]:
        count = f"{row['diverged']} of {row['seeds']} diverged"
        return count if row["final"] is None else f"{row['final']:.2f} ({count})"
    if row["final_low"] is None:
        return f"{row['final']:.2f} (one seed)"
    return f"{row['final']:.2f} [{row['final_low']:.2f}, {row['final_high']:.2f}]"


def _reached(row: Row, key: str, form: str) -> str:
    """Return the median over seeds, with the number that reached the threshold unless all did."""
    count = "" if row["reached"] == row["seeds"] else f" ({row['reached']} of {row['seeds']})"
    return (form.format(row[key]) if row[key] is not None else "-") + count


def _improvement(found: Mapping[str, Any]) -> list[str]:
    estimate = found["estimate"]
    interval = "" if estimate.low is None else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    tasks = f", {len(found['tasks'])} tasks" if len(found["tasks"]) > 1 else ""
    return [found["first"], found["second"], f"{estimate.value:.2f}{interval}{tasks}"]


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *body]
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines)


def write(
    folder: Path, rows: Sequence[Row], improvements: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> list[Path]:
    """Write table.md, table.csv (a line for each group) and compare.json (everything, each run too); return where."""
    paths = [folder / "table.md", folder / "table.csv", folder / "compare.json"]
    paths[0].write_text(markdown(rows, improvements) + "\n")
    with paths[1].open("w", newline="") as file:
        columns = [key for key in rows[0] if key not in ("runs", "config", "differing")]
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    pairs = [{**pair, "estimate": _plain(pair["estimate"])} for pair in improvements]
    paths[2].write_text(json.dumps({**about, "groups": list(rows), "improvements": pairs}, indent=1) + "\n")
    return paths


def _plain(estimate: Estimate) -> dict[str, float | None]:
    return {key: None if value is None else float(value) for key, value in estimate._asdict().items()}
