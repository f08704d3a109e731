"""Greedy play with a share of lots: how large it is when, and none in evaluations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Discrete, EnvSpec, Vector
from tandem.models import q_network
from tandem.planners.policies import epsilon_greedy
from tests.reference.compiled import quick_jit
from tests.reference.linear_model import random_timestep

B, N, A, O = 2000, 3, 4, 5
SPEC = EnvSpec(num_agents=N, obs=Vector(O), state=Vector(2), actions=Discrete(A), episode_limit=9, shared_reward=True)
CONFIG = epsilon_greedy.Config(epsilon_start=0.8, epsilon_end=0.2, epsilon_share=0.5)
MODEL = q_network.make(q_network.Config(hidden_size=8, num_layers=1, head_gain=1.0, memory="gru"), SPEC)
PLANNER = epsilon_greedy.make(CONFIG, MODEL, SPEC, 0.9)


@pytest.fixture(scope="module")
def seen():
    return random_timestep(SPEC, jax.random.key(1), B)


@pytest.fixture(scope="module")
def plans(seen):
    """What is planned at the start of a run, later, and in an evaluation, with the carries."""
    params, carry = MODEL.init(jax.random.key(0)), PLANNER.init(B) + 1.0
    kinds = {"start": (True, 0.0), "late": (True, 0.75), "evaluation": (False, 0.0)}
    return {
        name: quick_jit(lambda progress, explore=explore: PLANNER.plan(  # noqa: B023
            params, carry, seen, jax.random.key(2), explore, progress
        ))(jnp.float32(progress))
        for name, (explore, progress) in kinds.items()
    }  # fmt: skip


@pytest.fixture(scope="module")
def best(seen):
    step = (x[:, None] for x in (seen.obs, seen.first, seen.legal))
    values = MODEL.q_values.values(MODEL.init(jax.random.key(0)), PLANNER.init(B) + 1.0, *step)[1][:, 0]
    return np.asarray(jnp.argmax(jnp.where(seen.legal, values, -1e9), axis=-1))


@pytest.mark.parametrize("progress, share", [(0.0, 0.8), (0.25, 0.5), (0.5, 0.2), (1.0, 0.2)])
def test_the_share_of_lots_falls_in_a_line_and_stays(progress, share):
    np.testing.assert_allclose(epsilon_greedy.epsilon(CONFIG, jnp.float32(progress)), share, rtol=1e-6)


@pytest.mark.parametrize("name, share", [("start", 0.8), ("late", 0.2)])
def test_so_many_actions_are_drawn_from_what_is_legal(name, share, plans, best, seen):
    plan = plans[name][1]
    np.testing.assert_allclose(plan.metrics["epsilon"], share, rtol=1e-6)
    choices = np.asarray(seen.legal).sum(axis=-1)
    otherwise = share * (1.0 - 1.0 / choices)  # a lot may fall on the best action
    # 6,000 draws: a difference of 0.04 is more than six standard deviations.
    assert abs((np.asarray(plan.action) != best).mean() - otherwise.mean()) < 0.04
    expected = np.where(np.asarray(seen.legal), share / choices[..., None], 0.0)
    expected[np.arange(B)[:, None], np.arange(N), best] += 1.0 - share
    np.testing.assert_allclose(plan.extras.policy, expected, atol=1e-5)


def test_evaluations_play_the_best_action_alone(plans, best):
    plan = plans["evaluation"][1]
    np.testing.assert_array_equal(plan.action, best)
    np.testing.assert_allclose(plan.extras.entropy, 0.0, atol=1e-6)
    assert (plan.metrics["epsilon"] == 0.0).all()


def test_rows_keep_the_memory_that_they_were_acted_with(plans):
    carry, plan = plans["start"]
    np.testing.assert_array_equal(plan.extras.memory, PLANNER.init(B) + 1.0)
    assert carry.shape == plan.extras.memory.shape and not np.allclose(carry, plan.extras.memory)
