"""Observations that are pictures: the layers against sums written out, and networks that read nothing else so."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Batch, Discrete, EnvSpec, Image, Transition, Vector
from tandem.learners import bc
from tandem.models import actor_critic, pictures, q_network
from tandem.models.pictures import Pictures
from tests.reference.compiled import quick_jit

B, T, N, A = 2, 3, 4, 5
SHAPE = (9, 10, 2)
SPEC = EnvSpec(
    num_agents=N, obs=Image(SHAPE), state=Vector(0), actions=Discrete(A), episode_limit=9, shared_reward=True
)


def noise(shapes):
    random = np.random.default_rng(4)
    return jax.tree.map(lambda leaf: random.normal(0.0, 0.2, leaf.shape).astype(np.float32), shapes)


def convolved(x, kernel, bias, stride):
    """Return relu of a convolution of a picture [H, W, C], borders padded so that H / stride rows come out."""
    side, before, sizes = len(kernel), [], []
    for length in x.shape[:2]:
        sizes.append(-(-length // stride))
        before.append(max((sizes[-1] - 1) * stride + side - length, 0) // 2)
    found = np.zeros((*sizes, kernel.shape[-1]))
    for row, column in np.ndindex(*sizes):
        for i, j in np.ndindex(side, side):
            y, z = row * stride + i - before[0], column * stride + j - before[1]
            if 0 <= y < x.shape[0] and 0 <= z < x.shape[1]:
                found[row, column] += x[y, z] @ kernel[i, j]
    return np.maximum(found + bias, 0.0)


def test_features_are_those_of_the_layers_written_out_and_other_numbers_stay():
    module, random = Pictures(SHAPE, 2, 6), np.random.default_rng(1)
    x = random.normal(size=(3, 2 * math.prod(SHAPE) + 4)).astype(np.float32)
    params = noise(jax.eval_shape(module.init, jax.random.key(0), x)["params"])
    found = np.asarray(quick_jit(module.apply)({"params": params}, x))
    assert found.shape == (3, 2 * 6 + 4)
    np.testing.assert_array_equal(found[:, 12:], x[:, -4:])
    for row, picture in np.ndindex(3, 2):
        shown = x[row, picture * math.prod(SHAPE) :][: math.prod(SHAPE)].reshape(SHAPE)
        for i, (_, stride) in enumerate(pictures.LAYERS):
            shown = convolved(shown, params[f"layer_{i}"]["kernel"], params[f"layer_{i}"]["bias"], stride)
        out = params["out"]["rows"]
        wanted = np.maximum(shown.reshape(-1) @ out["kernel"] + out["bias"], 0.0)
        np.testing.assert_allclose(found[row, picture * 6 : picture * 6 + 6], wanted, rtol=1e-4, atol=1e-4)


def test_there_is_no_convolution_whose_gradient_xla_computes_slowly_in_the_loops_of_a_learner():
    module, x = Pictures(SHAPE, 1, 6), jnp.ones((3, math.prod(SHAPE)))
    params = jax.eval_shape(module.init, jax.random.key(0), x)
    gradient = jax.jit(jax.grad(lambda params: jnp.sum(module.apply(params, x))))
    assert "convolution" not in gradient.lower(params).as_text()


VARIANTS = {
    "shared": {"critic_input": "obs"},
    "apart, critic of all": {"share_parameters": False, "critic_input": "all_obs"},
    "critic of all": {},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_agent_acts_by_its_own_picture_and_the_critic_sees_what_it_is_told_to(variant):
    config = actor_critic.Config(encoder="conv", hidden_size=6, num_layers=1, policy_gain=1.0, **VARIANTS[variant])
    model = actor_critic.make(config, SPEC)
    face, obs = model.actor_critic, np.random.default_rng(2).random((B, T, N, *SHAPE)).astype(np.float32)

    def run(params, obs):
        first, memory = jnp.zeros((B, T), bool), face.memory(B)
        logits = face.policy(params, memory, obs, first)[1]
        return logits, face.value(params, memory, obs, jnp.zeros((B, T, 0)), first)[1]

    params, run = noise(jax.eval_shape(model.init, jax.random.key(0))), quick_jit(run)
    other = obs.copy()
    other[:, :, 1] = 1.0 - other[:, :, 1]
    (logits, values), (moved, revalued) = run(params, obs), run(params, other)
    assert logits.shape == (B, T, N, A) and values.shape == (B, T, N)
    others = np.array([0, 2, 3])
    np.testing.assert_allclose(moved[:, :, others], logits[:, :, others], rtol=1e-5, atol=1e-6)
    assert (np.abs(moved[:, :, 1] - logits[:, :, 1]).max(axis=-1) > 1e-5).all()
    assert np.allclose(revalued[:, :, others], values[:, :, others]) == (variant == "shared")


def test_q_values_are_of_pictures_too():
    model = q_network.make(q_network.Config(encoder="auto", hidden_size=6, num_layers=1, mixer="monotone"), SPEC)
    obs, face = jnp.ones((B, T, N, *SHAPE)), model.q_values

    def run(params):
        values = face.values(params, (), obs, jnp.zeros((B, T), bool), jnp.ones((B, T, N, A), bool))[1]
        return values, face.mix(params, values[..., 0], obs, jnp.zeros((B, T, 0)), jnp.ones((B, T, N), bool))

    params = jax.eval_shape(model.init, jax.random.key(0))
    values, together = jax.eval_shape(run, params)
    assert values.shape == (B, T, N, A) and together.shape == (B, T, 1)


@pytest.mark.parametrize(
    ("encoder", "space", "told"),
    [
        ("flat", Image(SHAPE), "encoder=flat: this environment's observations are pictures; choose encoder=conv"),
        ("entities", Image(SHAPE), "encoder=entities: this environment's observations are pictures"),
        ("conv", Vector(7), "encoder=conv: this environment's observations are no pictures; choose encoder=flat"),
    ],
)
@pytest.mark.parametrize("network", [actor_critic, q_network])
def test_an_encoder_that_cannot_read_what_is_shown_is_refused(network, encoder, space, told):
    spec = EnvSpec(num_agents=2, obs=space, state=Vector(0), actions=Discrete(3), episode_limit=4, shared_reward=True)
    with pytest.raises(ValueError, match=told):
        network.make(network.Config(encoder=encoder), spec)


def test_a_policy_learns_to_see_on_which_side_a_picture_is_bright():
    spec = dataclasses.replace(SPEC, num_agents=2, actions=Discrete(2))
    network = actor_critic.Config(encoder="conv", hidden_size=8, num_layers=1, critic_input="obs")
    model = actor_critic.make(network, spec)
    random, rows = np.random.default_rng(5), (48, 1)
    action = random.integers(0, 2, (*rows, 2)).astype(np.int32)
    right = np.arange(SHAPE[1]) >= SHAPE[1] // 2
    bright = (action[..., None] == right)[..., None, :, None]
    obs = (random.random((*rows, 2, *SHAPE)) * np.where(bright, 1.0, 0.5)).astype(np.float32)
    fields = dict.fromkeys(Transition.__dataclass_fields__, ())
    fields |= {"obs": obs, "action": action, "first": np.ones(rows, bool), "alive": np.ones((*rows, 2), bool)}
    traj = Transition(**fields | {"legal": np.ones((*rows, 2, 2), bool)})
    batch = Batch(traj=traj, index=np.arange(48), weight=np.ones(48, np.float32), priority=np.ones(48, np.float32))
    params = noise(jax.eval_shape(model.init, jax.random.key(0)))
    slope = quick_jit(jax.grad(lambda params: bc.loss(bc.Config(), model.actor_critic, params, batch), has_aux=True))
    for _ in range(80):
        downhill, metrics = slope(params)
        params = jax.tree.map(lambda x, y: x - 0.1 * np.asarray(y), params, downhill)
    assert metrics["offline/agreement"] > 0.95
