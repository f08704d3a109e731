"""The maps: all of SMAC's by name, with its limits, and what is JaxMARL's is JaxMARL's."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.envs import smax
from tandem.envs.jaxmarl_bridge import smax as jaxmarl_smax
from tandem.envs.smax import Config, maps, units

pytestmark = pytest.mark.jaxmarl
QUICK = {"xla_backend_optimization_level": 0}
B, T = 2, 11

# name: agents, enemies, limit, as in SMAC's map registry
SMAC = {
    "3m": (3, 3, 60),
    "8m": (8, 8, 120),
    "25m": (25, 25, 150),
    "5m_vs_6m": (5, 6, 70),
    "8m_vs_9m": (8, 9, 120),
    "10m_vs_11m": (10, 11, 150),
    "27m_vs_30m": (27, 30, 180),
    "MMM": (10, 10, 150),
    "MMM2": (10, 12, 180),
    "2s3z": (5, 5, 120),
    "3s5z": (8, 8, 150),
    "3s5z_vs_3s6z": (8, 9, 170),
    "3s_vs_3z": (3, 3, 150),
    "3s_vs_4z": (3, 4, 200),
    "3s_vs_5z": (3, 5, 250),
    "1c3s5z": (9, 9, 180),
    "2m_vs_1z": (2, 1, 150),
    "corridor": (6, 24, 400),
    "6h_vs_8z": (6, 8, 150),
    "2s_vs_1sc": (2, 1, 300),
    "so_many_baneling": (7, 32, 100),
    "bane_vs_bane": (24, 24, 200),
    "2c_vs_64zg": (2, 64, 400),
}
# Maps that SMAC's registry has not: ours, and those that ODIS tests other team sizes on.
OTHERS = {
    "2m_vs_1m": (2, 1, 60),
    "4m": (4, 4, 75),
    "5m": (5, 5, 90),
    "6m": (6, 6, 100),
    "10m": (10, 10, 120),
    "12m": (12, 12, 150),
}


def test_the_maps_are_smacs_and_a_few_more():
    assert {*maps.MAPS} == {*SMAC, *OTHERS} and len(maps.MAPS) == 29


@pytest.mark.parametrize("name", maps.NAMES_OF_MAPS)
def test_every_map_keeps_to_its_spec_and_to_smacs_numbers(name):
    env, key = smax.make(Config(map_name=name)), jax.random.key(0)
    spec = env.spec
    size = int(name.split("_")[1]) if name in maps.RANDOM_MAPS else 0
    expected = (size, size, 200) if size else (SMAC | OTHERS)[name]
    assert (spec.num_agents, spec.actions.size - 5, spec.episode_limit) == expected
    reset = jax.eval_shape(env.reset, key)
    step = jax.eval_shape(env.step, key, reset[0], jax.ShapeDtypeStruct((spec.num_agents,), jnp.int32))
    assert jax.tree.leaves(reset) == jax.tree.leaves(step)
    shown = step[1]
    assert shown.obs.shape == (spec.num_agents, spec.obs.size) and shown.state.shape == (spec.state.size,)
    assert shown.legal.shape == (spec.num_agents, spec.actions.size) and {*shown.metrics} == {*spec.metric_names}


def test_jaxmarls_maps_and_numbers_are_unchanged():
    theirs = {name for name in jaxmarl_smax.smax_env.MAP_NAME_TO_SCENARIO if not name.startswith("smacv2")}
    assert theirs == {name for name, chosen in maps.MAPS.items() if chosen.jaxmarl}
    for name in theirs:
        ours, scenario = (
            maps.scenario(maps.MAPS[name].allies, maps.MAPS[name].enemies),
            jaxmarl_smax.map_name_to_scenario(name),
        )
        np.testing.assert_array_equal(ours.unit_types, scenario.unit_types)
        assert (ours.num_allies, ours.num_enemies) == (scenario.num_allies, scenario.num_enemies)
    plain = jaxmarl_smax.SMAX()
    for argument, values in units.statistics().items():
        np.testing.assert_array_equal(np.asarray(values)[:6], np.asarray(getattr(plain, argument)))
    assert tuple(plain.unit_type_names) == units.JAXMARL_NAMES


def test_the_documentation_lists_every_map():
    page = (Path(__file__).parents[3] / "docs" / "smax_maps.md").read_text()
    cells = [[cell.strip() for cell in line.split("|")] for line in page.splitlines() if line.startswith("| `")]
    rows = {row[1]: row[2:6] for row in cells}
    for name, chosen in maps.MAPS.items():
        allies, enemies, limit, source = rows[f"`{name}`"]
        for told, army in ((allies, chosen.allies), (enemies, chosen.enemies)):
            assert [int(word) for word in told.split() if word.isdigit()] == list(army.values())
        assert int(limit) == chosen.limit and (source == "JaxMARL's") == chosen.jaxmarl
        assert (source == "new units") == chosen.new_units
    assert {f"`{name}`" for name in maps.NAMES_OF_MAPS} == {*rows}


@pytest.fixture(scope="module", params=["MMM2", "1c3s5z", "so_many_baneling"])
def played(request):
    """(map, T random legal steps of B battles [B, T, ...], environment, compiled step)."""
    env = smax.make(Config(map_name=request.param))
    with jax.numpy_rank_promotion("allow"):
        reset = jax.jit(jax.vmap(env.reset), compiler_options=QUICK)
        step = jax.jit(jax.vmap(env.step), compiler_options=QUICK)
        state, timestep = reset(jax.random.split(jax.random.key(3), B))
        steps, rng = [timestep], np.random.default_rng(3)
        for t in range(T):
            scores = np.where(timestep.legal, rng.random(timestep.legal.shape), -1.0)
            keys = jax.random.split(jax.random.key(t), B)
            state, timestep = step(keys, state, jnp.asarray(scores.argmax(axis=-1), jnp.int32))
            steps.append(timestep)
    return request.param, jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *steps), step, state


def test_random_legal_play_keeps_the_invariants(played):
    name, steps, _, _ = played
    assert steps.legal.any(axis=-1).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(steps) if leaf.dtype == np.float32)
    assert steps.alive[:, 0].all()
    dead = ~steps.alive
    assert (steps.legal[dead] == (np.arange(steps.legal.shape[-1]) == 4)).all() and (steps.obs[dead] == 0).all()
    assert not (steps.terminated & steps.truncated).any()
    assert all((np.diff(steps.metrics[metric], axis=1) >= 0).all() for metric in ("units_lost", "enemies_killed"))
    np.testing.assert_array_equal(steps.metrics["units_lost"], dead.sum(axis=-1))
    if name == "so_many_baneling":
        assert steps.metrics["enemies_killed"][:, -1].min() >= 1  # the banelings have come and exploded


@pytest.mark.parametrize("played", ["MMM2"], indirect=True)
def test_an_army_of_medivacs_alone_is_beaten(played):
    _, _, step, state = played
    world = state.world.state
    left = jnp.arange(22) <= 10  # all allies and the enemies' medivac
    world = world.replace(
        unit_alive=jnp.broadcast_to(left, (B, 22)), unit_health=jnp.where(left, 100.0, 0.0) * jnp.ones((B, 1))
    )
    state = state.replace(world=state.world.replace(state=world))
    _, timestep = step(jax.random.split(jax.random.key(0), B), state, jnp.full((B, 10), 4))
    assert timestep.terminated.all() and (timestep.metrics["won"] == 1).all()
    assert (timestep.metrics["enemies_killed"] == 11).all() and (timestep.reward >= 0.99).all()


def test_an_unknown_map_is_told_with_its_nearest_name():
    with pytest.raises(ValueError, match="map_name: 'so_many_banelings' is not known; did you mean 'so_many_baneling'"):
        smax.make(Config(map_name="so_many_banelings"))
