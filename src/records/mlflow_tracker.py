"""MLflow as a tracker, through its client: a SQLite file, another database or a server."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tandem.hiding import hidden
from tandem.records.tracking import About, Row

MOST_AT_ONCE = 900  # metrics; a server takes 1000 at once
MOST_PARAMS = 100
LONGEST_VALUE = 500  # letters of a parameter
UID = "tandem.uid"
# Tandem repeats requests to an unreachable server; MLflow itself would retry for minutes before an error.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class Mlflow:
    """An MLflow store; the experiment is the environment with its task."""

    name = "MLflow"

    def __init__(self, uri: str):
        self.uri, self.run = uri, ""
        self.client: Any = None

    def begin(self, about: About) -> None:
        for name, value in IMPATIENT.items():
            os.environ.setdefault(name, value)
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it logs every table that it creates
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # and this logs each attempt
        self.client = MlflowClient(tracking_uri=self.uri)
        experiment = self.client.get_experiment_by_name(about.task)
        place = experiment.experiment_id if experiment else self.client.create_experiment(about.task)
        found = self.client.search_runs([place], f"tags.`{UID}` = '{about.uid}'")
        if found:
            self.run = found[0].info.run_id
            self.client.update_run(self.run, status="RUNNING")
            return
        self.run = self.client.create_run(place, run_name=about.title, tags={UID: about.uid}).info.run_id
        params = [Param(key, str(value)[:LONGEST_VALUE]) for key, value in _flat(about.config)]
        for part in _parts(params, MOST_PARAMS):
            self.client.log_batch(self.run, params=part)

    def log(self, rows: list[Row]) -> None:
        from mlflow.entities import Metric

        found = [Metric(name, value, row.time, row.step) for row in rows for name, value in row.values.items()]
        for part in _parts(found, MOST_AT_ONCE):
            self.client.log_batch(self.run, metrics=part)

    def end(self, status: str, result: float | None) -> str:
        self.client.set_tag(self.run, "tandem.status", status)
        if result is not None:
            self.client.set_tag(self.run, "tandem.result", f"{result:.6g}")
        self.client.set_terminated(self.run, STATUS[status])
        return f"run {self.run} in {hidden(self.uri)}"


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings of a nested configuration: ("planner_args.num_simulations", 8)."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _parts(items: Sequence[Any], most: int) -> Iterator[list[Any]]:
    return (list(items[i : i + most]) for i in range(0, len(items), most))
