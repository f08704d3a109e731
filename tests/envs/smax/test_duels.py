"""Each new unit in a duel that can be computed by hand: 16 simulation steps a second, positions on an empty map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.envs.jaxmarl_bridge import smax
from tandem.envs.smax import maps, units
from tandem.envs.smax.battle import Battle
from tandem.envs.smax.enemies import ScriptedEnemies

pytestmark = pytest.mark.jaxmarl
QUICK = {"xla_backend_optimization_level": 0}
FAR = (1.0, 1.0)


def arena(allies, enemies, kind=Battle, **kwargs):
    return kind(scenario=maps.scenario(allies, enemies), **units.statistics(), **kwargs)


def placed(world, positions, health=None, slots=None):
    """Return a state with units at these positions [U, 2], of full health where `health` [U] has no number."""
    types = np.asarray(world.scenario)
    full = np.asarray(world.unit_type_health)[types]
    n = len(types)
    return smax.smax_env.State(
        unit_positions=jnp.array(positions, jnp.float32),
        unit_alive=jnp.ones(n, bool),
        unit_teams=jnp.zeros(n).at[world.num_allies :].set(1.0),
        unit_health=jnp.array(
            [f if h is None else h for h, f in zip(health or [None] * n, full, strict=True)], jnp.float32
        ),
        unit_types=jnp.array(types, jnp.uint8),
        unit_weapon_cooldowns=jnp.array(slots or [0.0] * n, jnp.float32),
        prev_movement_actions=jnp.zeros((n, 2)),
        prev_attack_actions=jnp.zeros(n, jnp.int32),
        step=jnp.array(0),
        done=jnp.array(False),
    )


def fight(world, state, attacks, ticks):
    """Return the states after each of `ticks` simulation steps [T, ...] in which every unit keeps to its attack
    action.
    """
    actions = jnp.zeros((len(attacks), 2)), jnp.array(attacks)

    def tick(state, key):
        state = world._update_dead_agents(world._world_step(key=key, state=state, actions=actions))
        return state, state

    run = jax.jit(
        lambda state: jax.lax.scan(tick, state, jax.random.split(jax.random.key(7), ticks))[1], compiler_options=QUICK
    )
    return jax.tree.map(np.asarray, run(state))


NOBODY = 0


def heal(patient):
    return 5 + patient


def test_a_medivac_heals_at_its_rate_until_its_energy_is_spent():
    world = arena({"medivac": 2, "marine": 3}, {"marine": 5})
    place = [(10, 10), (20, 10), (13.9, 10), (20, 13), (24.1, 10)] + [FAR] * 5
    state = placed(world, place, [None, None, 20.0, 20.0, 20.0] + [None] * 5, [0.0, 0.96] + [0.0] * 8)
    states = fight(world, state, [heal(2), heal(3)] + [NOBODY] * 8, 40)
    second = states.unit_health[15]
    np.testing.assert_allclose(second[2], 20 + 12.6, atol=1e-3)
    # 2 energy left, 0.7875 more each second: all of it but the last step's gain is health already, three for one
    np.testing.assert_allclose(second[3], 20 + 3 * (2 + 15 * 0.7875 / 16), atol=1e-3)
    np.testing.assert_allclose(second[4], 20)
    energy = 50 * (1 - states.unit_weapon_cooldowns[15, 0])
    np.testing.assert_allclose(energy, 50 - 12.6 / 3 + 0.7875, atol=1e-3)
    assert states.unit_health[-1, 2] == 45.0  # no more than full
    assert fight(world, state, [heal(4)] * 2 + [NOBODY] * 8, 1).unit_health[-1, 4] == 20.0  # out of reach


def test_a_medivac_heals_neither_machines_nor_the_dead():
    world = arena({"medivac": 1, "stalker": 1, "marine": 1}, {"marine": 3})
    place = [(10, 10), (11, 10), (12, 10), (13, 10), FAR, FAR]
    state = placed(world, place, [None, 50.0, 5.0, None, None, None])
    at_marine = 5 + 0  # enemies number the allies from the last
    assert fight(world, state, [heal(1)] + [NOBODY] * 5, 1).unit_health[-1, 1] == 50.0
    killed = fight(world, state, [heal(2), NOBODY, NOBODY, at_marine, NOBODY, NOBODY], 2)
    assert killed.unit_health[-1, 2] == 0.0 and not killed.unit_alive[-1, 2]


def test_only_weapons_against_air_reach_a_medivac_and_nobody_collides_with_it():
    world = arena({"marauder": 1, "stalker": 1}, {"medivac": 1, "marine": 1})
    state = placed(world, [(10, 10), (10, 11), (12, 10), (10.2, 10)])
    states = fight(world, state, [5, 5, NOBODY, NOBODY], 1)
    assert states.unit_health[-1, 2] == 150 - 18  # the stalker's 13 and its 5 against armoured
    legal = world.get_avail_actions(state)
    assert [bool(legal["ally_0"][5]), bool(legal["ally_1"][5]), bool(legal["ally_0"][6])] == [False, True, True]
    together = placed(world, [(10, 10), (14, 14), (10.2, 10), (20, 20)])
    np.testing.assert_array_equal(world._push_units_away(together).unit_positions, together.unit_positions)


def test_a_medivac_may_heal_its_own_within_reach():
    world = arena({"medivac": 1, "marine": 2, "stalker": 1}, {"marine": 5})
    state = placed(world, [(10, 10), (13.9, 10), (14.1, 10), (11, 10), *[(11, 11)] * 5])
    np.testing.assert_array_equal(world.get_avail_actions(state)["ally_0"], [1, 1, 1, 1, 1, 0, 1, 0, 0, 0])
    with pytest.raises(ValueError, match="as many enemies"):
        arena({"medivac": 1, "marine": 1}, {"marine": 1})


def test_a_baneling_dies_and_hurts_all_enemies_in_its_blast():
    world = arena({"baneling": 1, "zergling": 1}, {"zealot": 3, "stalker": 1})
    place = [(10, 10), (10, 11), (11.9, 10), (10, 12.1), (10, 7.7), (8, 10)]
    states = fight(world, placed(world, place), [5, NOBODY, *[NOBODY] * 4], 3)
    np.testing.assert_array_equal(states.unit_health[-1], [0, 35, 150 - 35, 150 - 35, 150, 160 - 16])
    far = placed(world, [(10, 10), (10, 11), (12.1, 10), *place[3:]])
    np.testing.assert_array_equal(
        fight(world, far, [5, *[NOBODY] * 5], 3).unit_health[-1], [30, 35, 150, 150, 150, 160]
    )


def test_a_baneling_explodes_when_it_is_killed_also_by_another_one():
    world = arena({"baneling": 1, "marine": 2, "zergling": 1}, {"baneling": 2})
    # the second marine shoots the near baneling, whose blast kills the own baneling, whose blast kills the far one
    place = [(10, 10), (11, 10), (16, 10), (8.5, 12.5), (11.5, 10), (9, 11)]
    state = placed(world, place, [16.0, 40.0, None, None, 9.0, 16.0])
    states = fight(world, state, [NOBODY, NOBODY, 5, NOBODY, NOBODY, NOBODY], 4)
    np.testing.assert_array_equal(states.unit_health[0], [0, 5, 45, 35, 0, 16])  # one blast of 16 and 35
    np.testing.assert_array_equal(states.unit_health[1], [0, 5, 45, 35, 0, 0])  # the own baneling's
    np.testing.assert_array_equal(states.unit_health[3], [0, 5, 45, 0, 0, 0])  # the far one's; the marine is 2.24 away


def test_a_colossus_burns_a_strip_across_its_line_of_fire():
    world = arena({"colossus": 1, "zergling": 1}, {"zergling": 5, "stalker": 1})
    # radius of a zergling 0.375: reached up to 1.775 to the side and 0.525 in depth
    place = [(10, 16), (15, 16.2), (15, 16), (15, 17.7), (15, 17.85), (15.5, 16), (15.6, 16), (15, 15)]
    states = fight(world, placed(world, place), [5, *[NOBODY] * 7], 2)
    np.testing.assert_array_equal(states.unit_health[-1], [350, 35, 5, 5, 35, 5, 35, 160 - 20])
    turned = [(y, x) for x, y in place]
    np.testing.assert_array_equal(
        fight(world, placed(world, turned), [5, *[NOBODY] * 7], 2).unit_health, states.unit_health
    )


def test_a_colossus_kills_a_zealot_with_its_fifth_shot():
    world = arena({"colossus": 1}, {"zealot": 1})
    states = fight(world, placed(world, [(10, 10), (16.9, 10)]), [5, NOBODY], 90)
    shots = np.flatnonzero(np.diff(states.unit_health[:, 1], prepend=150.0) < 0)
    assert states.unit_health[shots, 1].tolist() == [120, 90, 60, 30, 0]
    # JaxMARL's cooldown is between 1/16 s less and 2/16 s more than 1.07 s, and a shot waits for the next step
    assert shots[0] == 0 and 16 <= np.diff(shots).min() and np.diff(shots).max() <= 20
    assert states.unit_health[-1, 0] == 350.0


def test_a_spine_crawler_beats_a_lone_stalker_and_stays_where_it_is():
    world = arena({"stalker": 1}, {"spine_crawler": 1})
    states = fight(world, placed(world, [(10, 10), (15.9, 10)]), [5, 5], 130)
    # 25 and 5 against armoured: the sixth hit kills 160, five times 1.32 s (-1/16, +3/16) after the first
    death = int(np.argmin(states.unit_alive[:, 0]))
    assert 100 <= death <= 121
    # until then the stalker has hit four or five times, at 1.87 s, with 13 and 5 against armoured
    assert states.unit_health[-1, 1] in (300 - 4 * 18, 300 - 5 * 18)
    reach = fight(world, placed(world, [(10, 10), (16.5, 10)]), [5, 5], 1).unit_health[-1]
    assert reach.tolist() == [160 - 30, 300]  # range 7 against 6
    pushed = world._push_units_away(placed(world, [(10, 10), (11, 10)])).unit_positions
    assert pushed[1].tolist() == [11, 10] and pushed[0, 0] < 10
    moved = world._world_step(
        jax.random.key(0), placed(world, [(10, 10), (20, 10)]), (jnp.ones((2, 2)), jnp.zeros(2, int))
    )
    assert moved.unit_positions[1].tolist() == [20, 10] and moved.unit_positions[0, 0] > 10


def test_the_scripted_enemies_ignore_whom_they_cannot_hit_and_tend_their_wounded():
    world = arena({"medivac": 1, "marine": 2}, {"marauder": 1, "medivac": 1, "marine": 1},
                  kind=ScriptedEnemies, enemy_shoots=True, attack_mode="closest")  # fmt: skip
    place = [(10, 10), (12, 10), FAR, (13, 13), (16, 13), (16, 16)]
    memory = world.get_enemy_policy_initial_state(jax.random.key(0))

    @jax.jit
    def orders(state):
        seen = world._env.get_obs_unit_list(state)
        return world.get_enemy_actions(jax.random.key(0), memory, jnp.stack([seen[e] for e in world.enemy_agents]))[0]

    def names(health, places):
        given = orders(placed(world, places, health))
        return [int(given[f"enemy_{i}"]) for i in range(3)]

    shoots, medivac, marine = names([None] * 5 + [10.0], place)
    assert shoots == 5 + 1  # the marine behind the nearer medivac; allies are numbered from the last
    assert medivac == 5 + 0  # heals the marine, the last of its side
    assert marine in (0, 1, 2, 3, 5, 6, 7)
    near = [(12.9, 12.9), *place[1:]]
    assert names(None, near)[0] == 5 + 1
    away = [*place[:5], (16, 22)]
    assert names([None] * 5 + [10.0], away)[1] == 0  # up, towards the wounded marine


def test_the_reward_takes_back_what_is_healed():
    world = arena({"marine": 2}, {"medivac": 1, "marine": 1})
    state = placed(world, [FAR] * 4)
    before, after = jnp.array([45.0, 45, 150, 20]), jnp.array([45.0, 36, 150, 29])
    rewards = world.compute_reward(state, before, after)
    np.testing.assert_allclose([rewards["ally_0"], rewards["enemy_1"]], [-9 / 45 / 2, 9 / 45 / 2], rtol=1e-5)
    beaten = state.replace(unit_alive=jnp.array([True, False, True, False]))
    np.testing.assert_allclose(world.compute_reward(beaten, before, before)["ally_1"], 1.0)


def test_jaxmarls_own_units_fight_as_in_jaxmarl():
    sides = {"stalker": 1, "zealot": 2}, {"marauder": 1, "marine": 1, "zergling": 1}
    ours, theirs = arena(*sides), arena(*sides, kind=smax.SMAX)
    state = placed(ours, [(10, 10), (11, 10), (10, 11), (12, 10), (13, 12), (11, 11)])
    attacks = [5, 7, 7, 5, 6, 6]
    ends = [fight(world, state, attacks, 40) for world in (ours, theirs)]
    assert ends[0].unit_health[-1].min() == 0
    jax.tree.map(np.testing.assert_array_equal, *ends)
