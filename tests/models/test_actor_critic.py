"""The actor-critic: what sees what, memories along a sequence, and the change of the values' units."""

import dataclasses
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Discrete, EnvSpec, Numbers, Vector
from tandem.models import actor_critic
from tandem.models.actor_critic import Config
from tests.reference.compiled import quick_jit

B, T, N, A, O, S, H = 2, 7, 3, 5, 4, 6, 8
SPEC = EnvSpec(num_agents=N, obs=Vector(O), state=Vector(S), actions=Discrete(A), episode_limit=9, shared_reward=False)
GRU = {"actor_memory": "gru", "critic_memory": "gru"}
VARIANTS = {
    "mappo": {},
    "ippo": {"critic_input": "obs"},
    "ns": {"share_parameters": False},
    "recurrent": GRU,
    "recurrent ippo": GRU | {"critic_input": "obs"},
    "recurrent ns": GRU | {"share_parameters": False},
    "one network": {"separate_critic": False, "actor_memory": "gru"},
    "all obs, values by agent, layer norm": {"critic_input": "all_obs", "value_per_agent": True, "layer_norm": True},
}


class Said(NamedTuple):
    """What actor and critic make of a sequence."""

    memory: Any
    logits: Any  # [B, T, N, A]
    own: Any  # [B, T, N]
    values: Any  # [B, T, N]


@cache
def parts(name: str):
    """Return (model, params without a symmetry, run): run(params, memory, obs, state, first) -> Said, compiled."""
    model = actor_critic.make(Config(hidden_size=H, num_layers=1, policy_gain=1.0, **VARIANTS[name]), SPEC)
    shapes, tree = jax.tree.flatten(jax.eval_shape(model.init, jax.random.key(0)))
    rng = np.random.default_rng(0)
    params = tree.unflatten([jnp.asarray(rng.normal(0.0, 0.5, x.shape), jnp.float32) for x in shapes])

    def run(params, memory, obs, state, first):
        after, logits, own = model.actor_critic.policy(params, memory, obs, first)
        of_value, values = model.actor_critic.value(params, memory, obs, state, first)
        return Said(after | {"critic": of_value["critic"]}, logits, own, values)

    return model, params, quick_jit(run)


def run(name: str, inputs) -> Said:
    """Return what is said of (obs, state, first), from memories that are not blank, so that forgetting them shows."""
    model, params, said = parts(name)
    return said(params, start(model), *inputs)


def random_inputs(seed: int):
    """Return (obs, state, first) of sequences in which episodes begin here and there."""
    rng = np.random.default_rng(seed)
    obs, state = rng.normal(size=(B, T, N, O)), rng.normal(size=(B, T, S))
    return jnp.asarray(obs, jnp.float32), jnp.asarray(state, jnp.float32), jnp.asarray(rng.random((B, T)) < 0.3)


def start(model):
    """Return memories that are not blank, so that forgetting them shows."""
    return jax.tree.map(lambda x: x + 0.7, model.actor_critic.memory(B))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_sequence_at_once_equals_its_steps_one_by_one(name):
    model, params, said = parts(name)
    inputs = random_inputs(2)
    whole = run(name, inputs)
    assert whole.logits.shape == (B, T, N, A) and whole.own.shape == whole.values.shape == (B, T, N)
    memory = start(model)
    for t in range(T):
        step = said(params, memory, *(x[:, t : t + 1] for x in inputs))
        memory = step.memory
        for got, want in ((step.logits, whole.logits), (step.own, whole.own), (step.values, whole.values)):
            np.testing.assert_allclose(got[:, 0], want[:, t], atol=1e-5)
    for got, want in zip(jax.tree.leaves(memory), jax.tree.leaves(whole.memory), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("name", ["recurrent", "recurrent ippo", "recurrent ns", "one network"])
def test_an_episodes_first_step_forgets_what_was_before_and_other_steps_do_not(name):
    obs, state, first = random_inputs(3)
    first = jnp.zeros_like(first).at[0, 4].set(True)
    before, after = (run(name, (*x, first)) for x in ((obs, state), (obs.at[:, 1].add(1.0), state.at[:, 1].add(1.0))))
    for one, other in ((before.logits, after.logits), (before.values, after.values)):
        change = np.abs(np.asarray(one) - np.asarray(other)).reshape(B, T, -1).max(axis=-1)
        assert not change[:, 0].any() and not change[0, 4:].any()
        assert (change[0, 1:4] > 1e-6).all() and (change[1, 1:] > 1e-7).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_an_agents_policy_depends_on_its_own_observations_alone(name):
    obs, state, first = random_inputs(4)
    one, other = (run(name, (x, state, first)).logits for x in (obs, obs.at[:, :, 1].add(1.0)))
    change = np.abs(np.asarray(one) - np.asarray(other)).max(axis=(0, 1, 3))
    assert change[0] == change[2] == 0.0 and change[1] > 1e-2


def moved_by(name: str, what: str) -> np.ndarray:
    """Return whose values [N] change with the observations of agent 1, or with the state."""
    obs, state, first = random_inputs(5)
    moved = (obs.at[:, :, 1].add(1.0), state) if what == "obs" else (obs, state + 1.0)
    one, other = (run(name, (*x, first)).values for x in ((obs, state), moved))
    return np.abs(np.asarray(one) - np.asarray(other)).max(axis=(0, 1)) > 1e-4


@pytest.mark.parametrize(
    "name, by_obs, by_state",
    [
        ("mappo", [0, 0, 0], [1, 1, 1]),
        ("ns", [0, 0, 0], [1, 1, 1]),
        ("ippo", [0, 1, 0], [0, 0, 0]),
        ("one network", [0, 1, 0], [0, 0, 0]),
        ("all obs, values by agent, layer norm", [1, 1, 1], [0, 0, 0]),
    ],
)
def test_each_critic_sees_what_it_is_given(name, by_obs, by_state):
    np.testing.assert_array_equal(moved_by(name, "obs"), np.array(by_obs, bool))
    np.testing.assert_array_equal(moved_by(name, "state"), np.array(by_state, bool))


def test_a_team_critic_has_one_value_for_all_or_one_for_each():
    same, differ = (
        np.asarray(run(n, random_inputs(6)).values) for n in ("mappo", "all obs, values by agent, layer norm")
    )
    assert (np.ptp(same, axis=-1) == 0).all() and (np.ptp(differ, axis=-1) > 1e-3).all()


def test_parameters_of_their_own_are_one_tree_with_an_agent_axis_and_start_apart():
    params = quick_jit(actor_critic.make(Config(hidden_size=H, share_parameters=False), SPEC).init)(jax.random.key(0))
    kernels = [x for x in jax.tree.leaves(params) if x.ndim == 3]
    assert all(x.shape[0] == N for x in jax.tree.leaves(params)) and len(kernels) == 7
    assert all(np.abs(x[0] - x[1]).max() > 1e-4 for x in kernels)


def test_without_a_state_the_critic_sees_all_observations():
    spec = EnvSpec(
        num_agents=N, obs=Vector(O), state=Vector(0), actions=Discrete(A), episode_limit=9, shared_reward=False
    )
    model = actor_critic.make(Config(hidden_size=H), spec)
    kernel = jax.eval_shape(model.init, jax.random.key(0))["critic"]["body"]["Dense_0"]["rows"]["kernel"]
    assert kernel.shape == (N * O, H)


@pytest.mark.parametrize("name", ["mappo", "ns", "one network"])
def test_values_mean_the_same_after_a_change_of_units(name):
    model, params, said = parts(name)
    old, new = (jnp.float32(2.0), jnp.float32(3.0)), (jnp.float32(-1.0), jnp.float32(0.5))
    before, after = (
        said(p, start(model), *random_inputs(7)) for p in (params, model.actor_critic.rescale_values(params, old, new))
    )
    for one, other in ((before.values, after.values), (before.own, after.own)):
        np.testing.assert_allclose(other * new[1] + new[0], one * old[1] + old[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(before.logits, after.logits)


@pytest.mark.parametrize("shared", [True, False])
def test_continuous_actions_have_means_and_deviations_that_no_observation_moves(shared):
    config = Config(hidden_size=H, share_parameters=shared, initial_std=0.3)
    model = actor_critic.make(config, dataclasses.replace(SPEC, actions=Numbers(A)))
    params = quick_jit(model.init)(jax.random.key(0))
    obs, _, first = random_inputs(8)
    outputs = np.asarray(quick_jit(model.actor_critic.policy)(params, model.actor_critic.memory(B), obs, first)[1])
    assert outputs.shape == (B, T, N, 2 * A) and np.ptp(outputs[..., :A], axis=(0, 1)).all()
    np.testing.assert_allclose(outputs[..., A:], np.log(0.3), rtol=1e-5)
    assert params["actor"]["log_std"].shape == ((A,) if shared else (N, A))
