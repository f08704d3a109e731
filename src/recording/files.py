"""Sacred's file records, so written that a crash at any moment leaves them whole, and a run can be gone on with."""

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sacred.observers import FileStorageObserver
from sacred.serializer import flatten

from src.recording.places import replace_file
from src.runs import lock, read_json, read_series

FINISHED = ("stop_time", "fail_trace")  # what only the record of an ended run says


class FileRecord(FileStorageObserver):
    """Sacred's file observer with every file replaced whole, and able to go on with an earlier record."""

    def __init__(self, basedir: Path, resume_at: int | None = None):
        """Args: resume_at: environment step from which the run with the id that Sacred gives goes on; None = a new run."""
        super().__init__(basedir)
        self.resume_at = resume_at
        self.written_to = -1  # the highest step of a metric in the file
        self.changed = threading.Condition(threading.RLock())

    def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id):
        if self.resume_at is None:
            _id = super().started_event(ex_info, command, host_info, start_time, config, meta_info, _id)
            self.lock = lock(Path(self.dir))
            return _id
        self.dir = os.path.join(self.basedir, str(_id))
        self.lock = lock(Path(self.dir))
        self.save_json(until(self._saved("metrics.json", read_series), self.resume_at), "metrics.json")
        entry = self._saved("run.json")
        self.run_entry = {key: value for key, value in entry.items() if key not in FINISHED}
        self.run_entry |= {"status": "RUNNING", "host": dict(host_info)}
        self.run_entry["resumes"] = [*entry.get("resumes", []), {"time": start_time.isoformat(), "step": self.resume_at}]
        self.config, self.info = config, self._saved("info.json")
        self.cout, self.cout_write_cursor = "", 0
        self.save_json(config, "config.json")
        self.save_json(self.run_entry, "run.json")
        return _id

    def join(self) -> None:
        """Let go of the record: Sacred calls this when the run has ended, however it did."""
        self.lock.close()

    def _saved(self, name: str, read: Callable[[Path], dict[str, Any]] = read_json) -> dict[str, Any]:
        """Return what one of the record's files holds; nothing if there is no such file."""
        path = Path(self.dir, name)
        return read(path) if path.exists() else {}

    def save_json(self, obj: Any, filename: str) -> None:
        with self.changed:
            replace_file(Path(self.dir, filename), json.dumps(flatten(obj), sort_keys=True, indent=2))

    def log_metrics(self, metrics_by_name: Mapping[str, Mapping[str, list]], info: Any) -> None:
        with self.changed:
            if metrics_by_name:
                super().log_metrics(metrics_by_name, info)
                self.written_to = max(self.written_to, *(step for m in metrics_by_name.values() for step in m["steps"]))
            self.changed.notify_all()

    def heartbeat_event(self, info, captured_out, beat_time, result):
        with self.changed:
            super().heartbeat_event(info, captured_out, beat_time, result)

    def wait_until_written(self, step: int, timeout: float) -> bool:
        """Return whether the metrics up to `step` are in the file, waiting until they are."""
        with self.changed:
            return self.changed.wait_for(lambda: self.written_to >= step, timeout)


def until(metrics: Mapping[str, Mapping[str, list]], step: int) -> dict[str, dict[str, list]]:
    """Return metric series without the points after `step`; the run makes them anew."""
    kept = {}
    for name, series in metrics.items():
        places = [i for i, at in enumerate(series["steps"]) if at <= step]
        if places:
            kept[name] = {field: [values[i] for i in places] for field, values in series.items()}
    return kept
