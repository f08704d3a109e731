"""Units read from SMAX's observations are those of the battle's state, and actions aim at whom the blocks say."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.envs import smax
from tandem.envs.smax import Config, maps, units
from tests.reference.compiled import quick_jit

pytestmark = pytest.mark.jaxmarl
STOP, MOVES, MAP = 4, 5, 32.0
CONFIGS = [
    Config(map_name="3s_vs_5z", enemy_shoots=False, see_enemy_actions=False),
    Config(map_name="MMM2", enemy_shoots=False),
    Config(map_name="smacv2_5_units", enemy_shoots=False),
]
STATISTICS = {name: np.asarray(values) for name, values in units.statistics().items()}


def of_types(what: str, types: np.ndarray) -> np.ndarray:
    return STATISTICS[f"unit_type_{what}"][types]


def blocks_of(spec, agent: int) -> dict:
    space = next((group.obs for group in spec.groups if agent in group.members), spec.obs)
    return {block.kind: block for block in space.entities}


def aims(spec) -> list[tuple[int, str, int, int]]:
    """Return everybody's actions with a target: agent, kind of target, its number in the block, action."""
    return [
        (agent, kind, k, block.first_action + k)
        for agent in range(spec.num_agents)
        for kind, block in blocks_of(spec, agent).items() if block.first_action >= 0
        for k in range(block.count)
    ]  # fmt: skip


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda config: config.map_name)
def battle(request):
    """The environment, and one compiled step of as many battles as there are actions with a target."""
    env = smax.make(request.param)
    batch = len(aims(env.spec))
    with jax.numpy_rank_promotion("allow"):  # a module's fixture runs before a test's mark counts
        start, shown = quick_jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(3), batch))
    step = quick_jit(jax.vmap(env.step))
    return SimpleNamespace(
        config=request.param, spec=env.spec, start=start, step=step, batch=batch, shown=shown, drawing=env.drawing
    )


def moved(battle, state, positions, health, action):
    """Put the units at `positions` with these shares of their health, and play a step from there."""
    world = state.world.state
    full = jnp.asarray(of_types("health", np.asarray(world.unit_types)))
    world = world.replace(
        unit_positions=jnp.asarray(positions, jnp.float32), unit_health=jnp.asarray(health, jnp.float32) * full,
        unit_alive=jnp.asarray(health) > 0,
    )  # fmt: skip
    return played(battle, state.replace(world=state.world.replace(state=world)), action)


def played(battle, state, action):
    """Return the state after a step, its units, what is seen and what is legal."""
    keys = jax.random.split(jax.random.key(8), battle.batch)
    state, timestep = battle.step(keys, state, jnp.asarray(action, jnp.int32))
    return state, jax.tree.map(np.asarray, state.world.state), np.asarray(timestep.obs), np.asarray(timestep.legal)


@pytest.fixture(scope="module")
def scattered(battle):
    """Random battles, crowded ones first, in which some are hurt and some dead."""
    rng, n = np.random.default_rng(5), battle.spec.num_agents
    b, u = battle.start.world.state.unit_types.shape
    places = np.clip(MAP / 2 + np.linspace(1, 8, b)[:, None, None] * rng.normal(size=(b, u, 2)), 2, MAP - 2)
    health = np.where(rng.random((b, u)) < 0.25, 0.0, rng.uniform(0.5, 1.0, (b, u)))
    with jax.numpy_rank_promotion("allow"):
        _, *shown = moved(battle, battle.start, places, health, rng.integers(0, battle.spec.actions.size, (b, n)))
    return shown


def truth(world, i: int, n: int, see_enemy_actions: bool) -> dict[str, np.ndarray]:
    """Return what ally i sees of the others and of itself, in one of the battles."""
    types, u = world.unit_types, len(world.unit_types)
    health = world.unit_health / of_types("health", types)
    cooldown = np.clip(world.unit_weapon_cooldowns / of_types("weapon_cooldowns", types), 0, 1)
    kinds = np.eye(len(units.NAMES))[types]
    offset = (world.unit_positions - world.unit_positions[i]) / of_types("sight_ranges", types[i])
    last = np.where(np.arange(u) < n, MOVES + u - n - 1, MOVES + n - 1)  # everybody's last action
    plan = np.column_stack([world.prev_movement_actions, world.prev_attack_actions / last])
    if not see_enemy_actions:
        plan[n:] = 0
    rows = np.column_stack([health, offset, plan, cooldown, kinds])
    visible = (np.linalg.norm(offset, axis=1) < 1) & world.unit_alive & world.unit_alive[i]
    rows *= visible[:, None]
    own = np.concatenate([health[[i]], world.unit_positions[i] / MAP, cooldown[[i]], kinds[i]]) * world.unit_alive[i]
    return {"ally": np.delete(rows[:n], i, axis=0), "enemy": rows[n:], "own": own[None]}


def test_units_read_from_observations_are_those_of_the_state(battle, scattered):
    worlds, obs, _ = scattered
    n, seen = battle.spec.num_agents, {"ally": 0, "enemy": 0, "own": 0}
    for b in range(battle.batch):
        world = jax.tree.map(lambda leaf: leaf[b], worlds)
        for i in range(n):
            rows = {kind: np.asarray(block.rows(obs[b, i])) for kind, block in blocks_of(battle.spec, i).items()}
            wanted = truth(world, i, n, battle.config.see_enemy_actions)
            assert set(rows) == set(wanted)
            for kind, row in rows.items():
                np.testing.assert_allclose(row, wanted[kind][:, : row.shape[1]], atol=1e-5, err_msg=kind)
                seen[kind] += (row != 0).any(axis=1).mean() / battle.batch / n
    assert all(0.1 < share < 0.95 for share in seen.values())  # absence is met as well as presence


def test_a_picture_of_what_is_seen_has_the_seen_where_they_are(battle, scattered):
    worlds, obs, _ = scattered
    n, count = battle.spec.num_agents, 0
    for b in range(battle.batch):
        start, world = (jax.tree.map(lambda leaf: np.asarray(leaf[b]), x) for x in (battle.start, worlds))
        found = battle.drawing.rebuilt(start, obs[b]).world.state
        np.testing.assert_array_equal(found.unit_alive[:n], world.unit_alive[:n])
        away = np.linalg.norm(world.unit_positions[:, None] - world.unit_positions[None, :n], axis=-1)
        near = (away < of_types("sight_ranges", world.unit_types[:n])) & world.unit_alive[:n]
        seen = world.unit_alive & (near.any(axis=1) | (np.arange(len(near)) < n))
        assert found.unit_alive[seen].all()
        np.testing.assert_allclose(found.unit_positions[seen], world.unit_positions[seen], atol=1e-3)
        np.testing.assert_allclose(found.unit_health[seen], world.unit_health[seen], rtol=1e-4)
        count += seen[n:].sum()
    assert count > battle.batch


def test_every_feature_of_units_belongs_to_a_block_and_absence_is_zeros(battle):
    for agent in range(battle.spec.num_agents):
        size, blocks = battle.spec.obs.size, blocks_of(battle.spec, agent).values()
        features = np.concatenate([np.ravel(block.rows(jnp.arange(size))) for block in blocks])
        np.testing.assert_array_equal(np.sort(features), np.arange(size))
        assert all(block.absent == (0.0,) * block.width for block in blocks)


def test_shots_are_legal_at_living_targets_within_reach_that_the_weapon_suits(battle, scattered):
    worlds, _, legal = scattered
    n, wanted = battle.spec.num_agents, np.zeros_like(legal[:, :, MOVES:])
    for agent, kind, k, action in aims(battle.spec):
        target = n + k if kind == "enemy" else k + (k >= agent)
        distance = np.linalg.norm(worlds.unit_positions[:, agent] - worlds.unit_positions[:, target], axis=1)
        reach = distance < of_types("attack_ranges", worlds.unit_types[:, agent])
        names = [[units.NAMES[kind] for kind in worlds.unit_types[:, unit]] for unit in (agent, target)]
        suits = [pair[1] in units.HEALABLE if kind == "ally" else units.can_hit(*pair) for pair in zip(*names)]
        there = worlds.unit_alive[:, agent] & worlds.unit_alive[:, target]
        wanted[:, agent, action - MOVES] = reach & suits & there
    assert wanted.any() and not wanted.all()
    np.testing.assert_array_equal(legal[:, :, MOVES:], wanted)


@pytest.fixture(scope="module")
def skirmish(battle):
    """What is seen before and after one ally's action with a target, in one crowded battle over and over.

    Allies are hurt, so that they can be healed. Enemies are not, so that their medivac heals nobody but who is hit.
    """
    n, (b, u) = battle.spec.num_agents, battle.start.world.state.unit_types.shape
    state = jax.tree.map(lambda leaf: jnp.repeat(leaf[:1], b, axis=0), battle.start)
    places = MAP / 2 + np.random.default_rng(6).normal(size=(u, 2))
    health, action = np.where(np.arange(u) < n, 0.5, 1.0), np.full((b, n), STOP)
    with jax.numpy_rank_promotion("allow"):
        state, _, before, legal = moved(battle, state, np.tile(places, (b, 1, 1)), np.tile(health, (b, 1)), action)
        for number, (agent, _, _, aimed) in enumerate(aims(battle.spec)):
            action[number, agent] = aimed
        _, _, after, _ = played(battle, state, action)
    return before, after, legal


def test_an_action_at_an_entity_changes_the_health_of_that_entity_alone(battle, skirmish):
    before, after, legal = skirmish
    targets = [(number, *aim) for number, aim in enumerate(aims(battle.spec)) if legal[number, aim[0], aim[3]]]
    assert len(targets) > battle.batch / 3
    for number, agent, kind, k, _ in targets:
        changes = {
            other: np.asarray(block.rows(after[number, agent]) - block.rows(before[number, agent]))[:, 0]
            for other, block in blocks_of(battle.spec, agent).items()
        }
        changed = [(other, int(j)) for other, change in changes.items() for j in np.flatnonzero(np.abs(change) > 1e-4)]
        assert changed == [(kind, k)]
        assert (changes[kind][k] < 0) == (kind == "enemy")


def test_a_medivac_aims_at_allies_and_everybody_else_at_enemies(battle):
    aimed = {agent: kind for agent, kind, _, _ in aims(battle.spec)}
    chosen = maps.MAPS.get(battle.config.map_name)
    heals = {0} if chosen and "medivac" in chosen.allies else set()
    assert aimed == {agent: "ally" if agent in heals else "enemy" for agent in range(battle.spec.num_agents)}


def test_units_read_from_the_global_state_are_those_of_the_battle(battle):
    start, space = battle.start, battle.spec.state
    world = jax.tree.map(lambda x: np.asarray(x[0]), start.world.state)
    state, n = np.asarray(battle.shown.state[0]), battle.spec.num_agents
    for block, units_of in zip(space.entities, (slice(0, n), slice(n, None)), strict=True):
        rows = np.asarray(block.rows(state))
        health = world.unit_health / of_types("health", np.asarray(world.unit_types))
        np.testing.assert_allclose(rows[:, 0], health[units_of], atol=1e-5)
        np.testing.assert_allclose(rows[:, list(block.place)], world.unit_positions[units_of], atol=1e-4)
        np.testing.assert_array_equal(rows[:, 4:].argmax(axis=1), np.asarray(world.unit_types)[units_of])
        assert block.scale[block.place[0]] == MAP and (np.asarray(block.shown(rows)) == (rows[:, 0] > 0)).all()


def test_segments_of_view_have_no_entities():
    spec = smax.make(Config(map_name="MMM2", observation_type="conic")).spec
    assert spec.obs.entities == () and spec.groups == ()
