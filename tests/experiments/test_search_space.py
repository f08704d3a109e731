"""Search spaces: what a file may say, and what is said about mistakes; nothing here starts Ray."""

import pytest

from tandem.experiments import search_space
from tandem.commands import tune
from tandem.experiments.tuning import Search
from tandem.config import commandline, files, loader
from tandem.config.commandline import UsageError
from tandem.config.loader import ConfigError

OVER = {"mazero": "mazero_seq", "mappo": "mappo"}  # an algorithm for each example


@pytest.fixture
def space(tmp_path):
    """Return a function that writes a space file, reads it and checks it against mazero_seq on the matrix game."""

    def write(text, *typed):
        path = tmp_path / "space.yaml"
        path.write_text(text)
        found = search_space.read(str(path))
        search_space.check(found, str(path), request("mazero_seq", *typed))
        return found

    return write


def request(config, *typed):
    return commandline.parse([f"--config={config}", "--env-config=matrix_game", "with", *typed], ["train"])


def complaint(space, text, *typed):
    with pytest.raises(UsageError) as caught:
        space(text, *typed)
    return str(caught.value)


@pytest.mark.parametrize("name", files.names("spaces"))
def test_every_example_space_fits_its_algorithms(name):
    found = search_space.read(name)
    search_space.check(found, name, request(OVER[name]))
    assert found and files.description("spaces", name)


def test_a_space_is_read_with_its_distributions(space):
    found = space(
        "learner_args.learning_rate: {log_uniform: [1.0e-4, 0.01]}\n"
        "learner_args:\n  unroll: {int_uniform: [1, 3]}\n"
        "planner_args.num_simulations: {choice: [2, 5]}\n"
        "planner: [plies, joint]\n"
    )
    assert [(one.key, one.kind, one.values) for one in found] == [
        ("learner_args.learning_rate", "log_uniform", (0.0001, 0.01)),
        ("learner_args.unroll", "int_uniform", (1, 3)),
        ("planner_args.num_simulations", "choice", (2, 5)),
        ("planner", "grid", ("plies", "joint")),
    ]


@pytest.mark.parametrize(
    "text, words",
    [
        ("", ["expected lines such as"]),
        ("[1, 2]", ["expected lines such as"]),
        ("a: [1\n", ["not valid YAML"]),
        (
            "learner_args.learning_rat: [0.1]",
            ["learner_args.learning_rat (", "did you mean learner_args.learning_rate?"],
        ),
        (
            "learner_args.unroll: {loguniform: [1, 3]}",
            ["unknown distribution 'loguniform'", "did you mean log_uniform?"],
        ),
        ("learner_args.unroll: {uniform: [1, 3], choice: [3]}", ["expected one of uniform"]),
        ("learner_args.unroll: 3", ["got 3", "or a list"]),
        ("learner_args.unroll: []", ["got []", "one or more"]),
        ("learner_args.unroll: {choice: 3}", ["got 3, expected a list"]),
        ("learner_args.unroll: [2, 3, 2]", ["names a value twice"]),
        ("learner_args.learning_rate: {uniform: [0.3, 0.1]}", ["empty range", "LOW < HIGH"]),
        ("learner_args.learning_rate: {uniform: [0.3, 0.3]}", ["empty range"]),
        ("learner_args.learning_rate: {uniform: [0.3]}", ["uniform: [LOW, HIGH]"]),
        ("learner_args.learning_rate: {log_uniform: [0, 0.3]}", ["no logarithm", "LOW above 0"]),
        ("learner_args.learning_rate: {log_uniform: [3e-4x, 0.3]}", ["two numbers"]),
        ("learner_args.learning_rate: {uniform: [0.1, .inf]}", ["two numbers"]),
        ("learner_args.unroll: {int_uniform: [1.5, 3]}", ["two whole numbers"]),
        ("learner_args.unroll: {int_uniform: [0, 3]}", ["got 0", "between 1 and 64"]),
        ("learner_args.unroll: {uniform: [1, 3]}", ["expected whole number"]),
        ("learner_args.learning_rate: {choice: [0.1, fast]}", ["got 'fast', expected number"]),
        ("planner: [plies, jiont]", ["did you mean 'joint'?"]),
        ("planner: [plies, policy]\nplanner_args.num_simulations: [2]", ["planner 'policy' has no such setting"]),
        ("results_dir: [a, b]", ["cannot be searched over"]),
        ("seed: [1, 2]", ["also given on the command line"]),
    ],
)
def test_a_mistake_in_a_space_is_explained(space, text, words):
    said = complaint(space, text, "seed=7")
    assert all(word in said for word in [*words, "space.yaml"]), said


def test_all_mistakes_of_a_space_come_in_one_message(space):
    said = complaint(space, "learner_args.unroll: {choose: [1]}\nlearner_args.n_step: {uniform: [3, 1]}\n")
    assert "2 mistakes" in said and "choose" in said and "empty range" in said


def test_a_space_that_is_not_there_is_explained():
    with pytest.raises(UsageError, match="did you mean mazero?"):
        search_space.read("mazro")


def test_settings_are_typed_so_that_they_are_read_back():
    settings = {"a": 0.00012, "b": 7, "c": "fixed", "d": True, "e": [3, 5], "f": None, "g": 1e-07}
    read = {update.key: update.value for update in search_space.updates(settings, "here")}
    assert read == settings and all(type(read[key]) is type(settings[key]) for key in settings)


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--samples=0"], "--samples=0"),
        (["--samples=many"], "--samples"),
        (["--sampler=gird"], "--sampler"),
        (["--grace=100"], "--grace=100"),
        (["--sampler=grid"], "learner_args.learning_rate"),
        (["--sampel=3"], "--sampel"),
        (["with", "seeed=3"], "did you mean seed?"),
        (["with", "learner_args.unroll=3"], "also given on the command line"),
        (["with", "env_args.scenario=climing"], "did you mean climbing?"),
        (["with", "replay_args.capacity=100"], "replay_args.capacity=100"),
    ],
)
def test_a_sweep_that_cannot_be_run_is_refused_before_anything_starts(tmp_path, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        tune.main(["--space=mazero", "--env-config=matrix_game", *words])
    assert expected in str(caught.value) and list(tmp_path.iterdir()) == []


def test_the_number_of_trials_counts_every_combination_of_a_grid(space):
    found = space(
        "learner_args.unroll: [1, 2, 3]\nlearner_args.n_step: [1, 2]\nplanner_args.num_simulations: {choice: [2, 5]}"
    )
    counts = {}
    for sampler in ("random", "grid", "optuna"):
        counts[sampler] = Search("x", found, sampler, None if sampler == "grid" else 7).trials
    assert counts == {"random": 42, "grid": 12, "optuna": 7}


def test_the_best_configuration_means_what_the_winning_trial_was_configured_with(tmp_path):
    import yaml

    typed = request("mazero_seq", "planner_args.num_simulations=5", "max_minutes=2")
    updates = (
        *typed.updates,
        *search_space.updates({"planner": "joint", "learner_args.unroll": 3, "seed": 4}, "space"),
    )
    path = tmp_path / "best.yaml"
    path.write_text(yaml.safe_dump(loader.own_settings("mazero_seq", updates)))
    assert loader.load(str(path), "matrix_game") == loader.load("mazero_seq", "matrix_game", updates)


def test_configurations_that_differ_only_by_a_typo_are_not_taken_for_files():
    with pytest.raises(ConfigError, match="did you mean mazero_seq?"):
        loader.load("mazero_sq", "matrix_game")
