"""What a user does with recorded runs: go on after a kill, repeat, evaluate, look at; and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import pytest

from tandem.records import checkpoint, checkpoint_folder, runs
from tandem import main, restored
from tandem.commands import resuming
from tandem.config import commandline
from tandem.records.files import lock
from tests.test_main import ROOT, TINY, type_in

SETTINGS = ["t_max=1440", "eval_args.every=480", "max_minutes=0", "checkpoint_args.every_steps=240", "seed=3"]
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with run 1, killed with SIGKILL and gone on with to its end, and
    run 2, the same never stopped.
    """
    folder = tmp_path_factory.mktemp("runs") / "of [v1] \\ *"  # a name that libraries take for a pattern
    folder.mkdir()
    command = [sys.executable, str(ROOT / "src" / "main.py"), *TINY, *SETTINGS]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        next(line for line in process.stdout if line.startswith("960 of"))
        process.send_signal(signal.SIGKILL)
    record = json.loads((folder / "results" / "sacred" / "1" / "run.json").read_text())
    assert record["status"] == "RUNNING"  # nobody could write anything else
    resumed = type_in(folder, "train", "--resume=1")
    assert resumed.returncode == 0 and "resuming from step" in resumed.stdout, resumed
    again = type_in(folder, "rerun", "--run", "results/sacred/1")
    assert again.returncode == 0 and ", running" not in again.stdout, again
    return folder


@pytest.fixture
def typed(folder, monkeypatch, capsys):
    """Return a function that runs a command line in this process, in the folder, and
    returns (status, stdout, stderr).
    """
    monkeypatch.chdir(folder)

    def typed(*words):
        status = main.main(words)
        return status, *capsys.readouterr()

    return typed


def read(folder, run: str, name: str):
    return json.loads((folder / "results" / "sacred" / run / f"{name}.json").read_text())


def untimed(metrics: dict) -> dict:
    return {name: (m["steps"], m["values"]) for name, m in metrics.items() if not name.startswith("time/")}


def test_a_killed_run_that_goes_on_ends_bit_identical_to_its_repetition_that_never_stopped(folder):
    models = [checkpoint_folder.folder(folder / "results", run) / "1440" for run in "12"]
    one, other = (checkpoint_folder.read_meta(path).sums for path in models)
    assert one.keys() == other.keys() and len(one) > 100
    assert {name for name in one if one[name] != other[name]} <= {"training_seconds"}


def test_the_record_of_a_killed_run_that_went_on_has_every_point_once(folder):
    metrics = untimed(read(folder, "1", "metrics"))
    assert metrics == untimed(read(folder, "2", "metrics"))
    assert metrics["train/return"][0] == list(range(120, 1441, 120))
    assert metrics["eval/search/return"][0] == [480, 960, 1440]
    one, other = (read(folder, run, "run") for run in "12")
    assert one["status"] == other["status"] == "COMPLETED" and one["result"] == other["result"]
    assert len(one["resumes"]) == 1 and "resumes" not in other
    assert read(folder, "1", "config") == read(folder, "2", "config")
    curves = list((folder / "results" / "tb_logs" / "matrix_game" / "climbing" / "mazero_seq").iterdir())
    assert len(curves) == 2


def test_a_run_is_evaluated_by_search_and_by_the_policy_alone(folder, typed):
    status, out, _ = typed("evaluate", "--run=1", "--checkpoint=last", "with", "eval_args.episodes=29")
    assert (
        status == 0 and "return, with search" in out and "optimal, policy alone" in out and "optimal, in turns" in out
    )
    (path,) = (folder / "results" / "sacred" / "1").glob("evaluation-1440-*.json")
    found = json.loads(path.read_text())
    assert (found["episodes"], found["env_step"], found["run"]) == (29, 1440, "1")
    for how in ("search", "policy"):
        assert set(found[how]) == {"return", "length", "optimal", "entropy"}
        scores = found[how]["return"]
        assert scores["min"] <= scores["mean"] <= scores["max"] and scores["stderr"] >= 0
        # The policies are greedy and the game is one step, so that every evaluation finds the same.
        assert scores["mean"] == pytest.approx(
            read(folder, "1", "metrics")[f"eval/{how}/return"]["values"][-1], abs=1e-5
        )


def test_a_runs_parts_come_back_with_the_parameters_of_its_checkpoint(folder):
    run = runs.find("1", folder / "results")
    last = restored.restore(run, "last")
    assert last.step == 1440 and last.env.spec.num_agents == 2 and last.config["seed"] == 3
    state, _ = checkpoint.split({"learner": {"params": last.params}})
    written = checkpoint_folder.read_meta(checkpoint_folder.folder(folder / "results", "1") / "1440").sums
    needed = {name for name in written if name.startswith("learner.params.")}
    only_learning = ("learner.params.projector.", "learner.params.predictor.")
    assert set(state) == {name for name in needed if not name.startswith(only_learning)} < needed


def test_show_tells_where_a_run_comes_from(typed):
    status, out, _ = typed("show", "--run=1")
    assert status == 0
    for words in ("run 1: mazero_seq on matrix_game/climbing", "COMPLETED", "resumed", "commit", "seed", "devices"):
        assert words in out
    for words in ("jax 0.", "checkpoints", "eval/search/return", "configuration:", "num_simulations: 2"):
        assert words in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "--resume=1"], ["run '1' is complete", "t_max=..."]),
        (["train", "--resume=7"], ["no run '7'", "there are runs 1, 2"]),
        (["train", "--resume=nowhere/7"], ["nowhere/7 does not exist"]),
        (["train", "--resume=1", "with", "seed=4", "t_max=2000"], ["seed: cannot be changed", "max_minutes"]),
        (["train", "--resume=1", "--config=mazero_seq"], ["--config: a recorded run has its own"]),
        (["train", "--resume=1", "--checkpoint=5", "with", "t_max=2000"], ["no checkpoint '5'", "1440"]),
        (["train", "--resume"], ["--resume needs a run's id or path"]),
        (["train", "--resume=1", "with", "t_max=many"], ["t_max (command line): got 'many'"]),
        (["rerun"], ["which run?"]),
        (["evaluate", "--run=1", "--checkpoint=5"], ["no checkpoint '5'"]),
        (["evaluate"], ["--run", "--help"]),
        (["evaluate", "--run=1", "with", "network_args.latent_size=9"], ["is of another configuration", "float32[6]"]),
        (["show", "--run=9"], ["no run '9'"]),
    ],
)
def test_what_cannot_be_done_with_a_run_is_said_in_a_sentence(typed, words, expected):
    status, out, err = typed(*words)
    assert status == 2 and out == "" and "Traceback" not in err
    assert all(text in err for text in expected), err


def test_the_second_of_two_that_go_on_with_a_run_is_refused_before_any_work_is_done(folder, typed, monkeypatch):
    from tandem.commands import resuming

    # As both see it when they start in one moment: nobody holds the record, and then the other one is first.
    checked, held = resuming.prepare, []

    def overtaken(request):
        found = checked(request)
        held.append(lock(found.run.folder))
        return found

    monkeypatch.setattr(resuming, "prepare", overtaken)
    before = read(folder, "1", "run")
    status, out, err = typed("train", "--resume=1", "with", "t_max=2000")
    held[0].close()
    assert status == 2 and "run '1' is in use by another process" in err and "Traceback" not in err
    assert read(folder, "1", "run") == before


def test_checkpoints_that_cannot_be_gone_on_with_leave_the_record_as_it_was(folder, typed):
    for run in ("1", "2"):
        shutil.copytree(folder / "results" / "sacred" / run, folder / "bad" / "sacred" / run, dirs_exist_ok=True)
    models = folder / "bad" / "models"
    shutil.copytree(folder / "results" / "models" / "1", models / "1")
    meta = models / "1" / "1440" / "meta.json"
    whole = meta.read_text()
    record = (folder / "bad" / "sacred" / "1" / "run.json").read_text()

    def refused(*expected):
        status, _, err = typed("train", "--resume=bad/sacred/1", "with", "t_max=2000")
        assert status == 2 and all(text in err for text in expected), err
        assert (folder / "bad" / "sacred" / "1" / "run.json").read_text() == record

    meta.write_text(whole.replace('"learner": "mazero"', '"learner": "other"'))
    refused("has another configuration", "they differ in learner")
    meta.write_text(whole[:500])
    refused("damaged", "meta.json", "--checkpoint=")
    meta.write_text(whole)
    largest = max((path for path in meta.parent.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-7])
    refused("damaged", "bytes", "--checkpoint=")
    shutil.rmtree(models / "1")
    refused("there is no checkpoint in")


def copied(folder, name: str):
    """Return a results folder with a copy of run 1 and its checkpoints."""
    results = folder / name
    shutil.copytree(folder / "results" / "sacred" / "1", results / "sacred" / "1", dirs_exist_ok=True)
    shutil.copytree(folder / "results" / "models" / "1", results / "models" / "1", dirs_exist_ok=True)
    return results


def rewrite(path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def prepare(results, *words: str) -> resuming.Again:
    request = commandline.parse(["train", f"--resume={results / 'sacred' / '1'}", "with", *words], main.COMMANDS)
    return resuming.prepare(request)


def test_a_run_recorded_before_a_setting_existed_is_gone_on_with(folder):
    results = copied(folder, "older")

    def without_new_settings(config):
        del config["learner_args"]["weight_decay"], config["video"]

    rewrite(results / "sacred" / "1" / "config.json", without_new_settings)
    for meta in (results / "models" / "1").glob("*/meta.json"):
        rewrite(meta, lambda content: content["config"]["learner_args"].pop("weight_decay"))
    assert prepare(results, "t_max=2000").path.name == "1440"
    rewrite(meta, lambda content: content["config"]["learner_args"].update(weight_decay=0.5))
    with pytest.raises(commandline.UsageError, match="they differ in learner_args.weight_decay"):
        prepare(results, "t_max=2000")


def test_programs_are_kept_in_the_readers_own_cache_whatever_a_record_says(folder):
    results = copied(folder, "foreign")
    strange = folder / "strange"
    rewrite(results / "sacred" / "1" / "config.json", lambda config: config.update(compile_cache_dir=str(strange)))
    config = prepare(results, "t_max=2000").config
    assert config["compile_cache_dir"] == "auto" and not strange.exists()
    assert jax.config.jax_compilation_cache_dir.startswith(os.environ["XDG_CACHE_HOME"])
    assert (
        prepare(results, "t_max=2000", f"compile_cache_dir={folder / 'mine'}")
        .config["compile_cache_dir"]
        .endswith("mine")
    )


def test_curves_that_a_record_places_elsewhere_are_not_written(folder, typed):
    results = copied(folder, "curves")
    rewrite(results / "sacred" / "1" / "provenance.json", lambda facts: facts.update(curves="../../strange"))
    status, _, err = typed("train", "--resume=curves/sacred/1", "with", "t_max=2000")
    assert status == 2 and "leads out of" in err and "'../../../strange'" in err, err


def test_evaluations_with_different_settings_stand_beside_each_other(folder, typed):
    copied(folder, "several")
    words = ("evaluate", "--run=several/sacred/1", "--checkpoint=last", "with")
    for settings in (["eval_args.episodes=11"], ["eval_args.episodes=11", "seed=5"], ["eval_args.episodes=11"]):
        assert typed(*words, *settings)[0] == 0
    found = [
        json.loads(path.read_text()) for path in (folder / "several" / "sacred" / "1").glob("evaluation-1440*.json")
    ]
    assert sorted(one["settings"].get("seed", 0) for one in found if one["episodes"] == 11) == [0, 5]


def test_an_evaluation_that_cannot_be_kept_is_printed_all_the_same(folder, typed):
    results = copied(folder, "closed")
    (results / "sacred" / "1" / "evaluation-1440.json").mkdir()  # as little to be written as in a read-only folder
    status, out, _ = typed("evaluate", "--run=closed/sacred/1", "--checkpoint=last")
    assert (
        status == 0
        and "return, with search" in out
        and "not saved: closed/sacred/1/evaluation-1440.json cannot be written" in out
    )


def test_a_damaged_best_checkpoint_is_told_and_no_other_is_taken_for_it(folder, typed):
    results = copied(folder, "damaged")
    best = checkpoint_folder.best(results / "models" / "1")
    (best / "meta.json").write_text("{")
    status, out, err = typed("evaluate", "--run=damaged/sacred/1")
    assert (
        status == 2
        and out == ""
        and "the best checkpoint cannot be found" in err
        and f"{best} is damaged" in err.replace("damaged/models", str(results / "models"))
    )
    status, out, _ = typed("show", "--run=damaged/sacred/1")
    assert status == 0 and "is damaged (meta.json" in " ".join(out.split())
