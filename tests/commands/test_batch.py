"""A batch of two seeds as a user types it, called twice."""

import re

from tests.test_main import CACHE, SMALL, type_in

WORDS = ["batch", "--config=mazero_seq", "--env-config=matrix_game", "with", *SMALL, CACHE, "max_minutes=0.003"]


def test_a_batch_trains_its_seeds_once_and_goes_on_where_it_is_not_done(tmp_path):
    first = type_in(tmp_path, *WORDS[:3], "--seeds=1-2", "--jobs=2", *WORDS[3:])
    assert first.returncode == 0, first.stdout + first.stderr
    assert "seed 1: done" in first.stdout and "seed 2: done" in first.stdout and "mean of 2" in first.stdout
    logs = list((tmp_path / "results" / "batches").glob("*/seed-*.log"))
    assert len(logs) == 2 and all("seed" in log.read_text() for log in logs)
    again = type_in(tmp_path, *WORDS[:3], "--seeds=1-2", *WORDS[3:])
    assert again.returncode == 0 and again.stdout.count("done before") == 2 and "started" not in again.stdout
    assert sorted(path.name for path in (tmp_path / "results" / "sacred").glob("[0-9]*")) == ["1", "2"]


def test_a_batch_of_a_wrong_configuration_fails_before_anything_starts(tmp_path):
    for words in (["--seeds=x"], ["--seeds=2", "with", "t_maxx=5"], ["--seeds=2", "with", "seed=1"], []):
        done = type_in(tmp_path, *WORDS[:3], *words)
        assert done.returncode == 2 and "Traceback" not in done.stderr and list(tmp_path.iterdir()) == [], done
    assert re.search("--seeds", done.stderr)
