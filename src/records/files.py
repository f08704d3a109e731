"""Sacred's file records, written so that they survive a crash at any moment and a run can be resumed."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sacred.dependencies import get_digest
from sacred.observers import FileStorageObserver
from sacred.serializer import flatten

from tandem.records import series
from tandem.records.disk import PATIENCE, Appended, insist, need, reason, tell
from tandem.records.places import replace_file, replace_with
from tandem.records.runs import lock, read_json

FINISHED = ("stop_time", "fail_trace")  # the fields that only a finished run's record has
GROWTH = 2  # Sacred's metrics.json is rewritten when the number of points has grown by this factor, and at the end


class FileRecord(FileStorageObserver):
    """Sacred's file observer, which replaces or appends to files safely, and can continue an earlier record.

    Points are appended to metrics.jsonl (src/records/series.py), because writing all of Sacred's metrics.json at each
    heartbeat would cost more and more.
    """

    def __init__(self, basedir: Path, resume_at: int | None = None, held: Any = None, say: Callable[[str], Any] = tell):
        """Args:
        resume_at: environment step from which the run with Sacred's id continues; None = a new run.
        held: the lock of a resumed run's record, if the caller already has it.
        say: gets a line if the disk fails while Sacred starts or ends the run.
        """
        super().__init__(basedir)
        self.resume_at, self.lock, self.say = resume_at, held, say
        self.patience = PATIENCE  # seconds to wait for a full disk when the run ends
        self.problem = ""  # what a finished run's record lacks, as a sentence
        self.points, self.due = 0, 1

    def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id):
        def start():
            if self.resume_at is None:
                return FileStorageObserver.started_event(
                    self, ex_info, command, host_info, start_time, config, meta_info, _id
                )
            return self._go_on(host_info, start_time, config, _id)

        return need(f"the record in {self.basedir}", start, self.say)

    def _make_run_dir(self, _id) -> None:
        """Create the run's folder once, because the start is repeated if the disk is full."""
        if self.dir is None:
            super()._make_run_dir(_id)
        self.lock = self.lock or lock(Path(self.dir))
        self.output = self.output_of()
        self.lines = Appended(Path(self.dir, series.LINES))

    def output_of(self) -> Appended:
        return Appended(Path(self.dir, "cout.txt"))

    def _go_on(self, host_info, start_time, config, _id) -> str:
        """Open the record of a resumed run; points after the step at which it continues are dropped."""
        self.dir = os.path.join(self.basedir, str(_id))
        self.lock = self.lock or lock(Path(self.dir))
        for partial in Path(self.dir).glob(".*.json*.*"):  # left by a killed process
            partial.unlink()
        self._cut()
        entry = self._saved("run.json")
        self.run_entry = {key: value for key, value in entry.items() if key not in FINISHED}
        self.run_entry |= {"status": "RUNNING", "host": dict(host_info)}
        self.run_entry["resumes"] = [
            *entry.get("resumes", []),
            {"time": start_time.isoformat(), "step": self.resume_at},
        ]
        self.config, self.info = config, self._saved("info.json")
        self.cout, self.cout_write_cursor, self.output = "", 0, self.output_of()
        self.save_json(config, "config.json")
        self.save_json(self.run_entry, "run.json")
        return _id

    def _cut(self) -> None:
        """Keep only the points up to the step at which the run continues, in both files."""
        kept = series.until(series.of(Path(self.dir)), self.resume_at)
        replace_with(Path(self.dir, series.LINES), lambda file: series.write_lines(kept, file))
        replace_with(Path(self.dir, series.METRICS), lambda file: series.write_sacreds(kept, file))
        self.lines = Appended(Path(self.dir, series.LINES))
        self.points = sum(map(len, kept.values()))
        self.due = GROWTH * max(1, self.points)

    def find_or_save(self, filename, store_dir: Path):
        """Return the path of a stored source file; a partial copy would be taken for the file the next time."""
        base, ending = os.path.splitext(os.path.basename(filename))
        path = store_dir / f"{base}_{get_digest(filename)}{ending}"
        if not path.exists():
            store_dir.mkdir(parents=True, exist_ok=True)
            partial = store_dir / f".{path.name}.{os.getpid()}"
            try:
                shutil.copyfile(filename, partial)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        return path

    def _saved(self, name: str) -> dict[str, Any]:
        """Return the content of one of the record's files; empty if there is no such file."""
        path = Path(self.dir, name)
        return read_json(path) if path.exists() else {}

    def save_json(self, obj: Any, filename: str) -> None:
        replace_file(Path(self.dir, filename), json.dumps(flatten(obj), sort_keys=True, indent=2))

    def save_cout(self) -> None:
        self.output.write(self.cout[self.cout_write_cursor :].encode())
        self.cout_write_cursor = len(self.cout)

    def artifact_event(self, name, filename, metadata=None, content_type=None) -> None:
        """Note an artifact, once; a file of the run's folder is not copied, and each heartbeat writes the note."""
        if Path(filename).resolve().parent != Path(self.dir).resolve():
            self.save_file(filename, name)
        if name not in self.run_entry["artifacts"]:
            self.run_entry["artifacts"].append(name)

    def log_metrics(self, metrics_by_name: Mapping[str, Mapping[str, list]], info: Any) -> None:
        """Append new points. After an error none of them is written, so that the caller can try again."""
        if not metrics_by_name:
            return
        self.lines.write(series.line(metrics_by_name))
        self.points += sum(len(points["steps"]) for points in metrics_by_name.values())
        if self.points >= self.due:
            self.due = GROWTH * self.points
            with contextlib.suppress(OSError):  # the points are written; at the end this is insisted on
                self._write_sacreds()

    def _write_sacreds(self) -> None:
        """Write Sacred's metrics.json from metrics.jsonl."""
        found = series.of(Path(self.dir))
        replace_with(Path(self.dir, series.METRICS), lambda file: series.write_sacreds(found, file))

    def completed_event(self, stop_time, result) -> None:
        self._end(lambda: FileStorageObserver.completed_event(self, stop_time, result))

    def interrupted_event(self, interrupt_time, status) -> None:
        self._end(lambda: FileStorageObserver.interrupted_event(self, interrupt_time, status))

    def failed_event(self, fail_time, fail_trace) -> None:
        self._end(lambda: FileStorageObserver.failed_event(self, fail_time, fail_trace))

    def _end(self, say_so: Callable[[], None]) -> None:
        """Write the fields that only a finished run's record has; this waits for a full disk, but not forever."""
        lines = Path(self.dir, series.LINES)
        try:
            if lines.exists():
                insist(f"the record {self.dir}", self._write_sacreds, self.say, self.patience)
            insist(f"the record {self.dir}", say_so, self.say, self.patience)
            lines.unlink(missing_ok=True)
        except (OSError, ValueError) as error:
            self.patience = 0.0
            where = f"its metrics are in {lines.name}"
            self.problem = f"the record {self.dir} could not be finished: {reason(error)}; {where}"
        except KeyboardInterrupt:  # whoever does not want to wait does not want to wait again
            self.patience = 0.0
            raise

    def join(self) -> None:
        """Release the record; Sacred calls this when the run has ended in any way."""
        self.lock.close()
