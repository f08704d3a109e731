"""Trackers beside the file record: what reaches Weights & Biases and MLflow, offline, and what a lost one changes."""

import importlib
import json
import math
import struct
import sys
import threading
from pathlib import Path

import pytest
from sacred import SETTINGS

from tandem.commands import upload
from tandem.config.commandline import UsageError
from tandem.records import runs, trackers, tracking
from tests.reference.fake_runs import recorded, reports

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("uncaptured")]


@pytest.fixture
def uncaptured(monkeypatch):
    monkeypatch.setattr(SETTINGS, "CAPTURE_MODE", "no")


class Notebook:
    """A tracker that writes down what it is told, and fails as often as it is asked to."""

    name = "the notebook"

    def __init__(self, failures: int = 0, error: BaseException | None = None):
        self.failures, self.error = failures, error or OSError("no room")
        self.begun: list[tracking.About] = []
        self.rows: list[tracking.Row] = []
        self.ended: list[tuple] = []

    def begin(self, about):
        self.begun.append(about)

    def log(self, rows):
        if self.failures > 0:
            self.failures -= 1
            raise self.error
        self.rows += rows

    def end(self, status, result):
        self.ended.append((status, result))
        return "on the table"


def mirrored(folder: Path, tracker, run, **settings):
    """Record a run with a tracker; return what was said of trouble."""
    said: list[str] = []
    mirror = tracking.TrackerMirror(tracker, folder / "sacred", interval=0.01, patience=2.0, say=said.append)
    recorded(folder, run, observers=[mirror], beat_interval=0.05, **settings)
    return said


def record_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the points of run 1 by metric as Sacred's file has them."""
    found = json.loads((folder / "sacred" / "1" / "metrics.json").read_text())
    return {name: list(zip(held["steps"], held["values"], strict=True)) for name, held in found.items()}


def same(found: dict, wanted: dict) -> None:
    """Compare points, of which some are no numbers."""
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert [step for step, _ in found[name]] == [step for step, _ in wanted[name]], name
        for (_, one), (_, other) in zip(found[name], wanted[name], strict=True):
            assert one == pytest.approx(other, rel=1e-6, nan_ok=True), name


def by_metric(rows: list[tracking.Row]) -> dict[str, list[tuple[int, float]]]:
    """Return rows as points by metric; a row that came twice counts once."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        for name, value in row.values.items():
            found.setdefault(name, {})[row.step] = value
    return {name: sorted(points.items()) for name, points in found.items()}


def test_a_tracker_gets_every_point_of_the_record(tmp_path, capsys):
    notebook = Notebook()
    assert mirrored(tmp_path, notebook, reports(300)) == []
    same(by_metric(notebook.rows), record_of(tmp_path))
    (about,) = notebook.begun
    assert about.title == "alg on world/valley, seed 5, run 1" and about.config["max_minutes"] == 2.0
    assert len(about.uid) == 24
    assert notebook.ended == [("finished", -300 / 3.0)] and "the notebook: on the table" in capsys.readouterr().out


@pytest.mark.parametrize("error", [OSError("no room"), SystemExit(1), TypeError("odd")])
def test_one_that_fails_for_a_while_lacks_nothing_afterwards(tmp_path, error):
    notebook = Notebook(failures=3, error=error)
    said = mirrored(tmp_path, notebook, reports(300))
    same(by_metric(notebook.rows), record_of(tmp_path))
    assert "cannot be written" in said[0] and type(error).__name__ in said[0] and "can be written again" in said[1]


def test_one_that_never_works_stops_no_run_and_what_to_do_is_said(tmp_path):
    notebook = Notebook(failures=10**9, error=OSError("no answer from https://me:hunter2@host/api"))
    said = mirrored(tmp_path, notebook, reports(300))
    assert "hunter2" not in repr(said) and "@host/api" in said[0]
    assert json.loads((tmp_path / "sacred/1/run.json").read_text())["status"] == "COMPLETED"
    assert len(record_of(tmp_path)["train/return"]) == 10 and notebook.ended == []
    assert "nothing is lost" in said[-1] and f"upload --run={tmp_path / 'sacred' / '1'}" in said[-1]
    whole = Notebook()
    assert tracking.send(runs.find(str(tmp_path / "sacred" / "1")), whole) == "on the table"
    same(by_metric(whole.rows), record_of(tmp_path))
    assert whole.ended == [("finished", -300 / 3.0)]


def test_one_that_hangs_is_given_up(tmp_path, monkeypatch):
    forever, notebook = threading.Event(), Notebook()
    notebook.begin = lambda about: forever.wait()
    monkeypatch.setattr(tracking, "PATIENCE", 0.2)
    said: list[str] = []
    mirror = tracking.TrackerMirror(notebook, tmp_path / "sacred", interval=0.01, patience=0.2, say=said.append)
    recorded(tmp_path, reports(150), observers=[mirror])
    assert len(said) == 1 and "has not taken all of this run" in said[0]
    forever.set()


def wandb_records(path: Path):
    """Yield the records of a file of Weights & Biases: a log of blocks of 32 kB, a record in one piece or several."""
    proto = importlib.import_module("wandb.proto.wandb_internal_pb2")
    content, at, whole = path.read_bytes(), 7, b""  # after the file's own header
    while at + 7 <= len(content):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            record = proto.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def test_weights_and_biases_offline_holds_the_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("wandb", reason="the package wandb is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    (tracker,) = trackers.chosen({"wandb_project": "teams", "mlflow_uri": ""})
    said: list[str] = []
    mirror = tracking.TrackerMirror(tracker, tmp_path / "sacred", interval=0.01, say=said.append)
    recorded(tmp_path, reports(300), observers=[mirror], learner_args={"depth": 3})
    assert said == [] and "wandb sync" in capsys.readouterr().out
    (path,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    found: dict[str, list] = {}
    config, summary, run = {}, {}, None
    for record in wandb_records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = run or record.run
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        if kind == "history":
            items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            for name in items.keys() - {"step", "_step", "_timestamp", "_runtime"}:
                value = math.nan if items[name] == "NaN" else items[name]
                found.setdefault(name, []).append((items["step"], value))
        if kind == "summary":
            summary |= {item.key: json.loads(item.value_json) for item in record.summary.update}
    same(found, record_of(tmp_path))
    assert run.project == "teams" and run.display_name == "alg on world/valley, seed 5, run 1"
    assert config["learner_args"] == {"depth": 3} and config["env"] == "world"
    assert summary["result"] == pytest.approx(-100.0) and summary["status"] == "finished"


def test_mlflows_database_holds_the_run_once_also_if_it_is_sent_again(tmp_path, capsys):
    tracking_client = pytest.importorskip("mlflow.tracking", reason="the package mlflow-skinny is not installed")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    (tracker,) = trackers.chosen({"wandb_project": "", "mlflow_uri": uri})
    said: list[str] = []
    mirror = tracking.TrackerMirror(tracker, tmp_path / "sacred", interval=0.01, say=said.append)
    recorded(tmp_path, reports(300), observers=[mirror], learner_args={"depth": 3})
    assert said == []
    upload.main(["--run=1", f"--mlflow={uri}", "with", f"results_dir={tmp_path}"])
    assert "MLflow: run" in capsys.readouterr().out
    client = tracking_client.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("world/valley")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.info.run_name == "alg on world/valley, seed 5, run 1"
    assert run.data.params["learner_args.depth"] == "3" and run.data.tags["tandem.result"] == "-100"
    wanted = record_of(tmp_path)
    found = {
        name: sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, name))
        for name in wanted
    }
    same(found, wanted)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"wandb_project": "a b"}, "wandb_project=a b: letters"),
        ({"mlflow_uri": "mlruns"}, "mlflow_uri=mlruns: MLflow no longer writes plain folders; choose sqlite:///"),
        ({"mlflow_uri": "file:///tmp/x"}, "no longer writes plain folders"),
        ({"mlflow_uri": "sqlite:////nowhere/at/all/a.db"}, "mlflow_uri=/nowhere/at/all/a.db: there is no folder"),
        ({"mlflow_uri": "http://me:***@host"}, "credentials"),
    ],
)
def test_a_tracker_that_cannot_be_used_is_told_before_any_work(monkeypatch, settings, message):
    monkeypatch.setattr(trackers, "_need", lambda *given: None)
    monkeypatch.setattr(trackers, "GONE", "***")
    with pytest.raises(UsageError) as error:
        trackers.chosen({"wandb_project": "", "mlflow_uri": ""} | settings)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"wandb_project": "teams"}, "wandb_project=teams: wandb is not installed; install it: pip install wandb"),
        ({"mlflow_uri": "http://localhost:1"}, "mlflow is not installed; install it: pip install mlflow-skinny"),
    ],
)
def test_a_missing_package_is_one_message(monkeypatch, settings, message):
    for name in ("wandb", "mlflow"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=message):
        trackers.chosen({"wandb_project": "", "mlflow_uri": ""} | settings)


def test_points_come_as_rows_in_the_order_of_their_steps():
    points = [("a", 30, 7000, 1.0), ("b", 10, 5000, 2.0), ("a", 10, 6000, 3.0), ("a", 30, 8000, 4.0)]
    assert tracking.rows(points) == [
        tracking.Row(10, 5000, {"b": 2.0, "a": 3.0}), tracking.Row(30, 7000, {"a": 4.0}),
    ]  # fmt: skip
