"""Level-Based Foraging: food is for those who load it together, and a team that has eaten all has earned 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.envs import lbf
from tandem.envs.lbf import ACTIONS, Config

N, FOOD = 3, 2
LOAD, STAY = ACTIONS.index("load"), ACTIONS.index("stay")
pytestmark = pytest.mark.jaxmarl  # Jumanji's code too mixes ranks


@pytest.fixture(scope="module")
def game():
    env = lbf.make(Config(num_agents=N, num_food=FOOD, episode_limit=9))
    with jax.numpy_rank_promotion("allow"):
        return env, *jax.jit(env.reset)(jax.random.key(3)), jax.jit(env.step)


def around(state, food: int):
    """Return the state with the agents on three sides of a piece of food."""
    sides = jnp.array([[-1, 0], [1, 0], [0, -1]])
    place = state.food_items.position[food]
    return state.replace(agents=state.agents.replace(position=(place + sides).astype(state.agents.position.dtype)))


def test_all_together_eat_every_piece_and_have_earned_one(game):
    env, state, _, step = game
    total, ended = 0.0, []
    for food in range(FOOD):
        state, outcome = step(jax.random.key(0), around(state, food), jnp.full(N, LOAD))
        total += float(outcome.reward.sum())
        ended.append(bool(outcome.terminated))
        assert float(outcome.metrics["eaten"]) == pytest.approx((food + 1) / FOOD)
    assert total == pytest.approx(1.0) and ended == [False, True]


def test_where_the_team_is_needed_some_of_it_go_hungry(game):
    _, state, _, step = game
    _, outcome = step(jax.random.key(0), around(state, 0), jnp.array([LOAD, LOAD, STAY]))
    assert float(outcome.metrics["eaten"]) == 0.0 and not np.any(outcome.reward)


def test_any_three_of_a_larger_team_can_load_every_piece():
    with jax.numpy_rank_promotion("allow"):
        state, _ = jax.jit(lbf.make(Config(num_agents=5, num_food=FOOD)).reset)(jax.random.key(3))
    weakest = np.sort(np.array(state.agents.level))[:3].sum()
    assert (np.array(state.food_items.level) == weakest).all()


def test_food_can_be_loaded_only_beside_it(game):
    _, state, first, step = game
    _, outcome = step(jax.random.key(0), around(state, 1), jnp.full(N, STAY))
    assert outcome.legal[:, LOAD].all() and outcome.legal[:, STAY].all()
    distance = np.abs(np.array(state.agents.position)[:, None] - np.array(state.food_items.position)[None]).sum(-1)
    np.testing.assert_array_equal(first.legal[:, LOAD], (distance == 1).any(axis=1))


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="field_of_view=9: at most env_args.grid_size=8"):
        lbf.make(Config(field_of_view=9))
