"""Datasets from the command line: a recorded run's levels, what the cards say, and learning from one of them."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Plan, PolicyExtras, RunError, TimeStep
from tandem.datasets import card, store
from tandem.datasets.dataset import returns
from tandem.main import main
from tandem.records import checkpoint_folder
from tandem.runners import offline, recording

GAME = ["--config=vdn", "--env-config=matrix_game", "with", "platform=cpu", "video=False", "compile_cache_dir="]
SMALL = ["network_args.hidden_size=16", "network_args.num_layers=1", "eval_args.episodes=64", "seed=3"]
# Each agent plays its best action when it knows what this is: the returns are -2 or so by lot, and 6 in the end.
PAYOFF = "env_args.payoff=[[6,0,-6],[0,-3,-6],[-6,-6,-6]]"
ACTING = [
    "t_max=3072", "eval_args.every=1024", "replay_args.min_size=64", "replay_args.capacity=2048",
    "replay_args.batch_size=16", "runner_args.num_envs=16", "runner_args.rollout_length=4",
    "runner_args.report_every=256", "runner_args.updates_per_step=0.1", "learner_args.sequence=2",
    "checkpoint_args.keep_every_steps=256", "checkpoint_args.keep_last=20", "learner_args.target_period_updates=10",
]  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory, own_cache, quick_compiling):
    folder = tmp_path_factory.mktemp("results")
    assert main([*GAME, *SMALL, PAYOFF, *ACTING, f"results_dir={folder}"]) == 0
    return folder


LEVELS = ("expert", "random", "mixed", "replay")


@pytest.fixture(scope="module")
def written(results, tmp_path_factory):
    """Datasets by level, 120 rows each; the first half of the mixed one is of the medium level."""
    out = tmp_path_factory.mktemp("data")
    for level in LEVELS:
        words = ["record", "--run=1", f"--level={level}", "--rows=120", f"--out={out / level}", "--epsilon=0.1"]
        assert main([*words, "with", f"results_dir={results}"]) == 0
    return {level: store.read(out / level) for level in LEVELS} | {"folder": out}


def test_levels_are_as_good_as_their_names_say(written):
    random, expert, mixed = (written[level].card for level in ("random", "expert", "mixed"))
    assert abs(random["trajectory_quality"]) < 0.3 and abs(expert["trajectory_quality"] - 1.0) < 0.3
    medium = card.trajectory_quality(returns(written["mixed"])[:60].mean(), mixed["references"])
    assert 0.3 < medium < 1.1 and random["return"]["mean"] < mixed["return"]["mean"]
    halfway, best = mixed["origins"]
    assert (halfway["level"], best["level"]) == ("medium", "expert") and halfway["checkpoint"] < best["checkpoint"]
    assert random["origins"][0]["checkpoint"] is None and expert["origins"][0]["run"] == "1"


def test_rows_are_whole_episodes_and_as_many_as_were_asked_for(written):
    for level in LEVELS:
        data = written[level]
        ended = data.rows["terminated"] | data.rows["truncated"]
        assert 120 <= data.size <= 130 and ended[-1] and data.rows["first"][0]
        np.testing.assert_array_equal(np.flatnonzero(ended), data.ends["row"])
        np.testing.assert_array_equal(data.rows["first"][1:], ended[:-1])


def test_the_behaviour_is_the_mixture_that_was_played(written):
    data = written["expert"]
    policy = data.rows["policy"]
    np.testing.assert_allclose(policy.sum(axis=-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(np.unique(policy.round(5)), [0.1 / 3, 0.9 + 0.1 / 3], atol=1e-4)
    played = np.take_along_axis(policy, data.rows["action"][..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(data.rows["log_prob"], np.log(played), rtol=1e-4)
    assert data.card["behaviour_known"] and (data.rows["action"] != policy.argmax(axis=-1)).any()
    np.testing.assert_allclose(written["random"].rows["policy"], 1.0 / 3, atol=1e-6)


def test_the_same_command_writes_the_same_data(results, written, tmp_path):
    words = ["record", "--run=1", "--level=expert", "--rows=120", "--epsilon=0.1", f"--out={tmp_path / 'again'}"]
    assert main([*words, "with", f"results_dir={results}"]) == 0
    assert store.read(tmp_path / "again").card == written["expert"].card


def test_a_team_learns_from_random_rows_what_it_never_saw_played(results, written):
    rows = f"runner_args.rows={written['folder'] / 'random'}"
    chosen = ["runner=offline", rows, "replay=recorded", "replay_args.batch_size=16", "runner_args.report_every=100"]
    chosen += ["learner_args.conservatism=none", "runner_args.holdout=0.2"]
    learning = ["t_max=300", "eval_args.every=300", "learner_args.sequence=2", "learner_args.target_period_updates=20"]
    assert main(["--config=vdn_cql", *GAME[1:], *SMALL, PAYOFF, *chosen, *learning, f"results_dir={results}"]) == 0
    metrics = json.loads((results / "sacred" / "2" / "metrics.json").read_text())
    assert metrics["eval/policy/return"]["values"][-1] == 6.0
    # The rows are uniform over three actions.
    assert len(metrics["offline/holdout_nll"]["values"]) == 3
    np.testing.assert_allclose(metrics["offline/holdout_nll"]["values"][-1], np.log(3.0), atol=0.25)
    np.testing.assert_allclose(metrics["offline/holdout_agreement"]["values"][-1], 1.0 / 3.0, atol=0.25)
    sums = checkpoint_folder.read_meta(results / "models" / "2" / "300").sums
    assert not [name for name in sums if "obs" in name or "experience" in name]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["env_args.payoff=[[1,0],[0,1]]"], "does not fit this environment (dataset against environment): "),
        (["learner_args.sequence=1000"], "fewer rows than"),
        (
            ["replay=uniform", "replay_args.capacity=100", "replay_args.min_size=50"],
            "capacity=100 is less than the 120 rows",
        ),
        (["runner_args.holdout=0.5"], "runner_args.holdout=0.5: this learner does not foretell the data's actions"),
        (["runner=jax_sync"], "replay 'recorded' stores only recorded rows"),
    ],
)
def test_a_dataset_that_does_not_fit_is_refused_before_anything_is_trained(results, written, capsys, words, told):
    chosen = ["replay=recorded"]
    if "runner=jax_sync" not in words:
        chosen += ["runner=offline", f"runner_args.rows={written['folder'] / 'random'}", "runner_args.report_every=100"]
    learning = ["t_max=300", "eval_args.every=300", PAYOFF]
    assert main([*GAME, *SMALL, *chosen, *learning, *words, f"results_dir={results}"]) == 2
    assert told in capsys.readouterr().err


def test_datasets_are_shown_merged_thinned_and_converted(written, tmp_path, capsys):
    from pyarrow import parquet

    expert, random = (str(written["folder"] / level) for level in ("expert", "random"))
    assert main(["dataset", expert]) == 0
    shown = capsys.readouterr().out
    assert "120 in 120 episodes" in shown and "run 1, algorithm vdn, level expert" in shown
    assert main(["dataset", expert, f"--merge={random}", f"--out={tmp_path / 'both'}"]) == 0
    assert store.read(tmp_path / "both").size == 240
    assert main(["dataset", expert, "--take=5%", f"--out={tmp_path / 'few'}"]) == 0
    assert store.read(tmp_path / "few").size == 6
    assert main(["dataset", expert, "--to=parquet", f"--out={tmp_path / 'rows.parquet'}"]) == 0
    table = parquet.read_table(tmp_path / "rows.parquet")
    assert table.num_rows == 120 and json.loads(table.schema.metadata[b"card"])["level"] == "expert"
    played = np.array(table["action"].to_pylist())
    np.testing.assert_array_equal(played, written["expert"].rows["action"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["dataset", "EXPERT", "--merge=RANDOM"], "--out=DIR says where to write"),
        (["dataset", "EXPERT", "--merge=RANDOM", "--take=5%", "--out=x"], "give one of them"),
        (["dataset", "EXPERT", "--take=0%", "--out=x"], "0%: expected a share above 0"),
        (["dataset", "nowhere"], "nowhere holds no dataset"),
        (["dataset", "EXPERT", "--merge=RANDOM", "--out=EXPERT"], "is there already"),
        (["record", "--run=1", "--level=expert", "--out=EXPERT"], "is there already"),
        (["record", "--run=1", "--level=expert", "--rows=0", "--out=x"], "expected a number of rows, 1 or more"),
        (["record", "--run=1", "--level=expert", "--epsilon=2", "--out=x"], "2: expected a number from 0 to 1"),
        (["record", "--run=9", "--level=expert", "--out=x"], "no run '9'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(results, written, capsys, words, told):
    places = {"EXPERT": str(written["folder"] / "expert"), "RANDOM": str(written["folder"] / "random")}
    words = [word if word not in places else places[word] for word in words]
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    if words[0] == "record":
        words = [*words, "with", f"results_dir={results}"]
    assert main(words) == 2
    assert told in capsys.readouterr().err


def test_a_run_does_not_go_on_with_other_rows():
    runner = offline.OfflineRunner(learner=None, loop=None, rows="data/3m", rows_sum=5)
    with pytest.raises(RunError, match="data/3m: these are not the rows that the run began with"):
        next(runner(1, SimpleNamespace(rows_sum=np.uint32(7))))


def test_lots_fall_on_legal_actions_alike_and_as_often_as_epsilon_says():
    batch, legal = 6000, jnp.array([[True, True, False, True], [False, True, False, False]])
    legal = jnp.broadcast_to(legal, (batch, *legal.shape))
    action = jnp.broadcast_to(jnp.array([3, 1], jnp.int32), (batch, 2))
    seen = TimeStep(**dict.fromkeys(TimeStep.__dataclass_fields__, ())).replace(legal=legal)
    extras = PolicyExtras(log_prob=(), policy=(), entropy=())
    plan = Plan(action=action, extras=extras)
    mixed = jax.jit(lambda key: recording.with_lots(plan, seen, key, jnp.float32(0.3), False))(jax.random.key(2))
    shares = np.mean(jax.nn.one_hot(mixed.action, 4), axis=0)
    # Six standard deviations of 6,000 draws are 0.031 of a share of 0.2.
    np.testing.assert_allclose(shares, [[0.1, 0.1, 0.0, 0.8], [0.0, 1.0, 0.0, 0.0]], atol=0.032)
    np.testing.assert_allclose(mixed.extras.policy[0], [[0.1, 0.1, 0.0, 0.8], [0.0, 1.0, 0.0, 0.0]], atol=1e-6)
    np.testing.assert_allclose(mixed.extras.entropy[0], [-0.2 * np.log(0.1) - 0.8 * np.log(0.8), 0.0], atol=1e-5)
