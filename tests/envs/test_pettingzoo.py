"""PettingZoo's games as host environments: what the conformance suite cannot ask of all of them."""

import sys
import tomllib
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml
from gymnasium.spaces import Box

from tandem.config import files, schema
from tandem.envs import pettingzoo
from tandem.envs.pettingzoo import actions, game, measures, scenarios
from tandem.models import actor_critic
from tests.envs.host_cases import episode, random_action

ROOT = Path(__file__).parents[2]


def make(scenario, **settings):
    return pettingzoo.make(pettingzoo.Config(scenario=scenario, **settings))


def play(env, chosen, seed=0):
    """Return the time steps of the given joint actions, from a reset on."""
    return [env.reset(seed), *(env.step(action) for action in chosen)]


# Agents that die


@pytest.mark.parametrize("settings", [{}, {"frame_skip": 4, "frame_stack": 2, "sticky_actions": 0.25}])
def test_knights_and_archers_die_one_by_one(settings):
    env = make("knights_archers_zombies", scenario_args={"spawn_delay": 3}, **settings)
    timesteps, _ = episode(env, 0, np.random.default_rng(1))
    alive = np.array([timestep.alive for timestep in timesteps])
    assert not (alive[1:] & ~alive[:-1]).any()
    deaths = alive.sum(axis=1)
    assert deaths[0] == 4 > deaths[-1] > 0 and timesteps[-1].terminated
    for timestep, before in zip(timesteps[1:], alive, strict=False):
        assert (timestep.reward[~before] == 0).all() and (timestep.obs[~timestep.alive] == 0).all()
        assert (timestep.legal[~timestep.alive].nonzero()[1] == 0).all() and timestep.legal.any(axis=-1).all()
        assert timestep.legal[timestep.alive].all()
        assert (timestep.obs[timestep.alive] != 0).any(axis=-1).all()
    assert timesteps[-1].metrics["survivors"] <= deaths[-1]


def test_walkers_that_fall_alone_leave_the_others_walking():
    env = make("multiwalker", scenario_args={"terminate_on_fall": False}, action_bins=2)
    assert not env.spec.shared_reward and env.spec.state.size == 3 * 31
    timesteps, _ = episode(env, 1, np.random.default_rng(2))
    living = [int(timestep.alive.sum()) for timestep in timesteps]
    assert living[0] == 3 and 2 in living and timesteps[-1].metrics["fallen"] >= 3 - living[-1] >= 1
    assert make("multiwalker").spec.shared_reward


def test_a_walker_s_fall_ends_the_episode_of_all_unless_told_otherwise():
    timesteps, _ = episode(make("multiwalker", action_bins=2), 1, np.random.default_rng(2), most=400)
    assert timesteps[-1].terminated and timesteps[-1].alive.all() and (timesteps[-1].reward < -90).all()


# Actions


def test_a_continuous_action_is_a_choice_of_one_value_per_dimension():
    made = actions.of_space(Box(np.array([-1, 0], np.float32), np.array([1, 8], np.float32)), 3)
    assert made.num == 9
    np.testing.assert_array_equal(made.points, [(x, y) for x in (-1, 0, 1) for y in (0, 4, 8)])
    assert made[5].dtype == np.float32


@pytest.mark.parametrize(
    ("scenario", "arguments", "bins", "expected"),
    [
        ("multiwalker", {}, 3, 81),
        ("multiwalker", {}, 2, 16),
        ("pistonball", {}, 5, 5),
        ("pistonball", {"continuous": False}, 5, 3),
        ("simple_spread", {"continuous_actions": True}, 2, 32),
        ("simple_reference", {}, 3, 50),
    ],
)
def test_the_number_of_actions_follows_from_bins_and_dimensions(scenario, arguments, bins, expected):
    assert make(scenario, scenario_args=arguments, action_bins=bins).spec.actions.size == expected


def test_too_many_combinations_are_refused():
    with pytest.raises(
        ValueError, match=r"env_args.action_bins=9: 4 dimensions make 6561 actions per agent, more than 4096"
    ):
        make("multiwalker", action_bins=9)


def test_pistons_go_where_they_are_told():
    # Bin 0 is the lowest value, down; the last one the highest, up.
    env = make("pistonball", scenario_args={"n_pistons": 5}, resize=(), greyscale=False)
    heights = {}
    for action in (0, 2):
        play(env, [np.full(5, action)] * 4, seed=3)
        heights[action] = np.mean([piston.position[1] for piston in env._game.env.unwrapped.pistonList])
    assert heights[2] < heights[0]  # the screen's y points down


# SuperSuit


def test_frames_that_are_skipped_are_played_and_their_rewards_summed():
    chosen = [np.array([1, 2, 3]), np.array([4, 0, 1])]
    slow = play(make("simple_spread"), [action for action in chosen for _ in range(3)])
    fast = play(make("simple_spread", frame_skip=3), chosen)
    for i in (1, 2):
        np.testing.assert_allclose(fast[i].obs, slow[3 * i].obs, atol=1e-6)
        np.testing.assert_allclose(fast[i].reward, sum(step.reward for step in slow[3 * i - 2 : 3 * i + 1]), atol=1e-5)
    assert make("simple_spread", frame_skip=3).spec.episode_limit == 9 and make("pistonball").spec.episode_limit == 125


def test_a_stack_holds_the_last_observations_and_begins_with_the_first():
    chosen = [np.array([1, 2, 3]), np.array([4, 0, 1])]
    single = play(make("simple_spread"), chosen)
    stacked = play(make("simple_spread", frame_stack=2), chosen)
    for step, seen in enumerate(stacked):
        expected = np.concatenate([single[max(0, step - 1)].obs, single[step].obs], axis=1)
        np.testing.assert_array_equal(seen.obs, expected)


def test_actions_stick_and_not_all_agents_at_once():
    sure = [np.array([2, 2, 2])] + [np.array([1, 1, 1])] * 12
    loose = play(make("simple_spread"), [np.array([2, 2, 2])] * 13)
    sticky = play(make("simple_spread", sticky_actions=0.5), sure)
    # The velocity to the right stays what it would be for as long as the first action sticks.
    stuck = np.array([step.obs[:, 0] for step in sticky]) == np.array([step.obs[:, 0] for step in loose])
    assert len(set(stuck.sum(axis=0))) > 1


def test_images_are_scaled_reduced_and_made_grey():
    plain = make("pistonball", scenario_args={"n_pistons": 5}, resize=(), greyscale=False)
    small = make("pistonball", scenario_args={"n_pistons": 5}, resize=(20, 30))
    one, two = plain.reset(1), small.reset(1)
    colours = one.obs[0].reshape(457, 120, 3)
    assert small.spec.obs.size == small.spec.state.size == 600 and colours.max() == 1.0
    grey = colours @ np.array([0.299, 0.587, 0.114])
    assert abs(two.obs[0].mean() - grey.mean()) < 0.02
    top, bottom = two.obs[0].reshape(30, 20)[:10], two.obs[0].reshape(30, 20)[-10:]
    assert abs(top.mean() - grey[:152].mean()) < 0.03 and abs(bottom.mean() - grey[-152:].mean()) < 0.03


def test_the_greatest_of_two_frames_is_seen():
    one = play(make("space_invaders", resize=(), greyscale=False), [np.array([1, 3])] * 4)
    two = play(make("space_invaders", resize=(), greyscale=False, max_frames=2), [np.array([1, 3])] * 4)
    for step in range(2, 5):
        np.testing.assert_array_equal(two[step].obs, np.maximum(one[step - 1].obs, one[step].obs))


# Teams, names, settings


def test_the_others_play_at_random_but_by_the_seed():
    env = make("simple_tag")
    prey = []
    for seed in (1, 1, 2):
        timesteps = play(env, [np.zeros(3, int)] * 5, seed)
        prey.append(timesteps[-1].obs[0, -2:])
    assert env.spec.num_agents == 3 and (prey[0] == prey[1]).all() and (prey[0] != prey[2]).any()
    assert make("simple_tag", team=("agent",)).spec.num_agents == 1
    assert not make("simple_tag", team=("agent", "adversary")).spec.shared_reward


def test_every_agent_s_return_can_be_had():
    env = make("knights_archers_zombies", agent_returns=True, episode_limit=30, scenario_args={"spawn_delay": 2})
    assert env.spec.metric_names == (
        "return_archer_0",
        "return_archer_1",
        "return_knight_0",
        "return_knight_1",
        "survivors",
    )
    timesteps, _ = episode(env, 4, np.random.default_rng(0))
    totals = np.sum([step.reward for step in timesteps], axis=0)
    names = ("archer_0", "archer_1", "knight_0", "knight_1")
    np.testing.assert_allclose([timesteps[-1].metrics[f"return_{name}"] for name in names], totals)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scenario": "waterworld_v4"}, "'waterworld_v4' is not in pettingzoo 1.27.0"),
        ({"scenario": "pursuit_v4"}, "they have pursuit_v5"),
        ({"scenario": "simple_sprea"}, "did you mean 'simple_spread'"),
        (
            {"scenario": "simple_tag", "team": ("wolf",)},
            "env_args.team: 'wolf' is in no agent's name; there are adversary_0",
        ),
        (
            {"scenario": "pistonball", "scenario_args": {"pistons": 3}},
            "pistonball_v6 does not take pistons=3: .*'pistons'",
        ),
        ({"scenario": "pistonball", "num_agents": 1}, "does not take n_pistons=1: n_pistons must be greater than 1"),
        ({"scenario": "simple_tag", "num_agents": 2}, "fixed number of agents; only simple_spread, pursuit, multiwalk"),
        (
            {"scenario": "pursuit", "num_agents": 2, "scenario_args": {"n_pursuers": 4}},
            "num_agents=2 and env_args.scenario_args.n_pursuers=4 both set the size",
        ),
        (
            {"scenario": "pistonball", "scenario_args": {"max_cycles": 3}},
            "scenario_args.max_cycles: is set here.*episode_limit",
        ),
        (
            {"scenario": "pistonball", "resize": (84,)},
            r"env_args.resize: expected width and height or \[\], got \[84\]",
        ),
    ],
)
def test_what_does_not_exist_is_refused_in_a_sentence(settings, words):
    with pytest.raises(ValueError, match=words):
        pettingzoo.make(pettingzoo.Config(**settings))


@pytest.mark.parametrize("scenario", ["simple_spread", "pursuit", "multiwalker", "pistonball"])
def test_a_team_may_have_another_size(scenario):
    env = make(scenario, num_agents=4, scenario_args={"n_evaders": 2} if scenario == "pursuit" else {})
    assert env.spec.num_agents == 4 == len(env.reset(0).obs)


def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpe2.simple_line_v1", None)  # as if it were not there
    with pytest.raises(
        ImportError, match=r"mpe2.*the extra 'pettingzoo': python -m pip install pettingzoo==1.27.0 mpe2=="
    ):
        make("simple_line")


def test_a_game_that_wants_no_supersuit_does_without_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "supersuit", None)
    assert make("simple_spread").reset(0).first
    with pytest.raises(ImportError, match="supersuit.*install the extra 'pettingzoo'"):
        make("simple_spread", frame_skip=2)


def test_the_packages_named_are_those_of_the_extra():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["pettingzoo"]
    assert sorted(package.partition(";")[0] for package in extra) == sorted(game.PACKAGES.split())


def test_the_yaml_says_every_setting_with_its_default_and_what_it_is():
    path = files.FOLDER / "envs" / "pettingzoo.yaml"
    given = yaml.safe_load(path.read_text())["env_args"]
    fields = schema.fields(pettingzoo.Config)
    assert set(given) == set(fields)
    assert {name: value if not isinstance(value, list) else tuple(value) for name, value in given.items()} == {
        name: schema.default(field) for name, field in fields.items()
    }
    assert all("# " in line for line in path.read_text().splitlines() if ":" in line and line.startswith("  "))


# Measures


def test_spread_counts_collisions_and_covered_landmarks():
    env = make("simple_spread")
    env.reset(0)
    world = env._game.env.unwrapped.world
    places = [(0, 0), (0.2, 0), (5, 5)]
    for agent, landmark, place in zip(world.agents, world.landmarks, places, strict=True):
        agent.state.p_pos, agent.state.p_vel = np.array(place, float), np.zeros(2)
        landmark.state.p_pos = np.array(place, float) + (0, 0.05)
    meter = measures.Meter(measures.of_scenario("simple_spread"), env._game.env.unwrapped)
    meter.count()
    meter.count()
    read = meter.read()
    assert read["collisions"] == 2 and read["occupied"] == 3 and read["landmark_distance"] == pytest.approx(0.05)


def test_the_ball_s_progress_is_the_share_of_its_way():
    env = make("pistonball", scenario_args={"n_pistons": 5}, episode_limit=6)
    timesteps, _ = episode(env, 1, np.random.default_rng(0))
    penalty = -0.1 * 6
    returned = sum(float(step.reward[0]) for step in timesteps)
    assert timesteps[-1].metrics["progress"] == pytest.approx((returned - penalty) / 100, abs=1e-4)


def test_all_scenarios_say_where_they_come_from():
    assert all(scenario.version.startswith(name + "_v") for name, scenario in scenarios.SCENARIOS.items())
    assert random_action(np.random.default_rng(0), make("simple").reset(0)).shape == (1,)


# Images as images, and teams of other sizes


def test_images_are_the_rows_of_numbers_before_they_are_flattened():
    settings = {"scenario_args": {"n_pistons": 5}, "resize": (16, 20), "frame_stack": 2}
    rows, images = (make("pistonball", flatten=flatten, **settings) for flatten in (True, False))
    assert rows.spec.obs.shape == (640,) and images.spec.obs.shape == (20, 16, 2)
    chosen = np.random.default_rng(3).integers(0, 3, (3, 5))
    for row, image in zip(play(rows, chosen), play(images, chosen), strict=True):
        np.testing.assert_array_equal(image.obs, row.obs.reshape(5, 20, 16, 2))
        assert 0.0 <= image.obs.min() < image.obs.max() <= 1.0


def test_who_sees_no_images_cannot_be_shown_as_one():
    with pytest.raises(ValueError, match="env_args.flatten=False: these agents do not all see images"):
        make("pursuit", flatten=False)


def test_pursuers_of_any_number_act_by_the_same_parameters():
    config = actor_critic.Config(agent_id=False, critic_input="obs", hidden_size=8)
    specs = [make("pursuit", scenario_args={"n_pursuers": number}).spec for number in (2, 4, 8)]
    shapes = [jax.eval_shape(actor_critic.make(config, spec).init, jax.random.key(0)) for spec in specs]
    assert [spec.num_agents for spec in specs] == [2, 4, 8] and shapes[0] == shapes[1] == shapes[2]
