"""Learning from the rows of an earlier run: from the command line to a team that plays well without having acted."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from tandem import build, contracts
from tandem.records import checkpoint_folder, rows as recorded_rows
from tandem.config import commandline, loader
from tandem.main import main

ROWS = 1536
CLIMBING = [
    "--config=mazero_joint",
    "--env-config=matrix_game",
    "with",
    "seed=3",
    "platform=cpu",
    "video=False",
    "compile_cache_dir=",
    "network_args.latent_size=16",
    "network_args.hidden_size=32",
    "network_args.encoder_size=32",
    "network_args.attention=none",
    "learner_args.warmup_updates=10",
    "eval_args.episodes=16",
    "replay_args.min_size=64",
    "env_args.relabel=True",
]


def train(results: Path, *words: str) -> int:
    return main([*CLIMBING, f"results_dir={results}", *words])


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Return the results of run 1, which played at random and learned nothing, and of run
    2, which learned from its rows.
    """
    folder = tmp_path_factory.mktemp("results")
    acting = [
        "runner_args.num_envs=32",
        "runner_args.rollout_length=4",
        "runner_args.report_every=768",
        "replay=uniform",
    ]
    assert train(folder, *acting, f"t_max={ROWS}", "runner_args.updates_per_step=0.0", "eval_args.every=1536") == 0
    assert train(folder, *OFFLINE, "t_max=400", "eval_args.every=200") == 0
    return folder


OFFLINE = ["runner=offline", "runner_args.rows=1", "runner_args.report_every=100", "replay=uniform"]


def metrics(results: Path, run: str) -> dict:
    return json.loads((results / "sacred" / run / "metrics.json").read_text())


def test_a_team_learns_from_rows_of_random_play_what_it_never_played(results):
    random_play, learned = (metrics(results, run)["eval/search/return"]["values"] for run in ("1", "2"))
    assert learned[-1] == 11.0 > random_play[-1] + 2.0


def test_the_clock_of_such_a_run_counts_updates(results):
    found = metrics(results, "2")
    assert found["train/loss"]["steps"] == [100, 200, 300, 400] and found["eval/search/return"]["steps"] == [200, 400]
    assert checkpoint_folder.steps(results / "models" / "2")[-1] == 400
    assert "400 of 400 updates" in (results / "sacred" / "2" / "cout.txt").read_text()


def test_a_checkpoint_holds_what_is_learned_and_no_rows(results):
    sums = checkpoint_folder.read_meta(results / "models" / "2" / "400").sums
    assert not [name for name in sums if name.startswith(("replay", "actors"))]
    rows = checkpoint_folder.read_meta(results / "models" / "1" / str(ROWS)).sums
    assert "replay.experience.reward" in rows


def test_going_on_is_like_never_having_stopped(results):
    built = built_offline(results, "t_max=300")
    whole = [jax.device_get(state.learner.params) for _, state in built.run(5)]
    first = next(iter(built_offline(results, "t_max=300").run(5)))[1]
    rest = [jax.device_get(state.learner.params) for _, state in built_offline(results, "t_max=300").run(5, first)]
    assert len(whole) == 3 and len(rest) == 2
    jax.tree.map(np.testing.assert_array_equal, rest[-1], whole[-1])


def built_offline(results: Path, *words: str) -> build.Built:
    request = commandline.parse([*CLIMBING, f"results_dir={results}", *OFFLINE, *words], ("train",))
    return build.build(loader.load(request.config, request.env_config, request.updates))


def test_rows_are_read_in_the_order_in_which_they_were_made(results):
    built = built_offline(results)
    rows = recorded_rows.load(results, "1", contracts.row_of(built.spec, built.plan.extras))
    made = rows.env_step.reshape(32, -1)
    assert rows.reward.shape == (1, ROWS, 2) and (np.diff(made, axis=1) == 32).all() and (made[:, 0] == 0).all()
    assert rows.first.reshape(32, -1)[:, 0].all()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["runner_args.rows="], "runner_args.rows: not given; name the recorded run"),
        (["runner_args.rows=9"], "runner 'offline': "),
        (["replay=prioritised"], "recorded rows are sampled without priorities; choose replay=uniform"),
        (["env_args.num_agents=3"], "of the rows of run 1 is "),
        (
            ["replay_args.min_size=1537", "replay_args.capacity=4000", "t_max=2000"],
            "fewer rows than replay_args.min_size",
        ),
        (["runner_args.report_every=500"], "runner_args.report_every=500: more than t_max=400"),
    ],
)
def test_rows_that_do_not_fit_are_refused_before_anything_is_trained(results, words, told):
    with pytest.raises(loader.ConfigError) as caught:
        built_offline(results, "t_max=400", *words)
    assert told in str(caught.value), caught.value
