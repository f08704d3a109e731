"""The learner without replay and target network: its targets, its chunks, its fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.learners import pqn
from tests.learners.rollouts import SPEC, E, T
from tests.learners.value_rows import model_of, random_sequences, slow_reading, slow_vdn_targets
from tests.reference.compiled import quick_jit
from tests.reference.run_plans import run_plan

DISCOUNT = 0.9
PLAN = run_plan(SPEC, DISCOUNT, num_envs=E, rollout_length=T, on_policy=True)
CONFIG = pqn.Config(
    epochs=2, num_minibatches=3, chunk_length=4, td_lambda=0.7, reward_scale=2.0, learning_rate=1e-2
)  # fmt: skip


@pytest.fixture(scope="module")
def parts():
    model = model_of(memory="gru", layer_norm=True)
    learner = pqn.make(CONFIG, model, PLAN)
    state = learner.init(jax.random.key(0))
    batch = quick_jit(lambda params: random_sequences(model.q_values, params, 1))(state.params)
    return model.q_values, quick_jit(learner.update), state, batch


def test_targets_are_lambda_returns_of_the_networks_own_greedy_values(parts):
    face, _, state, batch = parts
    traj, reward = batch.traj, 2.0 * batch.traj.reward.sum(axis=-1)
    found = quick_jit(lambda params: pqn.rollout_targets(CONFIG, face, DISCOUNT, params, traj, reward, 1.0))(
        state.params
    )
    _, after = slow_reading(face, state.params, traj, traj.extras.memory[:, 0])
    expected = slow_vdn_targets(after, after, traj, reward, DISCOUNT, 0.7)
    np.testing.assert_allclose(found[..., 0], expected, rtol=1e-4, atol=1e-4)


def test_a_chunk_begins_with_the_memory_that_its_first_row_was_acted_with(parts):
    face, _, state, batch = parts
    target = jnp.arange(float(E * T)).reshape(E, T, 1)
    chunks = pqn.cut(4, batch.traj, target)
    whole = face.values(state.params, batch.traj.extras.memory[:, 0], *_seen(batch.traj))[1]
    pieces = face.values(state.params, chunks.memory, *_seen(chunks.traj))[1]
    np.testing.assert_allclose(pieces.reshape(whole.shape), whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(chunks.target.reshape(E, T, 1), target)


def _seen(traj):
    return traj.obs, traj.first, traj.legal


def test_updates_fit_rewards_that_are_paid_at_once(parts):
    face, update, state, batch = parts
    paid = (batch.traj.action == jnp.argmax(batch.traj.legal, axis=-1)) & batch.traj.alive
    over = jnp.ones_like(batch.traj.terminated)
    traj = batch.traj.replace(reward=paid.astype(jnp.float32), terminated=over, truncated=~over)
    errors = []
    for i in range(25):
        state, metrics, _ = update(state, batch.replace(traj=traj), jax.random.key(i))
        errors.append(float(metrics["train/td_error"]))
    assert errors[-1] < 0.7 * errors[0]
    assert int(state.step) == 25 * 6


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"chunk_length": 3}, ["learner_args.chunk_length=3", "runner_args.rollout_length=8"]),
        ({"num_minibatches": 5}, ["learner_args.num_minibatches=5", "12 chunks", "num_envs=6 times 2"]),
    ],
)
def test_rollouts_that_cannot_be_cut_or_dealt_are_refused(changes, words):
    (text,) = pqn.problems(pqn.Config(**{"chunk_length": 4, "num_minibatches": 3} | changes), PLAN)
    assert all(word in text for word in words), text


def test_a_memory_is_not_trained_on_single_steps():
    with pytest.raises(ValueError, match="chunk_length=1"):
        pqn.make(pqn.Config(chunk_length=1), model_of(memory="gru"), PLAN)
