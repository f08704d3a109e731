"""A seed batch's output on the screen: the running runs, and the closing table."""

import statistics
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from tandem.experiments import seeds
from tandem.core.metrics import POLICY_RETURN, SEARCH_RETURN, TRAINING_SECONDS

COLUMNS = {SEARCH_RETURN: "return, search", POLICY_RETURN: "return, policy"}
WORDS = {"skipped": "done before", "elsewhere": "running elsewhere"}


def live_table(states: Mapping[int, str], logs: Mapping[int, str]) -> Table:
    """Return the summary of a batch in progress: the number of seeds by state, and a line for each running one."""
    counts = {state: list(states.values()).count(state) for state in dict.fromkeys(states.values())}
    title = ", ".join(f"{count} {WORDS.get(state, state)}" for state, count in counts.items())
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for seed, line in logs.items():
        table.add_row(f"seed {seed}", line)
    return table


def summary(batch: seeds.Batch, states: Mapping[int, str]) -> Table:
    """Return the closing table: a row for each seed, and the mean over the finished ones."""
    recorded = batch.recorded()
    rows = {seed: seeds.last_values(recorded[seed]) if seed in recorded else {} for seed in states}
    table = Table(title=Text(f"{batch.config['name']}, {len(states)} seeds"), title_justify="left")
    for column in ("seed", *COLUMNS.values(), "env steps", "minutes", "status", "run"):
        left = column in ("seed", "status", "run")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for seed, state in states.items():
        run = recorded[seed].id if seed in recorded else "-"
        table.add_row(str(seed), *_cells(rows[seed]), WORDS.get(state, state), run)
    finished = [rows[seed] for seed, state in states.items() if state in ("done", "skipped")]
    if finished:
        table.add_section()
        table.add_row(f"mean of {len(finished)}", *_cells(_mean(finished)))
    return table


def _cells(values: Mapping[str, float]) -> list[str]:
    """Return one row's numbers as text; "-" for missing ones."""
    returns = [f"{values[name]:.2f}" if name in values else "-" for name in COLUMNS]
    steps = f"{values['env_step']:,.0f}" if "env_step" in values else "-"
    minutes = f"{values[TRAINING_SECONDS] / 60:.1f}" if TRAINING_SECONDS in values else "-"
    return [*returns, steps, minutes]


def _mean(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return the mean of each value that all rows have."""
    shared = set.intersection(*(set(row) for row in rows))
    return {name: statistics.fmean(row[name] for row in rows) for name in shared}
