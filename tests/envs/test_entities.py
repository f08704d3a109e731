"""Entities read from flat observations of MPE and LBF are what NumPy makes of the environment's state."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Entities
from tandem.envs import lbf, mpe
from tandem.envs.layout import laid_out
from tandem.envs.mpe import MpeState
from tandem.models.entities.view import shares_map, team_view, view
from tests.reference.compiled import quick_jit

pytestmark = pytest.mark.jaxmarl
M = 7  # random states of each environment

# Scenario and team of MPE, and the team's size where it can be set.
TEAMS = [
    ("simple", "agents", 0),
    ("simple_spread", "agents", 4),
    ("simple_tag", "adversaries", 5),
    ("simple_tag", "agents", 2),
    ("simple_world_comm", "adversaries", 0),
    ("simple_world_comm", "agents", 0),
    ("simple_crypto", "agents", 0),
    ("simple_crypto", "adversaries", 0),
    ("simple_speaker_listener", "agents", 0),
    ("simple_push", "agents", 0),
    ("simple_push", "adversaries", 0),
    ("simple_adversary", "agents", 0),
    ("simple_adversary", "adversaries", 0),
    ("simple_reference", "agents", 0),
    *[(f"simple_facmac{size}", team, 0) for size in ("", "_3a", "_6a", "_9a") for team in ("adversaries", "agents")],
]
ADVERSARIES = {"simple_tag": 3, "simple_world_comm": 4, "simple_crypto": 1, "simple_push": 1, "simple_adversary": 1,
               "simple_facmac": 3, "simple_facmac_3a": 3, "simple_facmac_6a": 6, "simple_facmac_9a": 9}  # fmt: skip
SIGHT = 1.5  # of facmac's agents
LEADER, FOREST_RADIUS, RADII = 0, 0.3, (0.075, 0.045)  # of simple_world_comm: its agents' radii, adversaries first


def space_of(spec, agent: int):
    """Return what an agent observes: its group's space."""
    return next((group.obs for group in spec.groups if agent in group.members), spec.obs)


def undescribed(space) -> set[int]:
    """Return the features that belong to no block."""
    features = jnp.arange(space.size)
    return {*features.tolist()} - {i for block in space.entities for i in block.rows(features).ravel().tolist()}


def seen_by(i: int, state, adversaries: int) -> SimpleNamespace:
    """Return what agent i could see: relative positions, velocities, and who is who, as NumPy sees JaxMARL's state."""
    n = len(state.c)
    sides = [[j for j in side if j != i] for side in (range(adversaries), range(adversaries, n))]
    allies, enemies = sides if i < adversaries else sides[::-1]
    relative = state.p_pos - state.p_pos[i]
    return SimpleNamespace(
        i=i, n=n, adversary=i < adversaries, ally=relative[allies], enemy=relative[enemies], landmark=relative[n:],
        allies=allies, enemies=enemies, velocity=state.p_vel, said=state.c, goal=state.goal,
        own=np.concatenate([state.p_vel[i], state.p_pos[i]])[None],
    )  # fmt: skip


def one_hot(size: int, index: int, low: float, high: float) -> np.ndarray:
    return np.where(np.arange(size) == index, high, low)


def beside(*columns) -> np.ndarray:
    return np.concatenate(columns, axis=1)


def simple(see, state):
    return {"own": see.own[:, :2], "landmark": see.landmark}


def spread(see, state):
    return {"own": see.own, "landmark": see.landmark, "ally": beside(see.ally, see.said[see.allies])}


def tag(see, state):
    """Of several preys the last one's velocity is seen."""
    rows = {"own": see.own, "landmark": see.landmark, "ally": see.ally, "enemy": see.enemy}
    if see.adversary:
        last = beside(see.enemy[-1:], see.velocity[see.enemies[-1:]])
        several = {"enemy": see.enemy[:-1], "last_enemy": last}
        rows |= several if len(see.enemies) > 1 else {"enemy": last}
    return rows


def facmac(see, state):
    """The landmarks are out of sight together, and so are the other agents."""
    rows = tag(see, state)
    far = {kind: np.linalg.norm(np.concatenate([see.ally, see.enemy])) > SIGHT for kind in rows}
    far |= {"landmark": np.linalg.norm(see.landmark) > SIGHT, "own": False}
    return {kind: 0 * row if far[kind] else row for kind, row in rows.items()}


def world_comm(see, state):
    """In a forest an agent sees who is there, and outside whoever is outside; the leader sees everybody."""
    radii = np.array([RADII[j >= 4] for j in range(see.n)])
    distance = np.linalg.norm(state.p_pos[: see.n, None] - state.p_pos[None, -2:], axis=-1)
    inside = distance < FOREST_RADIUS + radii[:, None]
    visible = (inside & inside[see.i]).any(axis=1) | ~(inside.any(axis=1) | inside[see.i].any()) | (see.i == LEADER)
    mask = {kind: visible[who][:, None] for kind, who in (("ally", see.allies), ("enemy", see.enemies))}
    rows = {"own": see.own, "landmark": see.landmark[:1], "food": see.landmark[1:3]}
    rows |= {"ally": see.ally, "enemy": see.enemy}
    rows["forest"] = beside(see.landmark[3:], np.where(inside[see.i], 1, -1)[:, None])
    shown = "enemy" if see.adversary else "ally"
    rows[shown] = beside(rows[shown], see.velocity[see.enemies if see.adversary else see.allies])
    rows |= {kind: rows[kind] * mask[kind] for kind in mask}
    if see.i == LEADER:
        rows["own"] = beside(see.own, see.said[[LEADER]])
    elif see.adversary:
        rows["message"] = see.said[[LEADER]]
    return rows


def crypto(see, state):
    goal, key, message = state.goal_colour[None], state.private_key[None], see.said[[1]]
    return [{"message": message}, {"goal": goal, "key": key}, {"key": key, "message": message}][see.i]


def speaker_listener(see, state):
    if see.i == 0:
        return {"goal": one_hot(3, see.goal, 0.15, 0.65)[None]}
    return {"own": see.own[:, :2], "landmark": see.landmark, "message": see.said[[0]]}


def push(see, state):
    rows = {"own": see.own[:, :2], "landmark": see.landmark, "enemy": see.enemy}
    if not see.adversary:
        colours = np.array([[0.1, 0.9, 0.1], [0.1, 0.1, 0.9]])
        rows["landmark"] = beside(see.landmark, colours)
        rows["goal"] = beside(see.landmark[[see.goal]], one_hot(3, see.goal + 1, 0.25, 0.75)[None])
    return rows


def adversary(see, state):
    others = {"landmark": see.landmark, "enemy": see.enemy}
    return others if see.adversary else others | {"ally": see.ally, "goal": see.landmark[[see.goal]]}


def reference(see, state):
    other = 1 - see.i
    marks = one_hot(3, see.goal[other], 0.25, 0.75)[:, None]
    return {"own": see.own[:, :2], "landmark": beside(see.landmark, marks), "message": see.said[[other]]}


TRUTHS = {
    "simple": simple, "simple_spread": spread, "simple_tag": tag, "simple_world_comm": world_comm,
    "simple_crypto": crypto, "simple_speaker_listener": speaker_listener, "simple_push": push,
    "simple_adversary": adversary, "simple_reference": reference,
    **dict.fromkeys(("simple_facmac", "simple_facmac_3a", "simple_facmac_6a", "simple_facmac_9a"), facmac),
}  # fmt: skip


@pytest.fixture(scope="module", params=TEAMS, ids=lambda team: "-".join(map(str, team[:2])))
def particles(request):
    """M random states, crowded ones first, and what the team sees in each of them [M, N, O]."""
    scenario, team, size = request.param
    env = mpe.make(mpe.Config(scenario=scenario, team=team, num_agents=size))

    def one(key, scale):
        keys = jax.random.split(key, 5)
        state, timestep = env.reset(keys[0])
        world = state.world.replace(
            p_pos=scale * jax.random.normal(keys[1], state.world.p_pos.shape),
            p_vel=jax.random.normal(keys[2], state.world.p_vel.shape),
        )
        action = jax.random.categorical(keys[3], jnp.where(timestep.legal, 0.0, -jnp.inf)).astype(jnp.int32)
        state, timestep = env.step(keys[4], state.replace(world=world), action)
        return state.world, timestep.obs

    with jax.numpy_rank_promotion("allow"):  # a module's fixture runs before a test's mark counts
        keys = jax.random.split(jax.random.key(4), M)
        states, obs = jax.tree.map(np.asarray, quick_jit(jax.vmap(one))(keys, jnp.linspace(0.05, 1.0, M)))
    adversaries = size if team == "adversaries" and size else ADVERSARIES.get(scenario, 0)
    first = adversaries if team == "agents" else 0
    return SimpleNamespace(
        scenario=scenario, team=team, spec=env.spec, obs=obs, adversaries=adversaries, first=first, drawing=env.drawing,
        states=[jax.tree.map(lambda leaf: leaf[m], states) for m in range(M)],
    )  # fmt: skip


def test_the_cases_are_all_teams_of_all_scenarios():
    known = {(name, team) for name, scenario in mpe.SCENARIOS.items() for team in scenario.teams}
    assert {case[:2] for case in TEAMS} == known


def test_particles_read_from_observations_are_those_of_the_state(particles):
    for agent in range(particles.spec.num_agents):
        blocks = space_of(particles.spec, agent).entities
        for state, obs in zip(particles.states, particles.obs[:, agent]):
            see = seen_by(particles.first + agent, state, particles.adversaries)
            truth = {kind: rows for kind, rows in TRUTHS[particles.scenario](see, state).items() if len(rows)}
            assert {block.kind for block in blocks} == set(truth)
            for block in blocks:
                np.testing.assert_allclose(block.rows(obs), truth[block.kind], atol=1e-5, err_msg=block.kind)


def test_particles_out_of_sight_show_the_row_that_stands_for_nobody(particles):
    for agent in range(particles.spec.num_agents):
        for block in space_of(particles.spec, agent).entities:
            rows = np.asarray(block.rows(particles.obs[:, agent]))
            gone = (rows == np.array(block.absent or 0.0)).all(axis=-1)
            assert (gone.any() and not gone.all()) if block.absent else not gone.any(), block.kind


def test_every_feature_of_particles_belongs_to_a_block_but_jaxmarls_padding(particles):
    padded = particles.scenario.startswith("simple_facmac") and particles.team == "agents"
    for agent in range(particles.spec.num_agents):
        space = space_of(particles.spec, agent)
        assert undescribed(space) == ({space.size - 2, space.size - 1} if padded else set())
        if padded:  # so that predators and prey have observations of one size
            assert (particles.obs[:, agent, -2:] == 0).all()


def test_places_of_particles_are_where_they_are_from_the_observer(particles):
    """A sum of squares tells them apart from velocities and colours: the nearest pairs of entities agree as well."""
    for agent in range(particles.spec.num_agents):
        space, number = space_of(particles.spec, agent), particles.first + agent
        for state, obs in zip(particles.states, particles.obs[:, agent]):
            relative = state.p_pos - state.p_pos[number]
            for kind in view(space, obs).kinds:
                if kind.place is not None:
                    seen = np.asarray(kind.place)[np.asarray(kind.shown) if kind.shown is not None else slice(None)]
                    gaps = np.linalg.norm(seen[:, None] - relative[None], axis=-1).min(axis=1, initial=9.0)
                    assert (gaps < 1e-5).all(), kind.name


def test_a_picture_of_what_is_seen_has_the_seen_where_they_are(particles):
    """Landmarks stay where they were in scenarios that do not show agents their own place."""
    rebuilt, first, n = particles.drawing.rebuilt, particles.first, particles.spec.num_agents
    assert (rebuilt is None) == (particles.scenario == "simple_crypto")
    for state, obs in zip(particles.states, particles.obs) if rebuilt else ():
        start = MpeState(
            world=state.replace(p_pos=np.concatenate([state.p_pos[: len(state.c)] + 9.0, state.p_pos[len(state.c) :]])),
            num_steps=0, totals={},
        )  # fmt: skip
        found = rebuilt(start, obs).world
        moved = np.linalg.norm(found.p_pos - state.p_pos, axis=1) > 1e-3
        blind = {first} if particles.scenario == "simple_speaker_listener" else set()  # the speaker sees no place
        team, others = range(first, first + n), set(range(len(state.c))) - set(range(first, first + n))
        assert {i for i in team if moved[i]} == blind and not moved[len(state.c) :].any()
        assert all(abs(found.p_pos[i] - state.p_pos[i] - 9.0).max() < 1e-3 for i in others if moved[i])  # out of sight
        if particles.scenario in ("simple_tag", "simple_push", "simple_adversary"):
            assert not any(moved[i] for i in others)
        heard = {"simple_speaker_listener": [0], "simple_reference": [0, 1]}.get(particles.scenario, [])
        np.testing.assert_allclose(found.c[heard], state.c[heard], atol=1e-5)


def test_a_team_sees_its_world_once(particles):
    if particles.scenario != "simple_spread":
        return
    space, n = particles.spec.obs, particles.spec.num_agents
    assert shares_map(space)
    for state, obs in zip(particles.states, particles.obs):
        agents, landmarks = team_view(space, obs).kinds
        np.testing.assert_allclose(agents.place, state.p_pos[:n], atol=1e-5)
        np.testing.assert_allclose(agents.rows, np.concatenate([state.p_vel[:n], state.p_pos[:n]], axis=1), atol=1e-5)
        np.testing.assert_allclose(landmarks.place, state.p_pos[n:], atol=1e-5)
        np.testing.assert_allclose(landmarks.rows, state.p_pos[n:], atol=1e-5)


@pytest.fixture(scope="module")
def foraging():
    """M random states of LBF in which some food is eaten and some out of sight, and what is seen in them [M, N, O]."""
    config = lbf.Config(grid_size=11, num_agents=3, num_food=5, field_of_view=4, episode_limit=9)
    env = lbf.make(config)

    def one(key):
        keys = jax.random.split(key, 3)
        state, _ = env.reset(keys[0])
        places = jax.random.permutation(keys[1], config.grid_size**2)[: config.num_agents]
        places = jnp.stack(jnp.divmod(places, config.grid_size), axis=1).astype(jnp.int32)
        eaten = jax.random.bernoulli(keys[2], 0.3, (config.num_food,))
        state = state.replace(
            agents=state.agents.replace(position=places), food_items=state.food_items.replace(eaten=eaten)
        )
        state, timestep = env.step(keys[0], state, jnp.zeros(config.num_agents, jnp.int32))
        return (state.agents, state.food_items), timestep.obs

    with jax.numpy_rank_promotion("allow"):
        states, obs = jax.tree.map(np.asarray, quick_jit(jax.vmap(one))(jax.random.split(jax.random.key(2), M)))
    return SimpleNamespace(
        config=config,
        space=env.spec.obs,
        obs=obs,
        states=[jax.tree.map(lambda leaf: leaf[m], states) for m in range(M)],
    )


def test_food_and_foragers_read_from_observations_are_those_of_the_state(foraging):
    size, sight = foraging.config.grid_size, foraging.config.field_of_view

    def rows(here, places, levels, there):
        corner = np.maximum(here - sight, 0)  # where the view begins
        visible = there & (np.abs(places - here) <= sight).all(axis=1)
        return np.where(visible[:, None], beside(places - corner, levels[:, None]), [-1, -1, 0]) / size

    for state, seen in zip(foraging.states, foraging.obs):
        agents, food = state
        for i, obs in enumerate(seen):
            here, others = agents.position[i], np.arange(3) != i
            truth = {
                "food": rows(here, food.position, food.level, ~food.eaten),
                "own": rows(here, agents.position[[i]], agents.level[[i]], True),
                "ally": rows(here, agents.position[others], agents.level[others], True),
                "clock": [[1 / 9]],
            }
            shown = {block.kind: block.rows(obs) for block in foraging.space.entities}
            assert set(shown) == set(truth)
            for kind, row in truth.items():
                np.testing.assert_allclose(shown[kind], row, atol=1e-6, err_msg=kind)
    assert undescribed(foraging.space) == set()


def test_food_and_foragers_out_of_sight_show_the_row_that_stands_for_nobody(foraging):
    for block in foraging.space.entities:
        gone = (np.asarray(block.rows(foraging.obs)) == np.array(block.absent or np.nan, np.float32)).all(axis=-1)
        assert (gone.any() and not gone.all()) if block.kind in ("food", "ally") else not block.absent, block.kind


def test_pieces_of_one_kind_are_parts_of_the_same_things():
    pieces = [("own", 1, 3), ("ally", 2, 2), ("", 1, 1), ("enemy", 0, 5), ("ally", 2, 1)]
    space = laid_out(pieces, first_actions={"ally": 4}, absent={"ally": -1.0})
    own, ally = space.entities
    assert space.size == 10 and own == Entities(kind="own", count=1, parts=((0, 3),))
    assert ally == Entities(kind="ally", count=2, parts=((3, 2), (8, 1)), first_action=4, absent=(-1.0, -1.0, -1.0))
    obs = np.arange(30).reshape(3, 10)
    np.testing.assert_array_equal(ally.rows(obs)[1], [[13, 14, 18], [15, 16, 19]])
