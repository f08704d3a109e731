"""Runs whose numbers are no longer finite: told at once, failed by default, and never the best of anything."""

import math

import pytest

from tandem.records import checkpoint_folder
from tests.test_main import CACHE, SMALL, read, type_in

ON_POLICY = [
    "runner_args.num_envs=3",
    "runner_args.rollout_length=4",
    "runner_args.report_every=120",
    "eval_args.episodes=11",
    "platform=cpu",
]
TOO_FAST = {
    "mazero_seq": [*SMALL, "learner_args.learning_rate=1e30"],
    "mappo": [*ON_POLICY, "learner_args.learning_rate=1e30", "learner_args.num_minibatches=1"],
    "mappo_distil": [
        *ON_POLICY,
        *(
            f"learner_args.{phase}_{rest}"
            for phase in ("policy", "value", "distil")
            for rest in ("learning_rate=1e30", "minibatches=1")
        ),
    ],
}


def train(folder, config: str, *settings: str):
    words = ["eval_args.every=120", "t_max=360", "checkpoint_args.every_steps=120"]
    return type_in(
        folder, f"--config={config}", "--env-config=matrix_game", "with", *TOO_FAST[config], *words, CACHE, *settings
    )


@pytest.mark.parametrize("config", TOO_FAST)
def test_a_run_of_nan_fails_at_the_first_report_that_has_one(tmp_path, config):
    done = train(tmp_path, config)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done
    assert done.stdout.count("not finite at step 120: ") == 1 and "train/parameter_norm" in done.stdout
    assert "the run has ended at step 120" in done.stderr and "on_nan=continue" in done.stderr
    run, metrics = read(tmp_path, "run.json"), read(tmp_path, "metrics.json")
    assert run["status"] == "FAILED" and run["result"] is None
    judged = [
        series["values"] for name, series in metrics.items() if name.startswith("eval/") and name.endswith("return")
    ]
    assert judged and all(math.isnan(value) for values in judged for value in values)
    assert checkpoint_folder.steps(tmp_path / "results" / "models" / "1") == []


def test_a_run_of_nan_may_go_on_and_has_no_score_and_no_film(tmp_path):
    done = train(tmp_path, "mazero_seq", "on_nan=continue", "video=True")
    assert done.returncode == 0, done
    assert done.stdout.count("not finite at step") == 1 and "film" not in done.stdout
    assert read(tmp_path, "run.json")["status"] == "COMPLETED" and read(tmp_path, "run.json")["result"] is None
    models = tmp_path / "results" / "models" / "1"
    assert checkpoint_folder.steps(models) and all(
        checkpoint_folder.read_meta(models / str(step)).score is None for step in checkpoint_folder.steps(models)
    )
