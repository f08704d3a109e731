"""What every host environment owes: over the registry, all of PettingZoo's scenarios in many settings, and
StarCraft's stand-in.
"""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tandem.registry import ENVS
from tests.envs.defaults import LIMIT
from tests.envs.host_cases import cases, episode, random_action, smac_installed

# These begin the same way whatever the seed: zombies come later, and Atari differs by sticky actions alone.
SAME_BEGINNING = ("knights_archers_zombies", "space_invaders")


def name(case) -> str:
    family, config = case
    extra = [
        key for key in ("team", "frame_skip", "scenario_args") if getattr(config, key, None) not in ((), 1, {}, None)
    ]
    return "-".join([family, getattr(config, "scenario", getattr(config, "map_name", "")), *extra])


@pytest.fixture(scope="module", params=cases(), ids=name)
def played(request, tmp_path_factory):
    """Two episodes of an environment; `again` the same ones of another with the same seed, `other` with
    another seed.
    """
    family, config = request.param
    with pytest.MonkeyPatch.context() as patch:
        smac_installed(patch, tmp_path_factory.mktemp("StarCraftII"))
        envs = [ENVS[family].make(config) for _ in range(3)]
        runs = []
        for env, seed in zip(envs, (5, 5, 6), strict=True):
            random = np.random.default_rng(0)
            runs.append([episode(env, seed, random), episode(env, None, random)])
        yield SimpleNamespace(
            family=family, config=config, env=envs[0], spec=envs[0].spec, run=runs[0], again=runs[1], other=runs[2],
            timesteps=[timestep for timesteps, _ in runs[0] for timestep in timesteps],
            ends=[timesteps[-1] for timesteps, _ in runs[0]],
        )  # fmt: skip
        for env in envs:
            env.close()


def test_every_registered_host_environment_is_in_the_suite():
    assert {family for family, _ in cases()} == {family for family, entry in ENVS.items() if entry.host}


def test_leaves_are_numpy_with_the_shapes_and_dtypes_of_the_spec(played):
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
    for timestep in played.timesteps:
        for field, (shape, dtype) in expected.items():
            leaf = getattr(timestep, field)
            assert type(leaf) is np.ndarray and (leaf.shape, leaf.dtype) == (shape, np.dtype(dtype)), field
        assert sorted(timestep.metrics) == sorted(spec.metric_names)
        assert all(leaf.shape == () and leaf.dtype == np.float32 for leaf in timestep.metrics.values())
    assert hash(spec) == hash(played.env.spec)


def test_a_time_step_keeps_its_values_when_the_next_is_taken(played):
    # Programs reuse their buffers; what they have shown must not change behind a reader's back.
    random = np.random.default_rng(1)
    first = played.env.reset(9)
    kept = jax.tree.map(np.copy, first)
    second = played.env.step(random_action(random, first, played.spec.actions.continuous))
    assert all(
        np.array_equal(left, right) for left, right in zip(jax.tree.leaves(first), jax.tree.leaves(kept), strict=True)
    )
    pairs = zip(jax.tree.leaves(first.replace(metrics={})), jax.tree.leaves(second.replace(metrics={})), strict=True)
    assert not any(np.shares_memory(left, right) for left, right in pairs)


def test_numbers_are_finite_and_rewards_start_at_zero(played):
    assert all(np.isfinite(leaf).all() for timestep in played.timesteps for leaf in jax.tree.leaves(timestep))
    assert all((timesteps[0].reward == 0).all() for timesteps, _ in played.run)


def test_the_dead_see_nothing_and_can_only_pass(played):
    for timestep in played.timesteps:
        assert timestep.legal.any(axis=-1).all()
        assert (timestep.obs[~timestep.alive] == 0).all()
        assert (timestep.legal[~timestep.alive] == (np.arange(played.spec.actions.size) == 0)).all()


def test_only_the_first_step_is_first_and_only_the_last_an_end(played):
    for timesteps, _ in played.run:
        assert [bool(timestep.first) for timestep in timesteps] == [True] + [False] * (len(timesteps) - 1)
        assert not any(timestep.terminated or timestep.truncated for timestep in timesteps[:-1])
        assert timesteps[-1].terminated != timesteps[-1].truncated
        assert timesteps[0].alive.all()


def test_no_episode_outlasts_the_limit_and_only_there_is_one_truncated(played):
    lengths, limit = [len(actions) for _, actions in played.run], played.spec.episode_limit
    assert max(lengths) <= limit
    assert all(length == limit for length, end in zip(lengths, played.ends, strict=True) if end.truncated)


def test_the_time_limit_truncates_and_does_not_terminate(played):
    if played.family != "pettingzoo":
        return  # those of others may end by themselves; tests/envs/test_sc2.py waits for StarCraft's limit
    assert [len(actions) for _, actions in played.run] == [LIMIT, LIMIT]
    assert all(end.truncated and not end.terminated for end in played.ends) and played.spec.episode_limit == LIMIT


def test_the_last_observation_is_not_the_next_episodes_first(played):
    following = played.run[1][0][0]
    assert (played.ends[0].obs != following.obs).any() and (played.ends[0].state != following.state).any()


def test_the_seed_decides_everything(played):
    for (left, left_actions), (right, right_actions) in zip(played.run, played.again, strict=True):
        np.testing.assert_array_equal(left_actions, right_actions)
        for one, two in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
            np.testing.assert_array_equal(one, two)


def test_other_seeds_and_later_episodes_are_other_episodes(played):
    if getattr(played.config, "scenario", "") in SAME_BEGINNING:
        return
    (one, _), (two, _) = played.run
    other = played.other[0][0]
    assert (one[-1].state != other[-1].state).any() and (one[-1].state != two[-1].state).any()


def test_rewards_are_equal_where_the_spec_says_that_they_are_shared(played):
    if played.spec.shared_reward:
        assert all((timestep.reward == timestep.reward[0]).all() for timestep in played.timesteps)


def test_an_episode_that_is_over_is_not_gone_on_with(played):
    random = np.random.default_rng(2)
    timesteps, _ = episode(played.env, 3, random)
    with pytest.raises(RuntimeError, match="reset the environment"):
        played.env.step(random_action(random, timesteps[-1], played.spec.actions.continuous))


def test_a_frame_is_a_picture(played):
    played.env.reset(1)
    frame = played.env.render()
    assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[-1] == 3 and min(frame.shape[:2]) >= 32
    assert np.ptp(frame) > 0


def test_closing_one_leaves_the_others_alone(played):
    (family, config), random = (played.family, played.config), np.random.default_rng(3)
    other = ENVS[family].make(config)
    other.reset(1)
    other.close()
    other.close()
    timesteps, _ = episode(played.env, 2, random)
    assert len(timesteps) > 1 and np.ptp(played.env.render()) > 0
