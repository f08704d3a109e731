"""MABrax: who sees and drives what in every robot, and one robot's falls, time limit and clipping, played for real."""

import sys
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.envs import mabrax
from tests.reference.compiled import quick_jit

pytestmark = pytest.mark.jaxmarl

SHAPES = {  # agents, numbers of an observation, of the state, of an action
    "halfcheetah_6x1": (6, 9, 17, 1),
    "ant_4x2": (4, 18, 27, 2),
    "hopper_3x1": (3, 9, 11, 1),
    "walker2d_2x3": (2, 10, 17, 3),
    "humanoid_9|8": (2, 194, 244, 9),
}


@cache
def parts(scenario: str):
    """Return (JaxMARL's environment with our indices, ours)."""
    config = mabrax.Config(scenario=scenario)
    return mabrax._make_world(config.scenario, config.backend), mabrax.make(config)


@pytest.mark.parametrize("scenario", mabrax.SCENARIOS)
def test_every_agent_sees_where_the_joints_that_it_drives_are_and_how_they_move(scenario):
    world, _ = parts(scenario)
    actuator, size = world.sys.actuator, world.sys.q_size()
    # Positions come first and without the place on the floor, then speeds.
    left_out = 2 if scenario.startswith(("ant", "humanoid")) else 1
    driven = []
    for agent in world.agents:
        joints, sees = (
            np.asarray(world.agent_action_mapping[agent]),
            set(np.asarray(world.agent_obs_mapping[agent]).tolist()),
        )
        assert {int(actuator.q_id[i]) - left_out for i in joints} <= sees
        assert {int(actuator.qd_id[i]) + size - left_out for i in joints} <= sees
        assert len(sees) == len(world.agent_obs_mapping[agent]) and sees <= set(range(world.env.observation_size))
        driven += joints.tolist()
    assert sorted(driven) == list(range(world.env.action_size))


@pytest.mark.parametrize("scenario", mabrax.SCENARIOS)
def test_the_spec_is_what_reset_and_step_return(scenario):
    _, env = parts(scenario)
    spec = env.spec
    assert (spec.num_agents, spec.obs.size, spec.state.size, spec.actions.size) == SHAPES[
        scenario
    ] and spec.actions.continuous
    reset = jax.eval_shape(env.reset, jax.random.key(0))
    action = jax.ShapeDtypeStruct((spec.num_agents, spec.actions.size), jnp.float32)
    step = jax.eval_shape(env.step, jax.random.key(0), reset[0], action)
    assert jax.tree.structure(reset) == jax.tree.structure(step) and jax.tree.leaves(reset) == jax.tree.leaves(step)
    assert step[1].obs.shape == (spec.num_agents, spec.obs.size) and step[1].state.shape == (spec.state.size,)


@cache
def hopper():
    """Return (compiled step of a hopper, the state before its fall, the joint action that brings it down)."""
    _, env = parts("hopper_3x1")
    step, key = quick_jit(env.step), jax.random.key(0)
    state, timestep = quick_jit(env.reset)(key)
    action = jnp.array([[1.0], [-1.0], [1.0]])
    for _ in range(400):
        following, timestep = step(key, state, action)
        if timestep.terminated:
            return step, state, action
        state = following
    raise AssertionError("the hopper does not fall")


def test_a_fall_terminates_also_on_the_last_step_and_the_time_limit_truncates():
    step, before, action = hopper()
    key, last = jax.random.key(0), jnp.int32(999)
    for state in (before, before.replace(num_steps=last)):
        _, outcome = step(key, state, action)
        assert outcome.terminated and not outcome.truncated
    standing, _ = quick_jit(parts("hopper_3x1")[1].reset)(key)
    _, outcome = step(key, standing.replace(num_steps=last), action)
    assert outcome.truncated and not outcome.terminated and outcome.reward.shape == (3,) and np.ptp(outcome.reward) == 0


def test_actions_are_clipped_to_their_range():
    step, state, action = hopper()
    (_, wild), (_, clipped), (_, still) = (
        step(jax.random.key(0), state, x) for x in (9.0 * action, action, 0.0 * action)
    )
    np.testing.assert_array_equal(wild.obs, clipped.obs)
    np.testing.assert_array_equal(wild.reward, clipped.reward)
    assert np.abs(clipped.obs - still.obs).max() > 1e-3


def test_a_picture_shows_every_limb_and_whose_it_is():
    _, state, action = hopper()
    _, env = parts("hopper_3x1")
    scene = env.drawing.scene(jax.tree.map(np.asarray, state), np.asarray(action))
    colours = [figure.colour for figure in scene.figures]
    assert {0, 1, 2} <= set(colours) and env.drawing.agents == ("agent 0", "agent 1", "agent 2")
    left, bottom, right, top = scene.bounds
    inside = [figure for figure in scene.figures if hasattr(figure, "radius")]
    assert len(inside) >= 8 and all(left < disc.x < right and bottom < disc.y < top for disc in inside)


def test_building_a_robot_leaves_no_file_and_says_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    mabrax._make_world.cache_clear()
    mabrax.make(mabrax.Config())
    assert not list(tmp_path.iterdir()) and capfd.readouterr() == ("", "")


def test_the_package_that_the_message_names_is_the_pinned_one():
    project = Path(__file__).parents[2].joinpath("pyproject.toml").read_text()
    assert f'"{mabrax.BRAX}"' in project


def test_without_brax_the_message_says_what_to_install(monkeypatch):
    mabrax._make_world.cache_clear()
    for name in [
        name for name in sys.modules if name.split(".")[0] == "brax" or name.startswith("jaxmarl.environments.mabrax")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "brax", None)
    with pytest.raises(ImportError, match="pip install brax=="):
        mabrax.make(mabrax.Config())
