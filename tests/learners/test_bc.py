"""Behaviour cloning: its loss against a sum written out, and what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Transition
from tandem.learners import bc
from tandem.models import actor_critic
from tandem.ops.masking import masked_softmax
from tests.learners.rollouts import SPEC, A, E, N, T, acted, batch_of, random_rows
from tests.reference.compiled import quick_jit
from tests.reference.run_plans import run_plan

BURN = 2
CONFIG = bc.Config(sequence=T - BURN, burn_in=BURN, learning_rate=1e-2)
MODEL = actor_critic.make(actor_critic.Config(hidden_size=6, num_layers=1, actor_memory="gru", policy_gain=1.0), SPEC)
FACE = MODEL.actor_critic


@pytest.fixture(scope="module")
def batch():
    params, rows = MODEL.init(jax.random.key(0)), random_rows(1)
    extras = quick_jit(lambda params: acted(FACE, params, rows))(params)
    return batch_of(Transition(extras=extras, **rows)).replace(weight=jnp.arange(1.0, E + 1))


def test_the_loss_is_the_mean_over_agents_with_a_choice_after_the_rows_that_are_burned_in(batch):
    params, rows = MODEL.init(jax.random.key(2)), batch.traj
    (found, metrics), slope = quick_jit(
        jax.value_and_grad(lambda params: bc.loss(CONFIG, FACE, params, batch), has_aux=True)
    )(params)
    memory, losses, agreed = FACE.memory(E), [], []
    step = jax.jit(FACE.policy)
    for t in range(T):
        memory, logits, _ = step(params, memory, rows.obs[:, t : t + 1], rows.first[:, t : t + 1])
        policy = np.asarray(masked_softmax(logits[:, 0], rows.legal[:, t]))
        for e, i in np.ndindex(E, N):
            if t >= BURN and rows.alive[e, t, i] and rows.legal[e, t, i].sum() > 1:
                losses.append(-(e + 1) * np.log(policy[e, i, rows.action[e, t, i]]))
                agreed.append(policy[e, i].argmax() == rows.action[e, t, i])
    np.testing.assert_allclose(found, np.mean(losses), rtol=1e-4)
    np.testing.assert_allclose(metrics["offline/agreement"], np.mean(agreed), rtol=1e-5)
    assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(slope["critic"]))
    assert any((np.asarray(x) != 0).any() for x in jax.tree.leaves(slope["actor"]))


def test_episodes_that_are_held_out_are_judged_by_their_likelihood_and_by_what_would_be_played(batch):
    config, params = bc.Config(sequence=T), MODEL.init(jax.random.key(2))
    learner = bc.make(config, MODEL, run_plan(SPEC, 0.9))
    alike = batch.replace(weight=jnp.ones(E))
    of_data, metrics = quick_jit(lambda params: bc.loss(config, FACE, params, alike))(params)
    judge = quick_jit(
        lambda params, rows: learner.held_out(learner.init(jax.random.key(0)).replace(params=params), rows)
    )
    found = judge(params, batch.traj)
    np.testing.assert_allclose(found["offline/holdout_nll"] / found["count"], of_data, rtol=1e-5)
    np.testing.assert_allclose(found["offline/holdout_agreement"] / found["count"], metrics["offline/agreement"])
    nobody = judge(params, batch.traj.replace(alive=jnp.zeros_like(batch.traj.alive)))
    assert all(float(each) == 0.0 for each in nobody.values())


def test_actions_that_are_always_the_same_are_soon_imitated(batch):
    learner = bc.make(CONFIG, MODEL, run_plan(SPEC, 0.9))
    last = jnp.argmax(jnp.where(batch.traj.legal, jnp.arange(A).reshape(1, 1, 1, A), -1), axis=-1).astype(jnp.int32)
    batch = batch.replace(traj=batch.traj.replace(action=last))
    state, update = learner.init(jax.random.key(0)), quick_jit(learner.update)
    state, metrics, priorities = update(state, batch, jax.random.key(0))
    for _ in range(60):
        state, later, _ = update(state, batch, jax.random.key(0))
    assert set(later) == set(learner.metric_names) and priorities.shape == (E,)
    assert float(later["train/loss"]) < 0.5 * float(metrics["train/loss"])
    assert float(later["offline/agreement"]) > float(metrics["offline/agreement"])
