"""Datasets of programs outside JAX: recorded from a run, learned from, and free of what a failure cut off."""

import json

import jax
import numpy as np
import pytest

from tandem.commands import record
from tandem.datasets import store
from tandem.main import main
from tandem.runners import recording
from tandem.runners.host import recording as host_recording
from tests.reference import stored_policies
from tests.reference.host_games import Troubled, crash
from tests.runners.counting import LIMIT, make_env, make_planner

SMALL = ["platform=cpu", "video=False", "compile_cache_dir=", "network_args.hidden_size=8", "network_args.num_layers=1"]
SPREAD = ["env_args.scenario=simple_spread", "env_args.scenario_args.N=2", "env_args.episode_limit=5"]


@pytest.fixture(scope="module")
def written(tmp_path_factory, own_cache, quick_compiling):
    """The results folder of run 1, which was never trained, and datasets that were recorded of it."""
    results, out = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("data")
    stored_policies.write(results, 1, "mappo", "pettingzoo", *SMALL, *SPREAD)
    for name in ("one", "again"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(record, "HOST_REFERENCE_EPISODES", 4)
            words = ["record", "--run=1", "--level=expert", "--rows=64", "--epsilon=0.2", f"--out={out / name}"]
            assert main([*words, "with", f"results_dir={results}"]) == 0
    return results, out


def test_a_run_outside_jax_is_recorded_in_whole_episodes_of_the_mixture_that_was_played(written):
    data = store.read(written[1] / "one")
    assert data.size == 65 and data.ends["row"].tolist() == list(range(4, 65, 5)) and data.rows["first"][::5].all()
    assert data.rows["truncated"][data.ends["row"]].all() and set(data.card["metrics"]) >= {"collisions"}
    np.testing.assert_allclose(np.unique(data.rows["policy"].round(5)), [0.04, 0.84], atol=1e-4)
    assert not np.array_equal(data.rows["obs"][0], data.rows["obs"][5]) and data.card["references"]["random"] < 0
    # What followed a row is the next one, so an agent that moves is seen where the row after says.
    assert not np.array_equal(data.ends["next_obs"][0], data.rows["obs"][5])


def test_the_same_command_writes_the_same_data(written):
    one, again = (store.read_card(written[1] / name)["hashes"] for name in ("one", "again"))
    assert one == again


def test_such_data_are_learned_from_and_evaluations_play_the_program(written):
    results, out = written
    words = ["--config=bc", "--env-config=pettingzoo", "with", *SMALL, *SPREAD, f"results_dir={results}"]
    sizes = ["t_max=40", "eval_args.every=40", "eval_args.episodes=3", "runner_args.report_every=20"]
    sizes += ["replay_args.batch_size=16", "learner_args.sequence=2", "planner_args.also_sampled=false"]
    sizes += ["runner_args.holdout=0.1", "learner_args.learning_rate=0.01"]
    assert main([*words, "runner=offline", *sizes, f"runner_args.rows={out / 'one'}"]) == 0
    metrics = json.loads((results / "sacred" / "2" / "metrics.json").read_text())
    assert metrics["eval/policy/length"]["values"] == [5.0] and metrics["eval/policy/return"]["values"][0] < 0
    first, last = metrics["offline/holdout_nll"]["values"]
    assert last < first < np.log(5.0) + 0.1


def test_an_episode_that_fails_in_the_middle_is_left_out():
    game = make_env(shared=True)
    crashed = []

    def fail() -> None:
        crashed.append(None)
        crash()

    made = []

    def make_game() -> Troubled:
        made.append(Troubled(game, 8, fail))
        return made[-1]

    recorder = host_recording.make(make_game, game.spec, make_planner(), num_envs=2, sample=False, timeout=0.0)
    played = recording.episodes(recorder, {}, jax.random.key(0), 0.5, count=20)
    rows, begin = played.rows, np.append(0, played.last[:-1] + 1)
    assert crashed and len(played.last) == 20 and np.flatnonzero(rows.first).tolist() == begin.tolist()
    length = played.last - begin + 1
    assert length.max() <= LIMIT
    np.testing.assert_array_equal(rows.obs[:, 0, 1], np.concatenate([np.arange(each) for each in length]))
    np.testing.assert_array_equal(played.metrics["count"], length)
    np.testing.assert_array_equal(rows.next_obs[:, 0, 1], length)
    recorder.close()
    assert all(each.closed == 1 for each in made)
