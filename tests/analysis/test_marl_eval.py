"""Runs in marl-eval's JSON layout, compared with one that was written by hand."""

import json

import pytest

from tandem.commands import compare
from tandem.config.commandline import UsageError
from tests.commands import stub_runs


def add_series(folder, **series):
    """Give a run more metrics: {name: [(step, value), ...]}, with / for two underscores."""
    path = folder / "metrics.json"
    held = json.loads(path.read_text())
    for name, points in series.items():
        steps, values = zip(*points, strict=True)
        held[name.replace("__", "/")] = {"steps": list(steps), "values": list(values)}
    path.write_text(json.dumps(held))


def test_runs_stand_in_the_file_as_marl_eval_reads_them(tmp_path, capsys):
    first = stub_runs.write(tmp_path, 1, [-9.0, -4.0, -5.5], seed=1)
    add_series(first, eval__search__won=[(100, 0.0), (200, 0.25), (300, 0.5)])
    add_series(first, eval__search__odd=[(100, 1.0)], eval__policy__return=[(100, -1.0), (200, -1.0), (300, -1.0)])
    second = stub_runs.write(tmp_path, 2, [-8.0, -7.0, -6.0], seed=4)
    add_series(second, eval__search__won=[(100, 0.0), (200, 0.0), (300, 1.0)])
    stub_runs.write(tmp_path, 3, [0.5, 0.25], seed=2, name="plain", metric="eval/policy/return", env_args={}, env="lbf")
    path = tmp_path / "runs.json"
    words = ["1-3", f"--marl-eval={path}", f"--out={tmp_path / 'out'}", "with", f"results_dir={tmp_path}"]
    assert compare.main(words) == 0
    assert json.loads(path.read_text()) == {
        "mpe": {
            "valley": {
                "alg": {
                    "seed_1": {
                        "step_1": {"step_count": 100, "return": [-9.0], "won": [0.0]},
                        "step_2": {"step_count": 200, "return": [-4.0], "won": [0.25]},
                        "step_3": {"step_count": 300, "return": [-5.5], "won": [0.5]},
                        "absolute_metrics": {"return": [-4.0], "won": [0.25]},
                    },
                    "seed_4": {
                        "step_1": {"step_count": 100, "return": [-8.0], "won": [0.0]},
                        "step_2": {"step_count": 200, "return": [-7.0], "won": [0.0]},
                        "step_3": {"step_count": 300, "return": [-6.0], "won": [1.0]},
                        "absolute_metrics": {"return": [-6.0], "won": [1.0]},
                    },
                }
            }
        },
        "lbf": {
            "lbf": {
                "plain": {
                    "seed_2": {
                        "step_1": {"step_count": 100, "return": [0.5]},
                        "step_2": {"step_count": 200, "return": [0.25]},
                        "absolute_metrics": {"return": [0.5]},
                    }
                }
            }
        },
    }
    assert str(path) in capsys.readouterr().out


def test_what_marl_eval_would_refuse_is_said(tmp_path, capsys):
    stub_runs.write(tmp_path, 1, [-9.0, -4.0], seed=1)
    stub_runs.write(tmp_path, 2, [-9.0], seed=2)
    stub_runs.write(tmp_path, 3, [-9.0], seed=1, name="other")
    words = ["1-3", f"--marl-eval={tmp_path / 'a.json'}", f"--out={tmp_path / 'out'}"]
    assert compare.main([*words, "with", f"results_dir={tmp_path}"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "number of evaluations in all runs of an environment; those of mpe have 1 to 2" in said
    assert "number of seeds in all runs of an environment; those of mpe have 1 to 2" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--marl-eval=/nowhere/a.json"], "nowhere"), (["--marl-evl=a.json"], "did you mean --marl-eval")],
)
def test_a_file_that_cannot_be_written_and_a_typo_are_told(tmp_path, words, message):
    stub_runs.write(tmp_path, 1, [-9.0], seed=1)
    with pytest.raises(UsageError, match=message):
        compare.main(["1", *words, "with", f"results_dir={tmp_path}"])
