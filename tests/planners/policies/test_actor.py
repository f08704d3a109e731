"""Acting by the policy of an actor-critic: legal actions only, true probabilities, and memory carried from step to
step.
"""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tandem.core import Discrete, EnvSpec, Numbers, Vector
from tandem.models import actor_critic
from tandem.planners.policies import actor
from tests.reference.compiled import quick_jit
from tests.reference.linear_model import random_timestep

B, N, A, O = 40, 3, 5, 4
SPEC = EnvSpec(num_agents=N, obs=Vector(O), state=Vector(2), actions=Discrete(A), episode_limit=9, shared_reward=False)


@cache
def parts():
    """Return (planner, parameters far from uniform, compiled plan with exploration and without)."""
    network = actor_critic.Config(
        hidden_size=6, num_layers=1, actor_memory="gru", critic_memory="gru", policy_gain=40.0
    )
    model = actor_critic.make(network, SPEC)
    planner = actor.make(actor.Config(), model, SPEC, 0.9)
    plans = {
        explore: quick_jit(lambda *inputs, e=explore: planner.plan(*inputs, e, jnp.zeros(())))
        for explore in (True, False)
    }
    return planner, quick_jit(model.init)(jax.random.key(0)), plans


def plan(seed: int, explore: bool, carry=None):
    planner, params, plans = parts()
    timestep = random_timestep(SPEC, jax.random.key(seed), B)
    timestep = timestep.replace(state=jax.random.normal(jax.random.key(seed + 2), timestep.state.shape))
    carry = planner.init(B) if carry is None else carry
    return timestep, *plans[explore](params, carry, timestep, jax.random.key(seed + 1))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**30), st.booleans())
def test_only_legal_actions_are_played(seed, explore):
    timestep, _, chosen = plan(seed, explore)
    legal, action = np.asarray(timestep.legal), np.asarray(chosen.action)
    assert np.take_along_axis(legal, action[..., None], axis=-1).all()
    assert not np.asarray(chosen.extras.policy)[~legal].any()
    np.testing.assert_allclose(chosen.extras.policy.sum(axis=-1), 1.0, rtol=1e-5)
    played = np.take_along_axis(np.asarray(chosen.extras.policy), action[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(np.exp(chosen.extras.log_prob), played, rtol=1e-4)


def test_without_exploration_the_likeliest_action_is_played_and_with_it_all_are():
    _, _, still = plan(0, False)
    np.testing.assert_array_equal(still.action, np.argmax(still.extras.policy, axis=-1))
    _, _, drawn = plan(0, True)
    assert (np.asarray(drawn.action) != np.asarray(still.action)).any()


def test_memory_goes_on_from_step_to_step_and_extras_hold_what_it_was_before():
    planner, *_ = parts()
    _, carry, first = plan(0, True)
    _, after, second = plan(2, True, carry)
    for before, extras in ((planner.init(B), first.extras), (carry, second.extras)):
        for got, want in zip(jax.tree.leaves(extras.memory), jax.tree.leaves(before), strict=True):
            np.testing.assert_array_equal(got, want)
    for name in ("actor", "critic"):
        assert np.abs(carry[name]).max() > 0 and np.abs(after[name] - carry[name]).max() > 0
    _, fresh, _ = plan(2, True)
    assert np.abs(fresh["actor"] - after["actor"]).max() > 1e-4


def test_continuous_actions_are_drawn_around_their_means_and_padding_is_zero():
    spec = dataclasses.replace(SPEC, actions=Numbers(A))
    model = actor_critic.make(actor_critic.Config(hidden_size=6, num_layers=1, policy_gain=3.0, initial_std=0.2), spec)
    planner = actor.make(actor.Config(), model, spec, 0.9)
    timestep = random_timestep(spec, jax.random.key(0), B)
    params, inputs = model.init(jax.random.key(1)), (planner.init(B), timestep, jax.random.key(2))
    (_, drawn), (_, still) = (planner.plan(params, *inputs, explore) for explore in (True, False))
    assert drawn.action.shape == (B, N, A) and drawn.action.dtype == jnp.float32
    legal, away = np.asarray(timestep.legal), np.asarray(drawn.action - still.action)
    assert not drawn.action[~legal].any() and 0.15 < away[legal].std() < 0.25
    np.testing.assert_array_equal(still.action, still.extras.policy)
    expected = np.where(legal, stats.norm.logpdf(away, 0.0, 0.2), 0.0).sum(axis=-1)
    np.testing.assert_allclose(drawn.extras.log_prob, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        drawn.extras.entropy, stats.norm.entropy(0.0, 0.2) * legal.sum(axis=-1), rtol=1e-4, atol=1e-4
    )
