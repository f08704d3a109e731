"""A batch of two seeds as a user types it, interrupted and called again; and what is done about each seed."""

import re
import signal
import subprocess
import sys
import time

import pytest

from tandem.commands import arguments, flags
from tandem.experiments import batch
from tandem.experiments.seeds import Batch
from tandem.config.commandline import UsageError
from tandem.records import files
from tests.commands import stub_runs
from tests.test_main import CACHE, ROOT, SMALL, type_in

# Six seconds: longer than a batch takes to pass Ctrl-C on, so that the run it is meant for still trains.
WORDS = ["batch", "--config=mazero_seq", "--env-config=matrix_game", "with", *SMALL, CACHE, "max_minutes=0.1"]


def test_a_batch_trains_its_seeds_once_and_goes_on_where_it_is_not_done(tmp_path):
    command = [sys.executable, str(ROOT / "src" / "main.py"), *WORDS[:3], "--seeds=1-2", "--jobs=1", *WORDS[3:]]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        wait_for_line("compiling", tmp_path, process)  # seed 1 is recorded and far from its end
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and "seed 1: interrupted" in out and "seed 2: started" not in out, out

    again = type_in(tmp_path, *WORDS[:3], "--seeds=1-2", "--jobs=2", *WORDS[3:])
    assert again.returncode == 0, again.stdout + again.stderr
    assert "seed 1: resumed" in again.stdout and "seed 2: started" in again.stdout and "mean of 2" in again.stdout
    logs = list((tmp_path / "results" / "batches").glob("*/seed-*.log"))
    assert len(logs) == 2 and all("done" in log.read_text() for log in logs)

    third = type_in(tmp_path, *WORDS[:3], "--seeds=1-2", *WORDS[3:])
    assert third.returncode == 0 and third.stdout.count("done before") == 2 and "started" not in third.stdout
    assert sorted(path.name for path in (tmp_path / "results" / "sacred").glob("[0-9]*")) == ["1", "2"]


def wait_for_line(text, folder, process):
    """Wait until a log of the batch holds a text."""
    for _ in range(12000):
        logs = list((folder / "results" / "batches").glob("*/*.log"))
        if process.poll() is not None or any(text in log.read_text() for log in logs):
            return
        time.sleep(0.02)


def planned(results, *words, seeds=(1,)):
    """Return what a batch is going to do: {seed: (state, words for main.py)}."""
    _, request = arguments.parse(flags.parser("batch", ""), ["--config=a", "--env-config=b", *words])
    drive = batch.Drive(Batch(stub_runs.config(results), seeds), request, 1, [{}])
    drive.plan()
    return {job.seed: (job.state, job.words) for job in drive.jobs}


def test_each_seed_is_skipped_left_alone_resumed_or_started(tmp_path):
    folders = {seed: stub_runs.write(tmp_path, seed, [0.0], seed=seed, status="RUNNING") for seed in (2, 3, 4, 5)}
    stub_runs.write(tmp_path, 1, [0.0], seed=1)
    (tmp_path / "models" / "3" / "100").mkdir(parents=True)
    (folders[4] / "metrics.json").unlink()  # killed before anything was measured or saved
    with files.lock(folders[2]):
        found = planned(tmp_path, "with", "t_max=7", "checkpoint_args.keep_last=3", seeds=[1, 2, 3, 4, 5, 6])
    assert (found[1][0], found[2][0]) == ("skipped", "elsewhere")
    for seed in (3, 4):
        assert found[seed] == ("waiting", ["train", f"--resume={folders[seed]}", "with", "checkpoint_args.keep_last=3"])
    for seed in (5, 6):  # of 5 there are points and no checkpoints: an older record
        start = [
            "train",
            "--config=a",
            "--env-config=b",
            "with",
            f"seed={seed}",
            "t_max=7",
            "checkpoint_args.keep_last=3",
        ]
        assert found[seed] == ("waiting", start)


def test_the_database_is_handed_on_and_its_password_kept_from_the_log(tmp_path, monkeypatch):
    url = "mongodb://user:s3cret@host/x"
    assert planned(tmp_path, "-m", url)[1][1][:4] == ["train", "--config=a", "--env-config=b", f"--mongo={url}"]
    _, request = arguments.parse(flags.parser("batch", ""), ["with", f"mongo_url={url}"])
    drive = batch.Drive(Batch(stub_runs.config(tmp_path), [1]), request, 1, [{}])
    drive.batch.logs.mkdir(parents=True)
    drive.plan()
    handed = []
    monkeypatch.setattr(batch.processes, "start", lambda words, *_: handed.append(words))
    drive.start(drive.jobs[0])
    drive.jobs[0].log.close()
    assert f"mongo_url={url}" in handed[0]
    assert "mongo_url=mongodb://***@host/x" in drive.batch.log(1).read_text()


@pytest.mark.parametrize("words", [["--resume=3"], ["--checkpoint=best"], ["-u"]])
def test_flags_that_a_batch_cannot_heed_are_refused(words):
    with pytest.raises(UsageError, match=f"cannot read '{words[0].partition('=')[0]}"):
        arguments.parse(flags.parser("batch", ""), words)


def test_a_run_that_is_going_on_is_not_started_twice(tmp_path):
    first = batch.lock(tmp_path / "log")
    assert batch.lock(tmp_path / "log") is None
    first.close()
    batch.lock(tmp_path / "log").close()


def test_a_batch_of_a_wrong_configuration_fails_before_anything_starts(tmp_path):
    unbuildable = [
        "--seeds=2",
        "with",
        "network_args.attention_heads=3",
    ]  # each value is allowed, together they do not fit
    for words in (unbuildable, ["--seeds=x"], ["--seeds=2", "with", "t_maxx=5"], ["--seeds=2", "with", "seed=1"], []):
        done = type_in(tmp_path, *WORDS[:3], *words)
        assert done.returncode == 2 and "Traceback" not in done.stderr and list(tmp_path.iterdir()) == [], done
    assert re.search("--seeds", done.stderr)
