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
def played():
    """Battles on 3m: their steps and states [B, T, ...], and how they are drawn. In even rows the allies advance and
    fire together, in odd rows they stand still.
    """
    env = smax.make(Config(episode_limit=LIMIT))

    def play(key, fights):
        state, timestep = env.reset(key)

        def body(carry, key):
            state, timestep = carry
            shots = timestep.legal[:, 5:]
            attack = jnp.where(shots.any(axis=1), 5 + jnp.argmax(shots, axis=1), jnp.where(timestep.alive, EAST, STOP))
            state, timestep = env.step(key, state, jnp.where(fights, attack, STOP))
            return (state, timestep), (timestep, state)

        return jax.lax.scan(body, (state, timestep), jax.random.split(key, LIMIT))[1]

    with jax.numpy_rank_promotion("allow"):
        run = jax.jit(jax.vmap(play), compiler_options={"xla_backend_optimization_level": 0})
        found = run(jax.random.split(jax.random.key(1), B), jnp.arange(B) % 2 == 0)
    return (*jax.tree.map(np.asarray, found), env.drawing)


@pytest.fixture
def battles(played):
    return played[0]


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


def test_what_the_team_sees_is_drawn_as_the_battle_itself(played):
    """Step by step from the state before it, as films of imagined battles are; whom nobody sees stays where it was."""
    steps, states, drawing = played
    same = 0
    for row in range(B):
        end = int(np.argmax(steps.terminated[row]))
        each = [jax.tree.map(lambda leaf: leaf[row, t], states) for t in range(end + 1)]
        shown = each[0]
        for t in range(1, end + 1):
            shown, real = drawing.rebuilt(shown, steps.obs[row, t]), each[t]
            units, true = shown.world.state, real.world.state
            np.testing.assert_array_equal(units.unit_alive[:3], true.unit_alive[:3])
            assert not (true.unit_alive & ~units.unit_alive).any()  # nobody is buried alive
            seen = [disc[:2] for disc in drawing.scene(real, None).figures]
            drawn = [disc[:2] for disc in drawing.scene(shown, None).figures]
            same += len(seen) == len(drawn) and np.allclose(seen, drawn, atol=1e-3)
            if (units.unit_alive == true.unit_alive).all():
                np.testing.assert_allclose(units.unit_health[:3], true.unit_health[:3], atol=1e-3)
    assert same > 50
