"""`show`: what is said of a run, also where its record is damaged."""

import json

import pytest

from tandem.commands import show
from tandem.config.commandline import UsageError
from tests.commands import stub_runs

NAMES = ("run.json", "metrics.json", "provenance.json")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return stub_runs.write(tmp_path / "runs [v1]", 1, [-3.0, -2.5])


def shown(capsys) -> str:
    assert show.main(["--run=1", "with", "results_dir=elsewhere", "results_dir=runs [v1]"]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_the_last_results_folder_that_is_typed_counts_and_is_shown_as_it_is_written(folder, capsys):
    out = shown(capsys)
    assert "COMPLETED" in out and "-2.500 at step 200" in out and "runs [v1]/sacred/1" in out


@pytest.mark.parametrize("content", ["null", "[]", "5", '"x"', "{", "", '{"a": 5}', "{}", "\xff"])
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_named_and_the_rest_is_shown(folder, capsys, name, content):
    (folder / name).write_bytes(content.encode("latin1"))
    out = shown(capsys)
    assert "configuration:" in out
    assert (f"{name} is damaged" in out) == (
        content not in ("{}", '{"a": 5}') or name == "metrics.json" and content != "{}"
    )


@pytest.mark.parametrize("value", [None, 5, "x", [], {}, [None], {"a": None}, [5]])
@pytest.mark.parametrize("key", ["status", "start_time", "resumes", "artifacts", "stop_time", "heartbeat"])
def test_whatever_a_record_says_is_shown(folder, capsys, key, value):
    entry = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(entry | {key: value}))
    assert "status" in shown(capsys)


def test_curves_that_lie_elsewhere_are_told(folder, capsys):
    (folder / "provenance.json").write_text(json.dumps({"curves": "../../strange"}))
    assert "'../../../strange', which leads out of runs [v1]/tb_logs" in shown(capsys)


def test_a_configuration_that_is_none_is_no_run(folder):
    (folder / "config.json").write_text("[]")
    with pytest.raises(UsageError, match="config.json is damaged: it holds a list instead of an object"):
        show.main(["--run=1", "with", "results_dir=runs [v1]"])
