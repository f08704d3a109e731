"""Q-values: what they depend on, memory, dueling, and the mixers' promises."""

import dataclasses
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Discrete, EnvSpec, Vector
from tandem.envs.layout import laid_out
from tandem.models import q_network
from tests.models.entities.problem import FIRST, observations, permuted, spec
from tests.reference.compiled import quick_jit

B, T, N, A, O, S = 2, 5, 3, 4, 6, 7
SPEC = EnvSpec(num_agents=N, obs=Vector(O), state=Vector(S), actions=Discrete(A), episode_limit=9, shared_reward=True)
SMALL = q_network.Config(hidden_size=8, num_layers=1, head_gain=1.0)


def made(of: EnvSpec = SPEC, **changes):
    """Return (face, parameters)."""
    model = q_network.make(dataclasses.replace(SMALL, **changes), of)
    return model.q_values, quick_jit(model.init)(jax.random.key(0))


def sequence(seed: int = 0):
    """Return obs, first and legal of sequences in which episodes begin."""
    rng = np.random.default_rng(seed)
    legal = (rng.random((B, T, N, A)) < 0.5) | np.eye(A, dtype=bool)[rng.integers(A, size=(B, T, N))]
    return rng.normal(size=(B, T, N, O)).astype(np.float32), rng.random((B, T)) < 0.3, legal


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_a_sequence_is_what_its_steps_are_one_after_the_other(memory):
    face, params = made(memory=memory)
    obs, first, legal = sequence()
    carry = jax.tree.map(lambda x: x + 1.0, face.memory(B))
    after, values = quick_jit(face.values)(params, carry, obs, first, legal)
    step = quick_jit(face.values)
    for t in range(T):
        row = slice(t, t + 1)
        each, one = step(params, carry, obs[:, row], first[:, row], legal[:, row])
        carry = jax.tree.map(lambda x: x[:, 0], each)
        np.testing.assert_allclose(one[:, 0], values[:, t], rtol=1e-4, atol=1e-5)
        now = jax.tree.map(lambda x: x[:, t], after)  # noqa: B023
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), carry, now)


def test_an_agents_values_depend_on_what_it_sees_and_saw_in_this_episode_alone():
    face, params = made(memory="gru")
    obs, _, legal = sequence()
    first = np.zeros((B, T), bool)
    first[:, 2] = True

    def of_one(obs):
        return face.values(params, face.memory(B), obs, first, legal)[1][:, 3, 1].sum()

    slope = np.abs(quick_jit(jax.grad(of_one))(jnp.asarray(obs))).sum(axis=(0, 3)) > 0  # [T, N]
    expected = np.zeros((T, N), bool)
    expected[2:4, 1] = True
    np.testing.assert_array_equal(slope, expected)


def test_the_mean_over_legal_actions_of_a_dueling_head_is_the_situations_value():
    face, params = made(dueling=True)
    obs, first, legal = sequence()

    def mean(legal):
        values = face.values(params, (), obs, first, legal)[1]
        return np.where(legal, values, 0.0).sum(axis=-1) / legal.sum(axis=-1)

    np.testing.assert_allclose(mean(legal), mean(np.ones_like(legal)), rtol=1e-4, atol=1e-5)
    plain = made()[0].values(params, (), obs, first, legal)[1]
    assert not np.allclose(np.where(legal, plain, 0.0).sum(axis=-1) / legal.sum(axis=-1), mean(legal), atol=1e-2)


def test_the_mixer_is_not_needed_to_act():
    model = q_network.make(dataclasses.replace(SMALL, mixer="monotone"), SPEC)
    params = quick_jit(model.init)(jax.random.key(0))
    assert set(params) == {"agents", "mixer"} and set(model.acting(params)) == {"agents"}


def mixing(face, params, q, seed: int = 0, alive=None, of: EnvSpec = SPEC):
    """Return the mixed values of q [B, 1, N] with random obs and state."""
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(*q.shape, of.obs.size)).astype(np.float32)
    state = rng.normal(size=(*q.shape[:2], of.state.size)).astype(np.float32)
    return face.mix(params, q, obs, state, jnp.ones(q.shape, bool) if alive is None else alive)


def test_nothing_is_mixed_or_all_is_added_up_and_the_dead_bring_nothing():
    q, alive = jnp.array([[[1.0, 2.0, 4.0]]]), jnp.array([[[True, False, True]]])
    for mixer, expected in (("none", [[[1.0, 0.0, 4.0]]]), ("sum", [[[5.0]]])):
        face, params = made(mixer=mixer)
        np.testing.assert_array_equal(mixing(face, params, q, alive=alive), expected)
        assert face.by_agent == (mixer == "none")
    face, params = made(mixer="monotone")
    one, other = (mixing(face, params, q.at[0, 0, 1].set(x), alive=alive) for x in (-3.0, 9.0))
    np.testing.assert_array_equal(one, other)


def randomised(params, key):
    """Return parameters without structure."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return tree.unflatten([x + jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)])


@pytest.mark.parametrize("agents, encoder", [(2, "flat"), (5, "flat"), (7, "entities")])
def test_the_teams_value_never_falls_when_an_agents_rises(agents, encoder):
    of = spec(agents) if encoder == "entities" else dataclasses.replace(SPEC, num_agents=agents)
    face, params = made(of, mixer="monotone", encoder=encoder, mixer_size=8, hypernet_size=8)

    def slope(key):
        keys = jax.random.split(key, 4)
        params_ = randomised(params, keys[0])
        q = 3.0 * jax.random.normal(keys[1], (1, 1, agents))
        obs = jax.random.normal(keys[2], (*q.shape, of.obs.size))
        state = jax.random.normal(keys[3], (1, 1, of.state.size))
        return jax.grad(lambda q: face.mix(params_, q, obs, state, jnp.ones(q.shape, bool)).sum())(q)

    slopes = quick_jit(jax.vmap(slope))(jax.random.split(jax.random.key(1), 1000))
    assert (slopes >= 0).all() and (slopes > 0).mean() > 0.5  # random weights saturate some


def test_each_agents_best_action_is_the_teams_best_joint_action():
    face, params = made(mixer="monotone")
    params = randomised(params, jax.random.key(2))
    values = jax.random.normal(jax.random.key(3), (N, A))
    joint = list(itertools.product(range(A), repeat=N))
    q = jnp.array([[[values[i, action[i]] for i in range(N)]] for action in joint])
    rng = np.random.default_rng(0)
    obs, state = rng.normal(size=(1, 1, N, O)), rng.normal(size=(1, 1, S))
    spread = [jnp.broadcast_to(jnp.float32(x), (len(joint), *x.shape[1:])) for x in (obs, state)]
    total = quick_jit(face.mix)(params, q, *spread, jnp.ones(q.shape, bool))
    assert joint[int(jnp.argmax(total))] == tuple(int(i) for i in jnp.argmax(values, axis=-1))


def test_qmix_begins_as_nearly_a_sum_of_nearly_nothing():
    face, params = made(mixer="monotone", head_gain=0.01)
    q = jnp.zeros((40, 1, N))
    at_zero = mixing(face, params, q)
    slopes = jax.grad(lambda q: mixing(face, params, q).sum())(q)
    assert (jnp.abs(at_zero) < 1.0).all() and ((slopes > 0.4) & (slopes < 2.0)).all()


def team_spec(agents: int) -> EnvSpec:
    """A task whose global state lists the team."""
    state = laid_out([("ally", agents, 3), ("enemy", 2, 3)], absent={"ally": 0.0}, places={"ally": (0, 1)})
    return dataclasses.replace(spec(agents), state=state)


@pytest.mark.parametrize("described", [True, False], ids=["by the state", "by what all see"])
def test_no_parameter_of_entities_depends_on_the_teams_size_and_the_agents_order_does_not_matter(described):
    made_of = team_spec if described else spec
    build = partial(made, mixer="monotone", encoder="entities", mixer_size=8, hypernet_size=8)
    face, params = build(made_of(3))
    shapes = [jax.tree.map(jnp.shape, each) for each in (params, build(made_of(5))[1])]
    assert shapes[0] == shapes[1]
    of, order, draw = made_of(3), np.array([2, 0, 1]), np.random.default_rng(1)
    obs, q = observations(of, 4)[:, None], draw.normal(size=(4, 1, 3)).astype(np.float32)
    state = draw.normal(size=(4, 1, of.state.size)).astype(np.float32)
    moved = state.copy()
    if described:
        moved[..., :9] = state[..., :9].reshape(4, 1, 3, 3)[:, :, order].reshape(4, 1, 9)
    mix, alive = quick_jit(face.mix), jnp.ones(q.shape, bool)
    before, after = mix(params, q, obs, state, alive), mix(params, q[..., order], obs[:, :, order], moved, alive)
    np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-5)
    assert not np.allclose(before, mix(params, q[..., order], obs, state, alive), rtol=1e-3)


def test_targets_in_another_order_are_valued_in_that_order():
    of = spec(3, targets=3)
    face, params = made(of, encoder="entities")
    obs, order = observations(of, 4), [2, 0, 1]
    legal = jnp.ones((4, 1, 3, of.actions.size), bool)

    value = quick_jit(lambda obs: face.values(params, (), obs[:, None], jnp.zeros((4, 1), bool), legal)[1][:, 0])

    def values(obs):
        return np.asarray(value(obs))

    before, after = values(obs), values(permuted(of, obs, "enemy", order))
    at = slice(FIRST, FIRST + 3)
    np.testing.assert_allclose(before[..., at][..., order], after[..., at], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.delete(before, at, axis=-1), np.delete(after, at, axis=-1), rtol=1e-4, atol=1e-5)
