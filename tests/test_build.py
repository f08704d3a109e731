"""Configurations can be built in pairs; parts and sizes that do not fit are refused in a sentence."""

import os
import pwd
import re
from pathlib import Path

import jax
import pytest
import yaml

from tandem import backend, build, contracts, machine
from tandem.config import commandline, files, loader, schema
from tandem.core import Model
from tandem.core.faces import FACES
from tandem.registry import FAMILIES, Entry
from tests.envs.host_cases import smac_installed


def choose(family: str, fits) -> str:
    """Return how a refusal ends: the parts of the registry that would fit."""
    return f"choose {family}={' or '.join(name for name, entry in FAMILIES[family].items() if fits(entry))}"


def load(*updates, config="mazero_seq", env_config="matrix_game"):
    return loader.load(config, env_config, commandline.parse(["with", *updates], ["train"]).updates)


def mistake(*updates, **names) -> str:
    with pytest.raises(loader.ConfigError) as caught:
        build.build(load(*updates, **names))
    (only,) = caught.value.mistakes
    return only


def pairs() -> list[tuple[str, str]]:
    """Return (algorithm, environment): one algorithm of each set of parts on all environments, which shows that the
    parts fit, and the others, which differ in settings, on one flat game, one with entities and one outside of JAX.
    """
    seen, found = set(), []
    for config in files.names("algs"):
        given = yaml.safe_load((files.FOLDER / "algs" / f"{config}.yaml").read_text())
        parts = tuple(given.get(family) for family in ("network", "planner", "learner"))
        found += [(config, env) for env in files.names("envs") if parts not in seen or env in FEW]
        seen.add(parts)
    return found


FEW = ("matrix_game", "smax", "pettingzoo", "mabrax")  # flat, entities, outside of JAX, continuous


@pytest.mark.jaxmarl
@pytest.mark.parametrize(("config", "env_config"), pairs())
def test_every_algorithm_can_be_built_on_every_environment(config, env_config, monkeypatch, tmp_path):
    smac_installed(monkeypatch, tmp_path)  # a stand-in, for sc2
    recorded = FAMILIES["runner"][load(config=config)["runner"]].recorded
    fitting = ("runner_args.num_envs=8",) if env_config == "sc2" and not recorded else ()
    settings = load(*fitting, config=config, env_config=env_config)
    entry = FAMILIES["env"][settings["env"]]
    continuous = entry.make(schema.build(entry.config(), settings["env_args"])).spec.actions.continuous
    kind, chosen = ("numbers" if continuous else "discrete"), ("network", "planner", "learner")
    if any(kind not in FAMILIES[family][settings[family]].actions for family in chosen):
        with pytest.raises(loader.ConfigError, match="actions, and those of env|a program outside JAX"):
            build.build(settings)
        return
    if recorded:  # what it learns from has to be named
        with pytest.raises(loader.ConfigError) as caught:
            build.build(settings)
        (only,) = caught.value.mistakes
        assert only.startswith("runner_args.rows: not given") or "a program outside JAX" in only
        return
    built = build.build(settings)
    assert callable(built.run) and built.spec.num_agents > 1
    runner = settings["runner_args"]
    by_rollout = -(-settings["t_max"] // (runner["num_envs"] * runner["rollout_length"]))
    by_step = int(settings["t_max"] * runner["updates_per_step"])
    assert built.plan.total_updates == (by_rollout if settings["replay"] == "rollout" else by_step) > 0


@pytest.mark.parametrize("folder", ["algs", "envs"])
def test_every_configuration_file_says_in_its_first_line_what_it_is(folder):
    assert files.names(folder)
    assert all(len(files.description(folder, name)) > 10 for name in files.names(folder))


def test_algorithm_files_are_named_after_their_algorithm():
    assert all(load(config=name)["name"] == name for name in files.names("algs"))


def test_a_planner_whose_targets_the_learner_cannot_use_is_refused():
    text = mistake("planner=policy")
    assert text == (
        "learner 'mazero' learns from search targets; planner 'policy' leaves policy; "
        + choose("planner", lambda entry: entry.leaves == "search")
    )


def test_weighing_candidates_that_the_planner_does_not_keep_is_refused():
    for updates in ((), ("planner=joint",), ("planner=joint", "planner_args.keep_candidates=False")):
        assert "planner_args.keep_candidates=True" in mistake("learner_args.policy_loss=advantage_weighted", *updates)
    kept = ("planner=joint", "planner_args.keep_candidates=True")
    build.build(load("learner_args.policy_loss=advantage_weighted", *kept))


@pytest.mark.jaxmarl
def test_learning_from_recorded_data_with_a_soft_policy_takes_discrete_actions_alone():
    text = mistake("env_args.action_type=continuous", "runner_args.rows=1", config="sac_brac", env_config="mpe")
    assert text == (
        "learner 'sac_offline' learns from discrete actions, and those of env 'mpe' are continuous; "
        + choose("learner", lambda entry: "numbers" in entry.actions)
    )


def test_only_where_agents_commit_one_after_another_is_there_a_way_to_play_in_turns():
    assert list(build.build(load()).players) == ["search", "autoregressive", "policy"]
    assert list(build.build(load(config="mazero_joint")).players) == ["search", "policy"]


def test_a_network_without_the_faces_that_planner_and_learner_need_is_refused(monkeypatch):
    module = FAMILIES["network"]["world_model"].module
    monkeypatch.setitem(
        FAMILIES["network"], "actor_critic", Entry(module, "another", shows=frozenset({"latents", "actor_critic"}))
    )
    with pytest.raises(loader.ConfigError) as caught:
        build.build(load("network=actor_critic"))
    planner, learner = caught.value.mistakes
    assert planner == (
        "planner 'plies' needs a network with latents, team policy, team value; network 'actor_critic' has actor "
        "critic, latents; " + choose("network", lambda entry: {"latents", "team_policy", "team_value"} <= entry.shows)
    )
    assert learner.startswith(
        "learner 'mazero' needs a network with latents, self supervision, team policy, team value; "
    )


@pytest.mark.parametrize("name", FAMILIES["network"])
def test_a_network_has_the_faces_that_the_registry_names(name):
    entry, spec = FAMILIES["network"][name], build.build(load()).spec
    assert entry.make(entry.config()(), spec).faces() == entry.shows


def test_the_registry_names_no_face_that_there_is_not():
    named = frozenset().union(*(entry.shows | entry.needs for family in FAMILIES.values() for entry in family.values()))
    assert named == set(FACES)


@pytest.mark.parametrize("name", FAMILIES["planner"])
def test_a_planner_works_with_the_faces_that_it_says_it_needs(name):
    entry, spec = FAMILIES["planner"][name], build.build(load()).spec
    network = next(each for each in FAMILIES["network"].values() if entry.needs <= each.shows)
    model = network.make(network.config()(), spec)
    bare = Model(model.init, model.acting, **{face: getattr(model, face) for face in entry.needs})
    planner = entry.make(entry.config()(), bare, spec, 0.9)
    extras, broken = contracts.of_planner(name, planner, bare, spec, 3)
    assert not broken and type(extras).__name__.lower() == f"{entry.leaves}extras"


def test_an_old_configuration_is_told_what_to_write_now():
    for updates in (("planner=sequential",), ("planner=sequential", "planner_args.tree=paths")):
        with pytest.raises(loader.ConfigError) as caught:
            load(*updates)
        (only,) = caught.value.mistakes
        assert all(
            word in only
            for word in ("'sequential' is three planners now", "planner=paths for tree=paths", "planner=plies")
        )


def test_build_reads_no_setting_of_a_part_and_knows_no_part_by_name():
    text = Path(build.__file__).read_text()
    assert len(text.splitlines()) <= 150
    assert not re.search(r"getattr|hasattr", text)
    names = {name for family in FAMILIES.values() for name in family} - {"policy"}
    assert not [name for name in names if re.search(rf"['\"]{name}['\"]", text)]


def test_a_replay_that_the_learner_cannot_use_is_refused():
    assert mistake("replay=rollout") == (
        "learner 'mazero' learns from sequences; replay 'rollout' hands out rollouts; "
        + choose("replay", lambda entry: entry.data == "sequences")
    )
    assert mistake("replay=uniform", config="mappo") == (
        "learner 'ppo' learns from rollouts; replay 'uniform' hands out sequences; "
        + choose("replay", lambda entry: entry.data == "rollouts")
    )


@pytest.mark.parametrize(
    "updates, words",
    [
        (["learner_args.chunk_length=5"], ["learner_args.chunk_length=5", "runner_args.rollout_length=32"]),
        (["learner_args.num_minibatches=3"], ["num_minibatches=3", "4096 chunks", "num_envs=128 times 32"]),
        (["runner_args.reanalyse_per_step=0.1"], ["runner_args.reanalyse_per_step", "set it to 0"]),
        (["network_args.actor_memory=gru"], ["learner 'ppo'", "chunk_length=1", "single steps cannot train a memory"]),
    ],
)
def test_rollouts_that_cannot_be_cut_or_kept_are_refused(updates, words):
    text = mistake(*updates, config="mappo")
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("mappo", "rollouts are used once and not reanalysed; set it to 0"),
        (
            "mazero_seq",
            "runner_args.reanalyse_per_step=0 leaves them nothing to do; set that above 0, or reanalyse_actors to 0",
        ),
    ],
)
def test_actors_with_nothing_to_plan_again_are_refused(config, told):
    actors = ["runner=ray_async", "runner_args.num_envs=128", "runner_args.reanalyse_actors=2"]
    assert mistake(*actors, config=config) == f"runner_args.reanalyse_actors=2: {told}"
    if config == "mazero_seq":
        assert build.build(load(*actors, "runner_args.reanalyse_per_step=0.1"))


def test_settings_of_an_environment_stay_where_the_chosen_part_has_them():
    mappo, mazero = (load(config=name, env_config="matrix_game") for name in ("ippo", "mazero_seq"))
    assert mazero["learner_args"]["unroll"] == 1 and "unroll" not in mappo["learner_args"]
    assert mazero["network_args"]["reward_limit"] == 6.0 and "reward_limit" not in mappo["network_args"]
    assert mappo["max_minutes"] == mazero["max_minutes"] == 1


@pytest.mark.parametrize("name", files.names("algs"))
def test_every_key_of_an_algorithms_file_says_what_it_is(name):
    path = files.FOLDER / "algs" / f"{name}.yaml"
    given = yaml.safe_load(path.read_text())
    keys = [key for key in given if not key.endswith("_args")]
    keys += [key for section in given if section.endswith("_args") for key in given[section]]
    assert len(keys) > 1
    explained = re.findall(r"^ *(\w+): .*\S +# \S", path.read_text(), flags=re.MULTILINE)
    assert sorted(explained) == sorted(keys)


@pytest.mark.parametrize(
    "updates, words",
    [
        (["learner_args.unroll=2"], ["learner_args.unroll=2", "longer than an episode", "after 1"]),
        (
            [
                "t_max=5",
                "runner_args.num_envs=3",
                "runner_args.rollout_length=7",
                "runner_args.report_every=5",
                "replay_args.min_size=2",
            ],
            ["t_max=5", "3 * 7 = 21 environment steps"],
        ),
        (["t_max=3000", "runner_args.report_every=4000"], ["runner_args.report_every=4000", "t_max=3000"]),
        (
            ["replay_args.capacity=100", "runner_args.num_envs=30"],
            ["replay_args.capacity=100", "3 steps of each of 30"],
        ),
        (["replay_args.capacity=3000", "replay_args.min_size=3001"], ["replay 'uniform'", "min_size=3001"]),
        (
            ["t_max=3000", "runner_args.report_every=900", "replay_args.min_size=5000"],
            ["replay_args.min_size=5000", "t_max=3000"],
        ),
    ],
)
def test_sizes_that_cannot_work_are_refused(updates, words):
    text = mistake(*updates)
    assert all(word in text for word in words), text


def test_more_games_than_a_machine_has_room_for_are_refused_before_any_is_started(monkeypatch, tmp_path):
    smac_installed(monkeypatch, tmp_path)
    told = mistake(config="mappo", env_config="sc2")
    assert told.startswith("runner_args.num_envs=128: ")
    assert "set runner_args.num_envs=8 or less, or raise env_args.max_envs=8" in told
    for fitting in ("runner_args.num_envs=8", "env_args.max_envs=128"):
        build.build(load(fitting, config="mappo", env_config="sc2"))


def test_a_value_that_only_a_part_can_judge_is_refused_like_the_others():
    text = mistake("env_args.scenario=simple_sprea", env_config="mpe")
    assert text.startswith("env 'mpe':") and "simple_spread" in text


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(FAMILIES["env"], "far", Entry("no_such_package.env", "not installed"))
    with pytest.raises(loader.ConfigError, match="env 'far' cannot be loaded: No module named 'no_such_package'"):
        load("env=far")


def test_the_compilation_cache_can_be_moved_and_turned_off(monkeypatch, tmp_path):
    import jax

    told = {}
    monkeypatch.setattr(jax.config, "update", told.__setitem__)
    monkeypatch.setattr(backend, "_require_device", lambda platform: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("XLA_FLAGS", "--kept")
    backend.prepare_jax("auto", "auto")
    assert told["jax_compilation_cache_dir"] == str(tmp_path / "tandem" / "jax")
    backend.prepare_jax("cpu", "~/elsewhere")
    assert told["jax_compilation_cache_dir"] == os.path.expanduser("~/elsewhere") and told["jax_platforms"] == "cpu"
    told.clear()
    backend.prepare_jax("auto", "")
    assert told == {}
    assert os.environ["XLA_FLAGS"].split() == ["--kept", f"--{backend.SLOW_FUSION}="]


def test_a_learner_beside_actors_leaves_them_their_cores(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setenv("NPROC", "")  # both are put back afterwards
    monkeypatch.delenv("NPROC")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(2)), raising=False)
    monkeypatch.setattr(machine, "CGROUP", Path("/nowhere"))
    backend.prepare_jax("", "", "jax_sync")
    assert "NPROC" not in os.environ
    backend.prepare_jax("", "", "ray_async")
    assert os.environ["NPROC"] == "1"
    built = build.build(load("runner=ray_async", "runner_args.num_envs=30"))
    assert built.run.parts.config.num_actors == 1  # two cores: one for each


def test_the_number_of_actors_that_a_machine_was_given_is_kept_on_others(monkeypatch):
    asked = load("runner=ray_async", "runner_args.num_envs=30")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(9)), raising=False)
    monkeypatch.setattr(machine, "CGROUP", Path("/nowhere"))
    stored = build.settled(asked)
    assert stored["runner_args"] == asked["runner_args"] | {
        "num_actors": 6
    }  # seven cores are left; 7 does not divide 30
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(3)))
    assert build.settled(stored) == stored != build.settled(asked)
    assert build.settled(load()) == load()


def test_a_platform_that_is_not_there_is_refused(monkeypatch):
    import jax

    def no_gpu():
        raise RuntimeError("Unknown backend cuda\nand more")

    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(jax, "devices", no_gpu)
    monkeypatch.setattr(jax.config, "update", lambda name, value: None)
    with pytest.raises(loader.ConfigError, match="platform=gpu: JAX finds no such device"):
        backend.prepare_jax("gpu", "")


def test_an_environment_outside_jax_is_refused_where_it_would_be_compiled(monkeypatch):
    monkeypatch.setitem(FAMILIES["env"], "program", Entry("tandem.envs.matrix_game", "as if it were one", host=True))
    told = mistake("env=program")
    assert told == (
        "env 'program' is a program outside JAX; runner 'jax_sync' compiles its environments; "
        + choose("runner", lambda entry: entry.host)
    )


def test_actors_that_environments_cannot_be_dealt_out_to_are_refused():
    told = mistake("runner=ray_async", "runner_args.num_envs=32", "runner_args.num_actors=5")
    assert told == "runner 'ray_async': runner_args.num_envs=32 cannot be divided evenly among num_actors=5"
    built = build.build(load("runner=ray_async", "runner_args.num_envs=30", "runner_args.num_actors=5"))
    assert built.run.parts.config.num_actors == 5 and callable(built.run)


def test_a_user_without_a_home_folder_has_no_cache_and_no_traceback(monkeypatch):
    def unknown(*_):
        raise KeyError("getpwuid(): uid not found: 12345")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    before = jax.config.jax_compilation_cache_dir
    backend.prepare_jax("cpu", "auto")
    assert jax.config.jax_compilation_cache_dir == before


@pytest.mark.parametrize(
    ("settings", "config", "complaint"),
    [
        (["t_max=2147483647"], "mazero_seq", "t_max=2147483647: steps are counted in 32 bits.*2147482047 is the most"),
        (["t_max=3e9"], "mappo", "t_max .*: got 3000000000.0, expected whole number, 1 or more; at most 2147483647"),
        (
            ["t_max=2e9", "runner_args.report_every=1900000000"],
            "mazero_seq",
            "t_max=2000000000: steps are counted in 32 bits",
        ),
        (["t_max=2e9", "runner_args.updates_per_step=2"], "mazero_seq", "t_max=2000000000: 4000000000 optimiser steps"),
        (
            ["t_max=2e9", "runner_args.num_envs=4", "runner_args.rollout_length=1"],
            "mappo",
            "t_max=2000000000: [0-9]+ optimiser steps",
        ),
        (
            ["t_max=2e9", "runner_args.num_envs=4", "runner_args.rollout_length=1"],
            "mappo_distil",
            "t_max=2000000000: [0-9]+ optimiser steps",
        ),
    ],
)
def test_no_clock_of_a_run_can_wrap(settings, config, complaint):
    with pytest.raises(loader.ConfigError) as caught:
        build.build(load(*settings, config=config))
    assert any(re.match(complaint, mistake) for mistake in caught.value.mistakes), caught.value.mistakes


def test_as_many_steps_as_can_be_counted_are_allowed():
    built = build.build(load("t_max=2147482047"))
    assert built.run.loop.t_max + built.run.loop.steps_per_report == 2**31 - 1
