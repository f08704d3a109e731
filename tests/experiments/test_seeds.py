"""Seed batches: which seeds, what is recorded of them, and what the machine has room for."""

import json

import pytest

from tandem.experiments import capacity, seeds
from tandem.config import loader
from tandem.config.commandline import UsageError
from tandem.learners import mazero
from tests.commands import stub_runs
from tests.commands.stub_runs import config


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", [1, 2, 3]), ("1,4,7", [1, 4, 7]), ("2-5", [2, 3, 4, 5]), ("7,", [7]), ("1,4-6,5", [1, 4, 5, 6])],
)
def test_seeds_are_a_count_a_list_or_a_range(text, expected):
    assert seeds.parse(text) == expected


@pytest.mark.parametrize("text", ["", "0", "a", "1;2", "5-", "3000000000,", "seed=1"])
def test_other_seeds_are_refused_with_the_forms_there_are(text):
    with pytest.raises(UsageError, match="seed"):
        seeds.parse(text)


def test_a_seed_is_found_by_its_whole_configuration(tmp_path):
    stub_runs.write(tmp_path, 1, [0.0], seed=1)
    stub_runs.write(tmp_path, 2, [0.0], seed=2, t_max=5)  # other settings: not this batch's
    stub_runs.write(tmp_path, 3, [0.0], seed=3, status="INTERRUPTED")
    found = seeds.Batch(config(tmp_path), [1, 2, 3]).recorded()
    assert {seed: run.id for seed, run in found.items()} == {1: "1", 3: "3"}
    assert seeds.Batch(config(tmp_path), [1]).logs != seeds.Batch(config(tmp_path, t_max=5), [1]).logs


def test_a_finished_run_counts_before_a_later_one_that_was_cut_off(tmp_path):
    stub_runs.write(tmp_path, 1, [0.0], seed=1)
    stub_runs.write(tmp_path, 2, [0.0], seed=1, status="RUNNING")
    assert seeds.Batch(config(tmp_path), [1]).recorded()[1].id == "1"


def test_a_batch_that_leaves_the_number_of_actors_open_finds_its_runs_and_another_does_not(tmp_path):
    stub_runs.write(tmp_path, 1, [0.0], runner_args={"num_actors": 5, "num_envs": 30})

    def found(**args) -> bool:
        return 1 in seeds.Batch(config(tmp_path, runner_args=args), [1]).recorded()

    assert found(num_actors=0, num_envs=30) and found(num_actors=5, num_envs=30)
    assert not found(num_actors=3, num_envs=30) and not found(num_actors=0, num_envs=60)


def test_where_it_is_recorded_does_not_make_it_another_run(tmp_path):
    stub_runs.write(tmp_path, 1, [0.0], seed=1, mongo_url="mongodb://somewhere", checkpoint_args={"keep_last": 9})
    assert 1 in seeds.Batch(config(tmp_path), [1]).recorded()


@pytest.mark.parametrize("name", ["1.bak", "\u00b2", "notes"])
def test_what_else_lies_beside_runs_does_not_disturb_a_batch(tmp_path, name):
    stub_runs.write(tmp_path, 1, [0.0])
    (tmp_path / "sacred" / "1").rename(tmp_path / "sacred" / name)
    stub_runs.write(tmp_path, 1, [0.0])
    assert seeds.Batch(config(tmp_path), [1]).recorded()[1].id == "1"


@pytest.mark.parametrize("content", ["null", "[]", "{", '{"loss": 5}'])
def test_damaged_metrics_count_as_none(tmp_path, content):
    (stub_runs.write(tmp_path, 1, [0.0]) / "metrics.json").write_text(content)
    assert seeds.last_values(seeds.Batch(config(tmp_path), [1]).recorded()[1]) == {}


def test_a_run_recorded_before_a_setting_existed_is_found(tmp_path):
    asked = loader.load("mazero_seq", "matrix_game") | {"results_dir": str(tmp_path)}
    older = json.loads(json.dumps(asked))
    unset = next(name for name, value in asked["learner_args"].items() if value == getattr(mazero.Config(), name))
    del older["learner_args"][unset], older["mongo_optional"]
    folder = stub_runs.write(tmp_path, 1, [0.0])
    (folder / "config.json").write_text(json.dumps(older))
    assert seeds.Batch(asked, [asked["seed"]]).recorded()[asked["seed"]].id == "1"
    other = asked | {"t_max": asked["t_max"] + 1}
    assert seeds.Batch(other, [asked["seed"]]).recorded() == {}


@pytest.mark.parametrize(
    ("cores", "gibibytes", "gpus", "jobs"), [(2, 24, 0, 2), (16, 8, 0, 3), (4, 1, 0, 1), (16, 99, 3, 3)]
)
def test_as_many_runs_as_cores_memory_and_gpus_have_room_for(cores, gibibytes, gpus, jobs):
    assert capacity.default_jobs(cores, gibibytes * capacity.GIB, gpus) == jobs


def test_runs_share_the_cores_fairly():
    assert capacity.shares([0, 1, 2, 3, 4], 2) == [[0, 1], [2, 3]]
    assert capacity.shares([0, 1], 3) == [[0], [1], [0]]


def test_runs_on_one_gpu_share_its_memory():
    assert capacity.settings([], 2) == [{}, {}]
    first, second, third = capacity.settings(["0", "1"], 3)
    assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"], third["CUDA_VISIBLE_DEVICES"]) == (
        "0",
        "1",
        "0",
    )
    assert float(first["XLA_PYTHON_CLIENT_MEM_FRACTION"]) <= 0.45
