"""SMAX battles: how they end, who may still act, and what they are judged by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.envs import smax
from tandem.envs.smax import Config

pytestmark = pytest.mark.jaxmarl
STOP, EAST, LIMIT, B = 4, 1, 40, 6


@pytest.fixture(scope="module")
def battles():
    """Battles on 3m [B, T, ...]: in even rows the allies advance and fire together, in odd rows they stand still."""
    env = smax.make(Config(episode_limit=LIMIT))

    def play(key, fights):
        state, timestep = env.reset(key)

        def body(carry, key):
            state, timestep = carry
            shots = timestep.legal[:, 5:]
            attack = jnp.where(shots.any(axis=1), 5 + jnp.argmax(shots, axis=1), jnp.where(timestep.alive, EAST, STOP))
            state, timestep = env.step(key, state, jnp.where(fights, attack, STOP))
            return (state, timestep), timestep

        return jax.lax.scan(body, (state, timestep), jax.random.split(key, LIMIT))[1]

    with jax.numpy_rank_promotion("allow"):
        run = jax.jit(jax.vmap(play), compiler_options={"xla_backend_optimization_level": 0})
        steps = run(jax.random.split(jax.random.key(1), B), jnp.arange(B) % 2 == 0)
    return jax.tree.map(np.asarray, steps)


def test_battles_terminate_when_one_side_is_gone(battles):
    for row in range(B):
        end = int(np.argmax(battles.terminated[row]))
        assert (
            battles.terminated[row, end]
            and not battles.terminated[row, :end].any()
            and not battles.truncated[row, : end + 1].any()
        )
        survivors = 3 - battles.metrics["units_lost"][row, end], 3 - battles.metrics["enemies_killed"][row, end]
        assert min(survivors) == 0
        assert battles.metrics["won"][row, end] == float(survivors[0] > 0)


def test_those_who_fight_may_win_and_those_who_stand_still_never_do(battles):
    won = battles.metrics["won"].max(axis=1)
    assert won[::2].sum() >= 1 and won[1::2].sum() == 0


def test_the_dead_may_only_stop_and_see_nothing(battles):
    dead = ~battles.alive
    assert dead.any() and battles.alive.any()
    assert (battles.legal[dead] == np.eye(8, dtype=bool)[STOP]).all()
    assert (battles.obs[dead] == 0).all()
    assert battles.legal[battles.alive][:, :5].all()


def test_the_reward_is_the_enemies_loss_and_a_bonus_for_victory(battles):
    np.testing.assert_array_equal(battles.reward, np.broadcast_to(battles.reward[..., :1], battles.reward.shape))
    for row in range(B):
        end = int(np.argmax(battles.terminated[row]))
        killed, won = battles.metrics["enemies_killed"][row, end], battles.metrics["won"][row, end]
        total = battles.reward[row, : end + 1, 0].sum()
        assert killed / 3 + won - 1e-4 <= total <= 1 + won + 1e-4


def test_the_time_limit_truncates_a_battle_that_goes_on():
    env = smax.make(Config(episode_limit=2))
    state, timestep = env.reset(jax.random.key(0))
    step = jax.jit(env.step)
    ends = []
    for _ in range(2):
        state, timestep = step(jax.random.key(1), state, jnp.full(3, STOP))
        ends.append((bool(timestep.terminated), bool(timestep.truncated), float(timestep.metrics["won"])))
    assert ends == [(False, False, 0.0), (False, True, 0.0)]


def test_a_wrong_map_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="map_name: '5m_v_6m' is not known; did you mean '5m_vs_6m'"):
        smax.make(Config(map_name="5m_v_6m"))
    with pytest.raises(ValueError, match="attack_mode: 'nearest' is not known; .*allowed: closest, random"):
        smax.make(Config(attack_mode="nearest"))


@pytest.mark.parametrize("config", [
    Config(map_name="smacv2_5_units", see_enemy_actions=False),
    Config(map_name="3s_vs_5z", attack_mode="random", observation_type="conic"),
    Config(map_name="5m_vs_6m", enemy_shoots=False, walls_cause_death=False, world_steps_per_env_step=3),
])  # fmt: skip
def test_maps_of_unequal_sides_and_other_views_keep_to_their_spec(config):
    env, key = smax.make(config), jax.random.key(0)
    reset = jax.eval_shape(env.reset, key)
    step = jax.eval_shape(env.step, key, reset[0], jax.ShapeDtypeStruct((env.spec.num_agents,), jnp.int32))
    assert jax.tree.leaves(reset) == jax.tree.leaves(step)
    spec = env.spec
    assert step[1].obs.shape == (spec.num_agents, spec.obs.size) and step[1].state.shape == (spec.state.size,)
    assert step[1].legal.shape == (spec.num_agents, spec.actions.size)
