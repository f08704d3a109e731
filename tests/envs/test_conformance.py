"""What every environment owes: over the registry with default settings, where CHOSEN has none, and over all of MPE's
scenarios.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import TimeStep
from tandem.envs import lbf, mabrax, matrix_game, mpe, smax, switch_riddle
from tandem.envs.auto_reset import auto_reset_step
from tandem.registry import ENVS
from tests.envs.defaults import LIMIT, default_cases

B, T = 3, 7

# Scenario, team and opponent of MPE; random opponents are met in test_mpe, and all combinations are traced there.
MPE = [
    ("simple", "", "random"),
    ("simple_spread", "", "random"),
    ("simple_speaker_listener", "", "random"),
    ("simple_reference", "", "random"),
    ("simple_tag", "adversaries", "flee"),
    ("simple_tag", "agents", "chase"),
    ("simple_world_comm", "adversaries", "flee"),
    ("simple_push", "agents", "guess"),
    ("simple_adversary", "adversaries", "goal"),
    ("simple_crypto", "agents", "echo"),
    ("simple_crypto", "adversaries", "encrypt"),
    ("simple_facmac", "adversaries", "builtin"),
    ("simple_facmac_3a", "adversaries", "random"),
    ("simple_facmac_6a", "agents", "chase"),
    ("simple_facmac_9a", "adversaries", "flee"),
]
# What is compiled here runs a few steps only: compiling it quickly matters, not its speed (3 times quicker, measured).
QUICK = {"xla_backend_optimization_level": 0}


# How the episodes of these end, if at all in so few steps; of others nothing is known.
ENDS = {"mpe": "truncated", "smax": "truncated", "mabrax": "truncated", "lbf": "truncated", "matrix_game": "terminated"}


def chosen():
    """Yield (registry name, Config) with short episodes, where other settings than the defaults are worth a look."""
    for scenario, team, opponent in MPE:
        yield "mpe", mpe.Config(scenario=scenario, team=team, opponent=opponent, episode_limit=LIMIT)
    yield "mpe", mpe.Config(scenario="simple_tag", opponent="flee", action_type="continuous", episode_limit=LIMIT)
    yield "mpe", mpe.Config(num_agents=5, local_ratio=0.25, episode_limit=LIMIT)
    yield "smax", smax.Config(episode_limit=LIMIT)
    yield "mabrax", mabrax.Config(scenario="hopper_3x1", episode_limit=LIMIT)
    yield "switch_riddle", switch_riddle.Config(num_agents=4)
    yield "lbf", lbf.Config(num_agents=3, episode_limit=LIMIT)
    for scenario, num_agents in (("climbing", 2), ("penalty", 3), ("two_step", 4)):
        yield "matrix_game", matrix_game.Config(scenario=scenario, num_agents=num_agents)


CASES = [*chosen(), *default_cases(chosen(), host=False)]


def name(case) -> str:
    family, config = case
    parts = [getattr(config, "scenario", getattr(config, "map_name", "")), getattr(config, "team", "")]
    return "-".join([family, *filter(None, parts), str(getattr(config, "num_agents", "") or "")]).rstrip("-")


def random_actions(key, timestep: TimeStep, continuous: bool):
    if continuous:
        return jnp.where(timestep.legal, 2.0 * jax.random.normal(key, timestep.legal.shape), 0.0)
    return jax.random.categorical(key, jnp.where(timestep.legal, 0.0, -jnp.inf)).astype(jnp.int32)


@pytest.fixture(scope="module", params=CASES, ids=name)
def played(request):
    """T random steps, more where episodes are longer, of B environments with resets; the first act_on comes from
    `reset`.

    All leaves are [B, steps, ...].
    """
    family, config = request.param
    env = ENVS[family].make(config)
    steps = max(T, env.spec.episode_limit + 2)

    def play(key):
        reset_key, *keys = jax.random.split(key, steps + 1)
        state, timestep = env.reset(reset_key)

        def body(carry, key):
            state, timestep = carry
            action_key, step_key = jax.random.split(key)
            action = random_actions(action_key, timestep, env.spec.actions.continuous)
            state, following, outcome = auto_reset_step(env, step_key, state, action)
            return (state, following), (timestep, action, outcome, following)

        return jax.lax.scan(body, (state, timestep), jnp.stack(keys))[1]

    with jax.numpy_rank_promotion("allow"):  # a module's fixture runs before a test's mark counts
        run = jax.jit(jax.vmap(play), compiler_options=QUICK)
        keys = jax.random.split(jax.random.key(5), B)
        first, second, other = run(keys), run(keys), run(jax.random.split(jax.random.key(6), B))
    act_on, action, outcome, following = jax.tree.map(np.asarray, first)
    return SimpleNamespace(
        env=env,
        spec=env.spec,
        family=family,
        steps=steps,
        act_on=act_on,
        action=action,
        outcome=outcome,
        following=following,
        first=first,
        second=second,
        other=other,
    )


pytestmark = pytest.mark.jaxmarl


def test_every_registered_environment_is_in_the_suite():
    assert {family for family, _ in CASES} == {
        family for family, entry in ENVS.items() if not entry.host and not entry.recorded
    }
    assert {scenario for scenario, _, _ in MPE} == set(mpe.SCENARIOS)


def test_leaves_have_the_shapes_and_dtypes_of_the_spec(played):
    spec = played.spec
    n, s, a = spec.num_agents, spec.state.size, spec.actions.size
    expected = {
        "obs": ((n, *spec.obs.shape), "float32"),
        "state": ((s,), "float32"),
        "legal": ((n, a), "bool"),
        "alive": ((n,), "bool"),
        "reward": ((n,), "float32"),
        "terminated": ((), "bool"),
        "truncated": ((), "bool"),
        "first": ((), "bool"),
    }
    for timestep in (played.act_on, played.outcome, played.following):
        for field, (shape, dtype) in expected.items():
            leaf = getattr(timestep, field)
            assert (leaf.shape, leaf.dtype) == ((B, played.steps, *shape), np.dtype(dtype)), field
        assert sorted(timestep.metrics) == sorted(spec.metric_names)
        assert all(leaf.shape == (B, played.steps) and leaf.dtype == np.float32 for leaf in timestep.metrics.values())
    assert hash(spec) == hash(played.env.spec)


def test_blocks_of_entities_lie_in_the_observation_apart_from_each_other(played):
    spec = played.spec
    groups = [(group.obs, group.actions) for group in spec.groups]
    for space, actions in [(spec.obs, spec.actions), *groups]:
        parts = [(start, start + block.count * width) for block in space.entities for start, width in block.parts]
        ends = [end for _, end in sorted(parts)]
        assert all(start >= end for (start, _), end in zip(sorted(parts), [0, *ends]))
        assert max(ends, default=0) <= space.size
        assert all(block.count > 0 and block.width > 0 for block in space.entities)
        aimed = [block for block in space.entities if block.first_action != -1]
        assert all(0 <= block.first_action <= actions.size - block.count for block in aimed)
        assert all(len(block.absent) in (0, block.width) for block in space.entities)
        assert len({block.kind for block in space.entities}) == len(space.entities)
    if len({obs.entities for obs, _ in groups}) > 1:
        assert spec.obs.entities == ()


def test_groups_part_the_team(played):
    members = [agent for group in played.spec.groups for agent in group.members]
    assert sorted(members) == list(range(played.spec.num_agents)) or not members


def test_reset_and_step_return_the_same_types_so_that_loops_compile_once(played):
    env, key = played.env, jax.random.key(0)
    reset = jax.eval_shape(env.reset, key)
    agents, numbers = env.spec.num_agents, env.spec.actions.size
    kind = ((agents, numbers), jnp.float32) if env.spec.actions.continuous else ((agents,), jnp.int32)
    action = jax.ShapeDtypeStruct(*kind)
    step = jax.eval_shape(env.step, key, reset[0], action)
    assert jax.tree.structure(reset) == jax.tree.structure(step)
    assert jax.tree.leaves(reset) == jax.tree.leaves(step)


def test_there_is_always_something_legal_to_do(played):
    assert played.act_on.legal.any(axis=-1).all() and played.outcome.legal.any(axis=-1).all()
    if not played.spec.actions.continuous:
        assert np.take_along_axis(played.act_on.legal, played.action[..., None], axis=-1).all()


def test_numbers_are_finite_and_rewards_start_at_zero(played):
    for timestep in (played.act_on, played.outcome):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(timestep))
    assert (played.act_on.reward[played.act_on.first] == 0).all()


def test_an_end_is_either_a_termination_or_a_truncation(played):
    assert not (played.outcome.terminated & played.outcome.truncated).any()
    assert not (played.act_on.terminated | played.act_on.truncated).any()
    assert not played.outcome.first.any()


def test_no_episode_outlasts_the_limit_and_only_there_is_one_truncated(played):
    limit = played.spec.episode_limit
    for ended, truncated in zip(
        played.outcome.terminated | played.outcome.truncated, played.outcome.truncated, strict=True
    ):
        last = np.flatnonzero(ended)
        lengths = np.diff(np.append(-1, last))
        assert len(last) and lengths.max() <= limit and played.steps - 1 - last[-1] < limit
        assert (lengths[truncated[last]] == limit).all()


def test_episodes_end_as_is_known_of_their_environment(played):
    if played.family in ENDS:
        lasting = np.arange(1, played.steps + 1) % played.spec.episode_limit == 0
        np.testing.assert_array_equal(getattr(played.outcome, ENDS[played.family]), np.tile(lasting, (B, 1)))
        assert (played.outcome.terminated ^ played.outcome.truncated).sum() == B * lasting.sum()


def test_a_new_episode_begins_after_an_end_and_only_there(played):
    ended = played.outcome.terminated | played.outcome.truncated
    np.testing.assert_array_equal(played.following.first, ended)
    assert played.act_on.first[:, 0].all()
    for after, true in zip(jax.tree.leaves(played.following), jax.tree.leaves(played.outcome), strict=True):
        # Equal but for rounding: the compiler may compute a value twice, in two fusions.
        np.testing.assert_allclose(after[~ended], true[~ended], atol=1e-5)


def test_the_last_observation_is_not_the_next_episodes_first(played):
    ended = played.outcome.terminated | played.outcome.truncated
    assert ended.any()
    assert (played.outcome.state[ended] != played.following.state[ended]).any(axis=-1).all()
    assert (played.outcome.obs[ended] != played.following.obs[ended]).any(axis=(-2, -1)).all()


def test_rewards_are_equal_where_the_spec_says_that_they_are_shared(played):
    reward = played.outcome.reward
    if played.spec.shared_reward:
        np.testing.assert_array_equal(reward, np.broadcast_to(reward[..., :1], reward.shape))


def test_the_key_decides_everything(played):
    for left, right in zip(jax.tree.leaves(played.first), jax.tree.leaves(played.second), strict=True):
        np.testing.assert_array_equal(left, right)
    pairs = zip(jax.tree.leaves(played.first), jax.tree.leaves(played.other), strict=True)
    assert any((np.asarray(left) != np.asarray(right)).any() for left, right in pairs)
