"""StarCraft II as a host environment, over a stand-in of the methods that it calls (tests/reference/starcraft.py)."""

import sys
from types import ModuleType

import numpy as np
import pytest
import yaml

from tandem.config import files, schema
from tandem.envs import sc2
from tests.envs.host_cases import episode, smac_installed
from tests.reference import starcraft
from tests.reference.starcraft import LIMIT, StarCraft2Env


@pytest.fixture
def smac(monkeypatch, tmp_path):
    """The stand-in where smac would be; at the end no game of it may still run."""
    smac_installed(monkeypatch, tmp_path)
    yield StarCraft2Env
    assert StarCraft2Env.running == 0


def test_the_spec_is_what_the_package_says_of_the_map(smac):
    spec = sc2.make(sc2.Config()).spec
    assert (spec.num_agents, spec.obs.size, spec.state.size, spec.actions.size, spec.episode_limit) == (
        3,
        30,
        48,
        9,
        60,
    )
    assert spec.shared_reward and spec.metric_names == ("battle_won", "units_lost")


def test_a_battle_that_is_lost_terminates_and_its_dead_can_only_pass(smac):
    env = sc2.make(sc2.Config())
    timesteps = [env.reset(1)]
    while not (timesteps[-1].terminated or timesteps[-1].truncated):
        # One marine goes forward, the others keep away.
        timesteps.append(env.step(np.where(timesteps[-1].alive, np.where(timesteps[-1].legal[:, 4], [4, 1, 1], 0), 0)))
    end = timesteps[-1]
    assert end.terminated and not end.truncated and len(timesteps) < LIMIT
    assert end.metrics["battle_won"] == 0 and end.metrics["units_lost"] == 3 and not end.alive.any()
    lost = [float(timestep.metrics["units_lost"]) for timestep in timesteps]
    assert lost == sorted(lost) and {0.0, 3.0} < set(lost)
    for timestep in timesteps:
        assert (timestep.obs[~timestep.alive] == 0).all() and timestep.legal[~timestep.alive, 0].all()
        assert not timestep.legal[~timestep.alive, 1:].any() and not timestep.legal[timestep.alive, 0].any()
    env.close()


def test_a_battle_that_is_won_says_so_and_pays_everyone_the_same(smac):
    env = sc2.make(sc2.Config())
    timesteps = [env.reset(2)]
    while not (timesteps[-1].terminated or timesteps[-1].truncated):
        legal = timesteps[-1].legal
        focus = legal[:, 6:].all(axis=0).argmax() if legal[:, 6:].all(axis=0).any() else None
        fire = 6 + (legal[:, 6:].argmax(axis=1) if focus is None else np.full(3, focus))
        timesteps.append(env.step(np.where(legal[:, 0], 0, np.where(legal[:, 6:].any(axis=1), fire, 1))))
    total = np.sum([timestep.reward for timestep in timesteps], axis=0)
    assert timesteps[-1].terminated and timesteps[-1].metrics["battle_won"] == 1
    np.testing.assert_allclose(total, np.full(3, (3 * 45 + 3 * 10 + 200) / (230 / 20)), rtol=1e-5)
    env.close()


def test_a_battle_that_outlasts_the_limit_is_truncated(smac):
    env = sc2.make(sc2.Config())
    timestep, steps = env.reset(1), 0
    while not (timestep.terminated or timestep.truncated):
        timestep, steps = env.step(np.full(3, 5)), steps + 1  # west, away from the enemies and faster than they are
    assert steps == LIMIT and timestep.truncated and not timestep.terminated
    assert timestep.alive.all() and (timestep.obs != 0).any() and timestep.metrics["battle_won"] == 0
    env.close()


def test_a_seed_starts_a_new_game_and_none_goes_on_with_the_old(smac):
    env = sc2.make(sc2.Config())
    assert smac.running == 0
    random = np.random.default_rng(0)
    episode(env, 5, random)
    game = env._game
    episode(env, None, random)
    assert env._game is game and smac.running == 1
    env.reset(5)
    assert env._game is not game and smac.running == 1
    env.reset(None)  # in the middle of a battle, where the package itself would leave its first game running
    assert smac.running == 1
    env.close()
    env.close()


def test_a_game_that_breaks_off_is_an_error_and_not_an_episode(smac, monkeypatch):
    monkeypatch.setattr(StarCraft2Env, "breaks_at", 3)
    env = sc2.make(sc2.Config())
    with pytest.raises(RuntimeError, match="stopped during a battle"):
        episode(env, 1, np.random.default_rng(0))
    env.close()


def test_the_generated_maps_ask_smacv2_for_the_teams_of_its_paper(smac, monkeypatch):
    asked = []

    class Wrapper(StarCraft2Env):
        def __init__(self, capability_config, conic_fov, obs_own_pos, use_unit_ranges, map_name, **others):
            asked.append((capability_config, conic_fov, obs_own_pos, use_unit_ranges, map_name))
            capability_config["team_gen"]["env_key"] = "team_gen"  # the package writes into what it is given
            super().__init__(map_name="3m", **others)

    wrapper = ModuleType("wrapper")
    wrapper.StarCraftCapabilityEnvWrapper = Wrapper
    monkeypatch.setitem(sys.modules, "smacv2.env.starcraft2.wrapper", wrapper)
    env = sc2.make(sc2.Config(package="smacv2", map_name="10gen_zerg", num_enemies=6, sc2_args={"conic_fov": True}))
    env.reset(1)
    (first, *_), (second, conic, own_pos, ranges, name) = asked
    assert first == second and (conic, own_pos, ranges, name) == (True, True, True, "10gen_zerg")
    assert (second["n_units"], second["n_enemies"]) == (5, 6) and second["team_gen"]["weights"] == [0.45, 0.1, 0.45]
    assert second["start_positions"]["dist_type"] == "surrounded_and_reflect"
    env.close()
    with pytest.raises(ValueError, match="set env_args.package=smacv2"):
        sc2.make(sc2.Config(map_name="10gen_zerg"))


@pytest.mark.parametrize(("settings", "words"), [
    ({"map_name": "4m"}, "env_args.map_name: smac has no map '4m'; `python -m smac.bin.map_list` prints"),
    ({"sc2_args": {"reward_sparsely": True}}, "env_args.sc2_args: smac does not take them: .*'reward_sparsely'"),
    ({"sc2_args": {"seed": 3}}, "env_args.sc2_args.seed: is set by"),
])  # fmt: skip
def test_what_the_package_does_not_know_is_refused_in_a_sentence(smac, settings, words):
    with pytest.raises(ValueError, match=words):
        sc2.make(sc2.Config(**settings))


def test_one_message_names_all_that_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "smac", None)  # as if neither it nor its namesake were there
    monkeypatch.setenv("SC2PATH", str(tmp_path / "nowhere"))
    with pytest.raises(ImportError) as caught:
        sc2.make(sc2.Config())
    text = str(caught.value)
    for words in (
        "git+https://github.com/oxwhirl/smac.git",
        "PyPI's 'smac' is another program",
        "SC2PATH",
        str(tmp_path),
    ):
        assert words in text


def test_the_namesake_on_pypi_is_not_taken_for_the_package(monkeypatch, tmp_path):
    smac_installed(monkeypatch, tmp_path)
    monkeypatch.delitem(sys.modules, "smac.env")
    monkeypatch.setitem(sys.modules, "smac", ModuleType("smac"))  # has no module `env`
    with pytest.raises(ImportError, match="the package smac is missing"):
        sc2.make(sc2.Config())


def test_missing_maps_are_named(smac, tmp_path):
    (tmp_path / "Maps" / "SMAC_Maps").rmdir()
    with pytest.raises(ImportError, match="copy the folder SMAC_Maps of .*oxwhirl/smac to .*Maps"):
        sc2.make(sc2.Config())


def test_protobuf_that_is_too_new_is_explained(monkeypatch, tmp_path):
    smac_installed(monkeypatch, tmp_path)

    def refuse(module):
        raise TypeError("Descriptors cannot be created directly.\nIf this call came from a _pb2.py file, ...")

    monkeypatch.setattr("tandem.envs.sc2.installed.importlib.import_module", refuse)
    with pytest.raises(
        ImportError, match="Descriptors cannot be created.*PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python"
    ):
        sc2.make(sc2.Config())


def test_the_yaml_says_every_setting_with_its_default():
    given = yaml.safe_load((files.FOLDER / "envs" / "sc2.yaml").read_text())["env_args"]
    assert given == {name: schema.default(field) for name, field in schema.fields(sc2.Config).items()}


def test_the_stand_in_refuses_what_the_game_refuses(smac):
    game = starcraft.StarCraft2Env("3m")
    game.reset()
    with pytest.raises(AssertionError, match="Agent 0 cannot perform action 0"):
        game.step([0, 1, 1])
    game.close()
