"""Hand controllers of simple_spread: whom they send where."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from tandem.envs import mpe, mpe_controllers
from tandem.envs.mpe import Config

pytestmark = pytest.mark.jaxmarl


def distances(num_agents: int, num_cases: int) -> np.ndarray:
    return np.random.default_rng(num_agents).uniform(0, 3, (num_cases, num_agents, num_agents)).astype(np.float32)


@pytest.mark.parametrize("num_agents", [2, 5, 8, 10])
def test_the_optimal_assignment_is_the_cheapest_there_is(num_agents):
    cases = distances(num_agents, 61)
    found = np.asarray(jax.jit(jax.vmap(mpe_controllers.optimal))(cases))
    np.testing.assert_array_equal(np.sort(found, axis=1), np.tile(np.arange(num_agents), (61, 1)))
    for costs, landmark in zip(cases, found, strict=True):
        np.testing.assert_array_equal(landmark, linear_sum_assignment(costs)[1])
        if num_agents < 6:
            agents = np.arange(num_agents)
            cheapest = min(costs[agents, list(order)].sum() for order in itertools.permutations(agents))
            assert costs[agents, landmark].sum() == pytest.approx(cheapest)


def test_in_turns_each_agent_takes_the_nearest_landmark_that_is_free():
    for costs in distances(7, 11):
        free, expected = list(range(7)), []
        for own in costs:
            expected.append(min(free, key=lambda landmark: own[landmark]))
            free.remove(expected[-1])
        np.testing.assert_array_equal(mpe_controllers.in_turns(jnp.asarray(costs)), expected)


def test_where_the_assignments_differ_each_controller_walks_its_own():
    """Agent 0 at the origin, agent 1 at (0, 0.4); landmark 0 to the right and far, landmark 1 above both."""
    land = jnp.array([[0.9, 0.0], [0.0, 0.5]])
    position = jnp.array([[0.0, 0.0], [0.0, 0.4]])
    obs = jnp.concatenate([jnp.zeros((2, 4)), (land[None] - position[:, None]).reshape(2, 4)], axis=1)
    moves = {name: act(obs).tolist() for name, act in mpe_controllers.spread().items()}
    right, up = 2, 4
    assert moves == {"nearest": [up, up], "identity": [right, up], "in_turns": [up, right], "optimal": [right, up]}


def test_an_agent_lets_go_before_it_overshoots():
    obs = jnp.zeros((1, 6)).at[0, 0].set(1.0).at[0, 4].set(0.2)  # 0.2 to go to the right, at a speed of 1
    assert mpe_controllers.spread()["identity"](obs).tolist() == [1]


@pytest.mark.parametrize("num_agents", [2, 10])
def test_simple_spread_offers_them_for_any_size_of_team(num_agents):
    env = mpe.make(Config(num_agents=num_agents))
    hash(env)  # which is what functions of it are cached by
    assert [name for name, _ in env.scripted] == ["nearest", "identity", "in_turns", "optimal"]
    obs = jax.ShapeDtypeStruct((num_agents, env.spec.obs.size), jnp.float32)
    for _, act in env.scripted:
        action = jax.eval_shape(act, obs)
        assert (action.shape, action.dtype) == ((num_agents,), jnp.int32)


@pytest.mark.parametrize("config", [Config(scenario="simple_tag"), Config(action_type="continuous")])
def test_where_they_cannot_play_they_are_not_offered(config):
    assert mpe.make(config).scripted == ()
