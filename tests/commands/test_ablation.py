"""`python src/main.py ablation`: what a file asks for, which batches that makes, and the
comparison of what they recorded.
"""

import json

import pytest

from tandem import build
from tandem.commands import ablation as command
from tandem.experiments import ablation
from tandem.config.commandline import UsageError
from tandem.config.files import FOLDER
from tests.commands import stub_runs

FILE = """
name: heads
seeds: 1-2
settings: {max_minutes: 3, learner_args: {n_step: 2}}
environments:
  climbing: {env_config: matrix_game, settings: {learner_args.n_step: 1}}
  four: {env_config: matrix_game, settings: {env_args.num_agents: 4, learner_args.n_step: 1}}
variants:
  sum: {config: mazero_seq}
  gru: {config: mazero_seq, settings: {network_args.policy_head: gru, learner_args.n_step: 3}}
report: {metric: eval/policy/return}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "heads.yaml"
    path.write_text(FILE)
    return path


def words_of(file, *words) -> list[str]:
    return ["ablation", str(file), *words, "with", f"results_dir={file.parent / 'results'}"]


def test_every_variant_on_every_environment_is_a_batch_whose_settings_win_in_order(file, capsys):
    assert command.main([*words_of(file, "--dry-run", "--seeds=4", "--jobs=2")[1:]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    results = f"results_dir={file.parent / 'results'}"
    start = (
        "python src/main.py batch --config=mazero_seq --env-config=matrix_game --seeds=4 --jobs=2 with max_minutes=3"
    )
    assert lines[0] == f"{start} learner_args.n_step=1 name=sum {results}"
    assert lines[3] == (
        f"{start} learner_args.n_step=3 env_args.num_agents=4 network_args.policy_head=gru name=gru {results}"
    )


def test_batches_run_one_after_another_and_an_interrupted_one_is_the_last(file, monkeypatch):
    for statuses, expected in (([0, 0, 0, 0], 0), ([0, 1, 0, 0], 1), ([0, 130], 130)):
        left, called = list(statuses), []
        monkeypatch.setattr(ablation.batch, "run", lambda *asked: called.append(asked) or left.pop(0))
        assert command.main(words_of(file)[1:]) == expected
        assert left == [] and len(called) == len(statuses)


def test_the_report_compares_the_runs_of_the_file_and_no_others(file, capsys):
    results = file.parent / "results"
    plan = ablation.read(file, None, str(results))
    number = 0
    for cell, level in zip(plan.cells, (1.0, 2.0, 3.0, 4.0), strict=True):
        for seed in (1, 2, 3):  # the third was not asked for
            config = ablation.checked(cell) | {"seed": seed}
            if (cell.variant, seed) != ("gru", 2):
                number += 1
                known = {key: config.pop(key) for key in ("name", "seed", "results_dir")}
                stub_runs.write(
                    results, number, [0.0, level], name=known["name"], seed=seed, metric="eval/policy/return", **config
                )
    assert command.main(words_of(file, "--report")[1:]) == 0
    out = capsys.readouterr().out
    assert "note: gru on climbing has no run of seed 2" in out
    found = json.loads((results / "ablations" / "heads" / "compare.json").read_text())
    groups = {(group["task"], group["algorithm"]): (group["seeds"], group["final"]) for group in found["groups"]}
    assert groups == {
        ("climbing", "sum"): (2, 1.0),
        ("climbing", "gru"): (1, 2.0),
        ("four", "sum"): (2, 3.0),
        ("four", "gru"): (1, 4.0),
    }
    rows = [(row["first"], row["second"], sorted(row["tasks"])) for row in found["improvements"]]
    assert rows == [("gru", "sum", ["climbing", "four"])]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("variants:", "variant:", "'variant' is not known; did you mean 'variants'?"),
        ("config: mazero_seq}", "confg: mazero_seq}", "did you mean 'config'"),
        ("policy_head: gru", "policy_head: gruu", "variant 'gru' on 'climbing': .*network_args.policy_head"),
        (
            "policy_head: gru",
            "policy_layers: 2, planner_args.tree: paths",
            "variant 'gru'.*planner_args.tree.*write planner=plies, planner=paths",
        ),
        ("seeds: 1-2", "seeds: many", "seeds 'many'"),
        ("{max_minutes: 3,", "{seed: 3,", "'seed' is not a setting of an ablation"),
        ("metric: eval", "metrik: eval", "did you mean 'metric'"),
        ("name: heads", "name: [", "cannot be read"),
        ("name: heads", "name: ../up", "name: got '../up', expected a name that files can have"),
        ("name: heads", "name: heads\nname: tails", "line 3: 'name' is written twice"),
        ("sum: {", "'../up': {", "variant '../up' on 'climbing': .*name .*got '../up'"),
        (
            "max_minutes: 3,",
            "max_minutes: 3, learner_args.n_step: 1,",
            "settings: 'learner_args.n_step' is written twice",
        ),
        (
            "report: {metric: eval/policy/return}",
            "report: {x: nope}",
            "report: x: got 'nope', expected one of steps, time",
        ),
        ("report: {metric: eval/policy/return}", "report: {at: .nan}", "report: at: got nan, expected a number"),
        ("seeds: 1-2", "seeds: 99999999999", "seeds '99999999999'"),
        ("name: heads", "name: \udcff", "not UTF-8"),
    ],
)
def test_mistakes_are_told_before_anything_starts(file, old, new, message):
    file.write_bytes(FILE.replace(old, new, 1).encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=f"(?s){message}"):
        command.main(words_of(file, "--dry-run")[1:])
    assert [path.name for path in file.parent.iterdir()] == ["heads.yaml"]


def test_without_records_there_is_nothing_to_report(file):
    with pytest.raises(UsageError, match="no run of heads is recorded"):
        command.main(words_of(file, "--report")[1:])


@pytest.mark.jaxmarl
def test_the_examples_that_come_with_the_project_can_be_run():
    """Every cell's settings are checked; every variant and every environment is put together, but not every pair."""
    files = sorted((FOLDER / "ablations").glob("*.yaml"))
    assert files
    for path in files:
        cells, seen = ablation.read(path, None, "results").cells, set()
        for new in (2, 1):  # first the cells that bring both a new variant and a new environment
            for cell in cells:
                names = {("variant", cell.variant), ("environment", cell.environment)}
                config = ablation.checked(cell, builds=False)
                if len(names - seen) >= new:
                    build.parts(config)  # all but what takes long: that contracts hold, and how much memory it takes
                    seen |= names
