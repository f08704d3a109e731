"""Merging and checking, on parts made for the purpose."""

import dataclasses
import sys
import types

import pytest

from tandem.config import commandline, loader
from tandem.core import setting
from tandem.registry import FAMILIES, Entry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Empty:
    pass


@dataclasses.dataclass(frozen=True, kw_only=True)
class Searcher:
    num_simulations: int = setting(16, "simulations", low=1, high=512)
    temperature: float = setting(0.5, "temperature", low=0.0)
    order: str = setting("random", "who is first", choices=("fixed", "random"))
    widths: tuple[int, ...] = setting((3, 5), "layer widths", low=1)
    clip: float | None = setting(None, "largest step", low=0.0)
    noisy: bool = setting(True, "explore with noise")
    extra: dict = setting({}, "handed on")
    step: int = setting(1, "without a bound of its own", low=0)
    rate: float = setting(1.0, "without a bound of its own")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gambler:
    luck: float = setting(0.25, "luck", low=0.0, high=1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    scenario: str = setting("valley", "which task")
    limit: int = setting(7, "steps", low=1)


PARTS = {
    ("env", "world"): Task,
    ("network", "world_model"): Empty,
    ("planner", "plies"): Searcher,
    ("planner", "gambler"): Gambler,
    ("learner", "mazero"): Empty,
    ("replay", "uniform"): Empty,
    ("runner", "jax_sync"): Empty,
}


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    """Put the parts above in place of the real ones."""
    real = {family: dict(entries) for family, entries in FAMILIES.items()}
    for entries in FAMILIES.values():
        entries.clear()
    for (family, name), config in PARTS.items():
        module = types.ModuleType(f"fake_{family}_{name}")
        module.Config = config
        monkeypatch.setitem(sys.modules, module.__name__, module)
        FAMILIES[family][name] = Entry(module.__name__, f"a {name}")
    yield
    for family, entries in FAMILIES.items():
        entries.clear()
        entries.update(real[family])  # also in their old order, which messages show


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes configuration files into a folder which replaces src/config."""
    from tandem.config import files, layers

    default = (files.FOLDER / "default.yaml").read_text().replace("env: mpe", "env: world")
    for module in (files, layers):
        monkeypatch.setattr(module, "FOLDER", tmp_path)

    def write(alg="", env="", default=default):
        for name, text in (("default.yaml", default), ("algs/alg.yaml", alg), ("envs/env.yaml", env)):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)

    return write


def load(*updates, config="alg", env_config="env"):
    return loader.load(config, env_config, commandline.parse(["with", *updates], ["train"]).updates)


def mistakes(*updates, **names):
    with pytest.raises(loader.ConfigError) as caught:
        load(*updates, **names)
    return "\n".join(caught.value.mistakes)


def test_a_setting_with_a_section_of_its_own_is_not_guessed_to_be_like_one_of_another_section(write):
    write()
    text = mistakes("runner_args.num_simulationz=4")
    assert "has no such setting; see `python src/main.py list runner." in text and "did you mean" not in text
    assert "did you mean planner_args.num_simulations?" in mistakes("num_simulationz=4")


def test_later_layers_win(write):
    write(env="t_max: 11\nseed: 12\ndiscount: 0.5\n", alg="seed: 22\ndiscount: 0.6\n")
    config = load("discount=0.7")
    assert (config["t_max"], config["seed"], config["discount"]) == (11, 22, 0.7)
    assert config["max_minutes"] == 10.0  # default.yaml


def test_every_setting_of_the_named_parts_is_filled_in(write):
    write()
    assert load()["planner_args"] == {
        "num_simulations": 16,
        "temperature": 0.5,
        "order": "random",
        "widths": [3, 5],
        "clip": None,
        "noisy": True,
        "extra": {},
        "step": 1,
        "rate": 1.0,
    }


def test_settings_of_one_section_come_together_from_all_layers(write):
    write(env="planner_args:\n  temperature: 2\n", alg="planner_args:\n  order: fixed\n")
    args = load("planner_args.num_simulations=8")["planner_args"]
    assert (args["temperature"], args["order"], args["num_simulations"]) == (2.0, "fixed", 8)


def test_naming_another_part_drops_the_settings_of_the_one_below(write):
    write(alg="planner_args:\n  num_simulations: 8\n")
    assert load("planner=gambler", "planner_args.luck=1")["planner_args"] == {"luck": 1.0}


def test_an_environment_s_settings_hold_for_whatever_planner_has_them(write):
    write(env="planner_args:\n  luck: 0.5\n  order: fixed\n", alg="planner: gambler\n")
    assert load()["planner_args"] == {"luck": 0.5}


def test_settings_given_for_a_named_planner_go_with_it(write):
    write(env="planner: gambler\nplanner_args:\n  luck: 0.5\n", alg="planner: plies\n")
    assert load("planner=gambler")["planner_args"] == {"luck": 0.25}


def test_naming_the_same_part_again_keeps_its_settings(write):
    write(env="planner_args:\n  num_simulations: 8\n", alg="planner: plies\n")
    assert load()["planner_args"]["num_simulations"] == 8


@pytest.mark.parametrize(
    "update, section, expected",
    [
        ("planner_args.temperature=1", "temperature", 1.0),
        ("planner_args.num_simulations=1e2", "num_simulations", 100),
        ("planner_args.widths=[7,11]", "widths", [7, 11]),
        ("planner_args.widths=(7,)", "widths", [7]),
        ("planner_args.clip=2", "clip", 2.0),
        ("planner_args.clip=None", "clip", None),
        ("planner_args.noisy=false", "noisy", False),
    ],
)
def test_values_become_what_their_setting_wants(write, update, section, expected):
    write()
    value = load(update)["planner_args"][section]
    assert value == expected and type(value) is type(expected)


def test_text_that_looks_like_a_number_stays_text(write):
    write()
    assert load("env_args.scenario=007", "name=2e5")["env_args"]["scenario"] == "007"


@pytest.mark.parametrize(
    "update, words",
    [
        (
            "planner_args.num_simulations=0",
            ["planner_args.num_simulations", "command line", "got 0", "between 1 and 512"],
        ),
        ("planner_args.num_simulations=2.5", ["got 2.5", "whole number"]),
        ("planner_args.num_simulations=True", ["got True", "whole number"]),
        ("planner_args.temperature=fast", ["got 'fast'", "number, 0 or more"]),
        ("planner_args.temperature=True", ["got True", "number"]),
        ("planner_args.noisy=1", ["got 1", "True or False"]),
        ("planner_args.order=randm", ["one of fixed, random", "did you mean random?"]),
        ("planner_args.widths=[7,0]", ["got [7, 0]", "list of whole numbers, 1 or more"]),
        (
            "planner_args.num_simulatons=8",
            ["planner 'plies' has no such setting", "did you mean planner_args.num_simulations?"],
        ),
        ("num_simulations=8", ["did you mean planner_args.num_simulations?"]),
        ("tmax=8", ["did you mean t_max?"]),
        ("planer=plies", ["did you mean planner?"]),
        ("planner=pliez", ["planner (command line)", "did you mean 'plies'?"]),
        ("planner_arg.order=fixed", ["did you mean planner_args.order?"]),
        ("seed", ["expected key=value"]),
        ("eval_args.episodes=0", ["eval_args.episodes", "1 or more"]),
        ("planner_args=3", ["planner_args", "command line"]),
        ("seed.x=3", ["seed.x"]),
        ("planner_args.order.x=3", ["planner_args.order"]),
        ("discount=float('nan')", ["discount"]),
        ("t_max=3e9", ["got 3000000000.0", "at most 2147483647"]),
        ("planner_args.step=1e30", ["got 1e+30", "whole number, 0 or more; at most 2147483647"]),
        ("planner_args.rate=1e999", ["got inf", "it must be finite"]),
        ("planner_args.rate=-1e39", ["at most 3.4e+38"]),
        (f"planner_args.rate={'9' * 400}", ["got 999", "(400 characters)", "at most 3.4e+38"]),
        (f"planner_args.step={'9' * 5000}", ["planner_args.step", "whole number"]),
        ("planner_args.clip=1e999", ["got inf"]),
        ("planner_args.widths=[7,1e30]", ["planner_args.widths"]),
        ("seed=²", ["got '²'", "whole number"]),
        (".seed=5", ["'.seed'", "did you mean seed?"]),
        ("planner_args..order=fixed", ["did you mean planner_args.order?"]),
        ("=5", ["''", "a key is NAME or SECTION.NAME"]),
        ("planner_args=None", ["got None, expected its settings"]),
        ("planner_args.extra={'a.b':1}", ["planner_args.extra", "mapping"]),
        ("planner_args.extra={'$a':1}", ["planner_args.extra"]),
        ("planner_args.extra={'a':1e999}", ["planner_args.extra"]),
        ("planner_args.extra={'a':{'b':[1e999]}}", ["planner_args.extra"]),
        ("planner_args.extra={3:1}", ["planner_args.extra"]),
        ("name=../up", ["name", "got '../up'", "without / or a dot in front"]),
        ("name=/abs", ["name"]),
        ("name=..", ["name"]),
        ("name=", ["name"]),
        ("name=a\tb", ["name", "got 'a\\tb'"]),
        ("name=\udcff", ["name"]),
        (f"name={'ж' * 101}", ["name", "at most 200 bytes"]),
        ("results_dir=", ["results_dir", "a folder"]),
        ("results_dir=~nobody.at.all/x", ["results_dir"]),
    ],
)
def test_a_mistake_on_the_command_line_is_explained(write, update, words):
    write()
    text = mistakes(update)
    assert all(word in text for word in ["command line", *words]), text


def test_a_mistake_in_a_file_names_the_file(write):
    write(env="env_args:\n  scenarios: valley\n", alg="planner_args:\n  noisy: yes\n")
    text = mistakes()
    assert "env_args.scenarios (src/config/envs/env.yaml)" in text and "did you mean env_args.scenario?" in text
    assert "(src/config/algs/alg.yaml)" in text and "got 'yes', expected True or False; write true or false" in text


@pytest.mark.parametrize(
    "text, words",
    [
        ("planner_args.order: fixed", ["planner_args.order", "indented", "`planner_args:` and below it `order: ...`"]),
        ("planner_args: {order.x: fixed}", ["planner_args.order.x", "indented"]),
        ("planner_args: 3", ["planner_args", "got 3, expected its settings"]),
        ("planner_args: {order: fixed, order: random}", ["'order' is written twice"]),
        ("seed: 1\nplanner_args: {order: fixed}\nseed: 2", ["line 3: 'seed' is written twice, first in line 1"]),
        ("seed: 012", ["got '012'"]),
        ("seed: 1:30", ["got '1:30'"]),
        ("seed: yes", ["got 'yes'"]),
        ("discount: .nan", ["got nan"]),
        ("name: 7", ["got 7"]),
        ("- seed", ["expected `key: value` lines, got ['seed']"]),
    ],
)
def test_what_a_file_cannot_mean_is_refused(write, text, words):
    write(alg=f"{text}\n")
    said = mistakes()
    assert all(word in said for word in ["src/config/algs/alg.yaml", *words]), said


def test_a_section_with_nothing_in_it_says_nothing(write):
    write(alg="planner_args:\n", env="planner_args:\n  order: fixed\n")
    assert load()["planner_args"]["order"] == "fixed"


def test_files_read_numbers_as_the_command_line_does(write):
    write(alg="t_max: 2e5\nseed: 1_000\nplanner_args: {temperature: 3e-4}\n")
    config = load()
    assert (config["t_max"], config["seed"], config["planner_args"]["temperature"]) == (200000, 1000, 3e-4)


def test_a_file_that_is_not_utf_8_or_has_too_long_a_name_is_explained(write, tmp_path):
    from tandem.config import files

    write()
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: \xe9\n".encode("latin-1"))
    assert "latin.yaml: cannot be read: it is not UTF-8 text" in mistakes(config=str(path))
    assert files.peek("mongo_url", str(path), "env", ()) is None  # what is needed before the check passes it over
    assert "no such file" in mistakes(config=f"./{'c' * 300}") and "no file algs/ccc" in mistakes(config="c" * 300)


def test_the_home_folder_may_be_written_as_a_tilde(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write()
    (tmp_path / "mine.yaml").write_text("seed: 44\n")
    config = load("results_dir=~/runs", config="~/mine.yaml")
    assert (config["results_dir"], config["seed"]) == (str(tmp_path / "runs"), 44)


def test_all_mistakes_come_in_one_message(write):
    write(alg="planner_args:\n  order: 3\nplaner: x\n")
    with pytest.raises(loader.ConfigError) as caught:
        load("seed=-1", "learner=mazer", "env_args.limit=ten", config="alg", env_config="env")
    assert len(caught.value.mistakes) == 5
    assert all(mistake in str(caught.value) for mistake in caught.value.mistakes)


def test_an_unknown_file_name_is_explained_together_with_the_rest(write):
    write()
    text = mistakes("seed=x", config="ald", env_config="nowhere")
    assert "--config=ald" in text and "did you mean alg?" in text
    assert "--env-config=nowhere" in text and "known: env" in text and "seed" in text


def test_a_configuration_may_be_a_yaml_file_anywhere(write, tmp_path, monkeypatch):
    write(env="t_max: 11\n", alg="seed: 22\n")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "alg.yaml").write_text("seed: 33\n")
    (folder / "world.yaml").write_text("t_max: 44\nplanner_args:\n  temprature: 2\n")
    assert load(config=str(folder / "alg.yaml"))["seed"] == 33
    monkeypatch.chdir(folder)
    assert load(config="./alg.yaml")["seed"] == 33
    assert load(config="alg.yaml")["seed"] == 22  # a name comes first
    text = mistakes(env_config="world.yaml")
    assert "planner_args.temprature (world.yaml)" in text and "did you mean planner_args.temperature?" in text


@pytest.mark.parametrize("flag", ["--config", "--env-config"])
def test_a_configuration_file_that_is_not_there_is_explained(write, tmp_path, flag):
    write()
    (tmp_path / "best.yaml").write_text("seed: 3\n")
    text = mistakes(**{"config" if flag == "--config" else "env_config": str(tmp_path / "bset.yaml")})
    assert f"{flag}={tmp_path / 'bset.yaml'}: no such file" in text and "did you mean best.yaml?" in text


def test_peeking_reads_a_configuration_file_by_its_path(write, tmp_path):
    from tandem.config import files

    write()
    (tmp_path / "mine.yaml").write_text("mongo_optional: true\n")
    assert files.peek("mongo_optional", str(tmp_path / "mine.yaml"), "env", ()) is True


def test_broken_yaml_is_explained(write):
    write(alg="planner: [plies\n")
    assert "src/config/algs/alg.yaml: not valid YAML" in mistakes()


def test_a_key_missing_everywhere_is_explained(write):
    write(default="name: x\n")
    text = mistakes()
    assert "seed: not given; expected whole number" in text and "planner: not given" in text


def test_the_names_of_default_yaml_are_all_commented_and_known():
    from tandem.config import files, schema

    lines = (files.FOLDER / "default.yaml").read_text().splitlines()
    entries = [line for line in lines if ":" in line and not line.startswith("#") and not line.rstrip().endswith(":")]
    assert all("  # " in line for line in entries)
    named = {line.split(":")[0].strip() for line in entries}
    sections = (schema.RunConfig, schema.EvalConfig, schema.CheckpointConfig)
    assert named == {name for section in sections for name in schema.fields(section)} | set(FAMILIES)


def test_peeking_at_a_value_imports_no_part(write, monkeypatch):
    write(alg="platform: cpu\n")
    monkeypatch.setattr(Entry, "config", lambda entry: pytest.fail(f"{entry.module} was imported"))
    updates = commandline.parse(["with", "compile_cache_dir=x", "tmax=3"], ["train"]).updates
    peeked = loader.peek("alg", "env", updates, ("platform", "compile_cache_dir"))
    assert peeked == {"platform": "cpu", "compile_cache_dir": "x"}


def test_a_word_that_also_means_nothing_is_written_into_a_file_as_it_was_typed():
    updates = commandline.parse(["with", "network_args.attention=none", "max_minutes=None"], ["train"]).updates
    found = loader.own_settings("mazero_seq", updates)
    assert found["network_args"] == {"attention": "none"} and found["max_minutes"] is None
