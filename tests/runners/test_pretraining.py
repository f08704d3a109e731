"""Pre-training from the configuration on: rows that fit, one message for those that do not, and the same end always."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem import build
from tandem.config import commandline, loader
from tandem.config.loader import ConfigError
from tandem.datasets import store
from tandem.datasets.card import complete
from tandem.datasets.dataset import from_rows, spec_of
from tandem.envs import matrix_game
from tandem.records import checkpoint
from tandem.records.checkpoint_folder import Meta, folder
from tests.reference import offline_rows

T_MAX, REPORT, UPDATES = 192, 64, 12
SMALL = [
    "t_max=192", "max_minutes=0", "eval_args.every=192", "eval_args.episodes=4", "video=False", "compile_cache_dir=",
    "learner_args.warmup_updates=2", "runner_args.num_envs=8", "runner_args.rollout_length=4",
    "runner_args.report_every=64", "runner_args.updates_per_step=0.0625", "replay_args.min_size=32",
    f"learner_args.pretrain_updates={UPDATES}",
]  # fmt: skip
NETWORK = {
    "mazero_joint": [
        "network_args.latent_size=8", "network_args.hidden_size=8", "network_args.encoder_size=8",
        "network_args.attention=none", "planner_args.num_simulations=2", "planner_args.max_depth=1",
        "learner_args.unroll=1", "learner_args.n_step=1",
    ],
    "marie": ["learner_args.context=1", "learner_args.horizon=2"],
}  # fmt: skip


def climbing(rng: np.random.Generator) -> list[tuple]:
    one = rng.integers(0, 3, 2)
    return [(1, one, matrix_game.CLIMBING[one[0]][one[1]])]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A dataset of random play in the climbing game, which does not say what the policy was."""
    path, spec = tmp_path_factory.mktemp("rows") / "random", matrix_game.make(matrix_game.Config()).spec
    rows = jax.tree.map(lambda x: np.asarray(x)[0], offline_rows.episodes(climbing, choices=3))
    blank = {"obs": np.zeros((rows.first.size, 2, spec.obs.size), np.float32)}
    blank |= {"state": np.zeros((rows.first.size, spec.state.size), np.float32)}
    rows = rows.replace(**blank, **{f"next_{name}": array for name, array in blank.items()})
    card = {
        "format": 1, "env": "matrix_game", "env_args": {}, "task": "climbing", "level": "random",
        "spec": spec_of(spec), "behaviour_known": False, "references": None, "packages": {}, "commit": "",
        "origins": [{"run": "1", "level": "random", "checkpoint": 0}],
    }  # fmt: skip
    made = from_rows(rows, card, {})
    store.write(path, made._replace(card=complete(made)))
    return path


def config(name: str, results: Path, *settings: str) -> dict:
    updates = commandline.updates([*SMALL, *NETWORK[name], f"results_dir={results}", *settings])
    return loader.load(name, "matrix_game", updates)


def unplayed(run):
    """Return a run without evaluations, whose programs take longer to compile than all else."""
    return dataclasses.replace(run, loop=dataclasses.replace(run.loop, evaluators={}))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Where the results of a whole run are, the run, its reports, what it learned, and its state after the first."""
    results = tmp_path_factory.mktemp("results")
    asked = config("mazero_joint", results, f"learner_args.pretrain={data}")
    run, reports = unplayed(build.build(asked, begins=True).run), []
    for report, state in run(5):
        if not reports:
            middle = jax.tree.map(jnp.copy, state)
            arrays, keys = checkpoint.split(state)
            path = folder(results, "1") / str(REPORT)
            path.parent.mkdir(parents=True)
            checkpoint.write(path, jax.tree.map(np.array, arrays), Meta(REPORT, 1, 1.0, {}, keys))
        reports.append(report)
    learned = jax.device_get(state.learner)
    (results / "sacred" / "1").mkdir(parents=True)
    (results / "sacred" / "1" / "config.json").write_text(json.dumps(asked))
    return results, run, reports, learned, middle


def test_the_first_report_tells_of_it_and_the_clocks_do_not(whole, data):
    _, _, reports, learned, _ = whole
    assert [report.step for report in reports] == [64, 128, 192]
    first = reports[0].metrics
    assert first["pretrain/updates"] == UPDATES and first["pretrain/rows"] == store.read(data).size
    assert {"pretrain/reward_loss", "pretrain/reward_loss_before", "pretrain/seconds"} <= set(first)
    assert not [name for report in reports[1:] for name in report.metrics if name.startswith("pretrain/")]
    assert learned.step == T_MAX / 16


def test_going_on_is_like_never_having_stopped_and_needs_no_rows(whole):
    results, run, reports, learned, middle = whole
    rest = list(run(5, middle))
    assert [report.step for report, _ in rest] == [report.step for report in reports[1:]]
    assert not [name for report, _ in rest for name in report.metrics if name.startswith("pretrain/")]
    shapes = build.build(config("mazero_joint", results, "learner_args.pretrain=gone")).run.shapes()
    assert jax.tree.structure(shapes) == jax.tree.structure(rest[-1][1])
    rest = [jax.device_get(rest[-1][1].learner)]
    jax.tree.map(np.testing.assert_array_equal, rest[-1], learned)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_to_the_same_end(whole):
    _, run, _, learned, _ = whole
    anew = [jax.device_get(state.learner) for _, state in run(5)]
    jax.tree.map(np.testing.assert_array_equal, anew[-1], learned)


@pytest.mark.parametrize("name", NETWORK)
def test_the_rows_of_a_run_serve_any_learner_with_a_model(whole, name):
    stored = build.build(config(name, whole[0], "learner_args.pretrain=1"), begins=True).run.pretrain.rows
    assert stored.rows.reward.shape == (1, REPORT, 2) and stored.rows.extras == ()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["learner_args.pretrain=9"], "learner_args.pretrain=9: .*no run '9'"),
        (["env_args.num_agents=3"], "does not fit this environment .*num_agents 2 against 3"),
        (["learner_args.pretrain=1", "env_args.num_agents=3"], "of the rows of run 1 is .*this environment"),
        (["learner_args.pretrain=1", "learner_args.n_step=99"], "rows are fewer than the .* of one sequence"),
    ],
)
def test_rows_that_do_not_fit_are_named_in_a_sentence(whole, data, settings, said):
    asked = config("mazero_joint", whole[0], f"learner_args.pretrain={data}", "replay_args.capacity=9000", *settings)
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        build.build(asked, begins=True)


def test_a_learner_without_a_model_has_no_such_setting():
    with pytest.raises(ConfigError, match="learner 'ppo' has no such setting; learner=mazero or marie has it"):
        loader.load("mappo", "matrix_game", commandline.updates(["learner_args.pretrain=1"]))
