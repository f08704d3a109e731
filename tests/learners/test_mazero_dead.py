"""Agents that are dead teach MAZero nothing: its losses against a slow reference, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Batch
from tandem.learners import mazero
from tandem.ops.losses import mean_of
from tandem.ops.team import team_reward
from tests.learners.test_mazero import CONFIG, MODEL, A, B, N, O, U, learner, random_batch, randomised
from tests.reference.compiled import quick_jit
from tests.reference.returns import masks

KEY = jax.random.key(4)


def with_dead(seed: int) -> Batch:
    """Return a batch in which agents die and stay dead, in some rows all of them."""
    batch = random_batch(seed)
    dies_at = np.random.default_rng(seed).integers(0, 6, size=(B, N))
    dies_at[0] = 0
    alive = jnp.asarray(np.arange(batch.traj.alive.shape[1])[None, :, None] < dies_at[:, None, :])
    return batch.replace(traj=batch.traj.replace(alive=alive))


def targets_of(batch: Batch) -> mazero.Targets:
    streams = zip(np.asarray(batch.traj.terminated), np.asarray(batch.traj.truncated), strict=True)
    alive, known = (jnp.asarray(np.stack(x), jnp.float32) for x in zip(*(masks(*s, U) for s in streams), strict=True))
    reward = team_reward(batch.traj.reward, shared=False)
    return mazero.Targets(reward=reward, value=jnp.ones((B, U + 1)), alive=alive, known=known)


def loss_and_metrics(params, batch: Batch, model=MODEL):
    objective, (metrics, _) = mazero.loss(CONFIG, model, params, batch, targets_of(batch), KEY)
    return objective, metrics


def shown_to_heads(params, traj):
    """Return the policy's logits, the latents foreseen and the real ones, as the loss has them."""
    latents, _ = mazero.unroll(CONFIG, MODEL, params, traj.obs[:, 0], traj.action[:, :U], jax.random.key(0))
    visible, _ = mazero.contexts(traj.extras.rank[:, : U + 1], KEY, CONFIG.context_dropout)
    logits = MODEL.team_policy.logits(params, latents, traj.extras.committed[:, : U + 1], visible)
    real = MODEL.self_supervision.project(params, mazero.represent(MODEL, params, traj.next_obs[:, :U]))
    return logits, MODEL.self_supervision.foresee(params, latents[:, 1:]), real


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def mean_over_living(of_agent, alive: np.ndarray) -> float:
    """Return the mean of `of_agent(i)` over the agents that live, zero if there is none."""
    living = np.flatnonzero(alive)
    return sum(of_agent(i) for i in living) / len(living) if len(living) else 0.0


def by_hand(params, batch: Batch) -> dict[str, float]:
    """Return the metrics that are means over agents, one row and one agent after another."""
    traj = jax.tree.map(np.asarray, batch.traj)
    logits, foreseen, real = map(np.asarray, shown_to_heads(params, batch.traj))
    log_policy, target = np.asarray(jax.nn.log_softmax(logits, axis=-1), np.float64), traj.extras.policy
    going_on = np.asarray(targets_of(batch).alive)
    policy = consistency = 0.0
    for b in range(B):
        for u in range(U + 1):
            if going_on[b, u]:
                policy -= mean_over_living(lambda i: target[b, u, i] @ log_policy[b, u, i], traj.alive[b, u])
            if u < U and going_on[b, u]:
                consistency -= mean_over_living(lambda i: cosine(foreseen[b, u, i], real[b, u, i]), traj.alive[b, u])
    living = [(b, i) for b in range(B) for i in range(N) if traj.alive[b, 0, i]]
    first = {at: (target[at[0], 0, at[1]], log_policy[at[0], 0, at[1]]) for at in living}
    return {
        "train/policy_loss": policy / B / U,
        "train/consistency_loss": consistency / B / U,
        "search/policy_entropy": np.mean([-np.exp(log) @ log for _, log in first.values()]),
        "search/target_entropy": np.mean([-wanted @ np.log(wanted) for wanted, _ in first.values()]),
        "search/policy_kl": np.mean([wanted @ (np.log(wanted) - log) for wanted, log in first.values()]),
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_losses_are_means_over_living_agents(seed):
    batch, params = with_dead(seed), randomised(learner().init(jax.random.key(0)).params)
    _, metrics = quick_jit(lambda params: loss_and_metrics(params, batch))(params)
    for name, expected in by_hand(params, batch).items():
        assert float(metrics[name]) == pytest.approx(expected, rel=1e-4), name


def test_dead_agents_policies_get_no_gradient_and_what_was_stored_of_them_is_not_read():
    batch, params = with_dead(2), randomised(learner().init(jax.random.key(0)).params)
    dead = ~batch.traj.alive
    spoilt = batch.traj.extras.replace(policy=jnp.where(dead[..., None], jnp.nan, batch.traj.extras.policy))
    batch = batch.replace(traj=batch.traj.replace(extras=spoilt))

    def objective(push):
        pushed = MODEL.team_policy._replace(logits=lambda *given: MODEL.team_policy.logits(*given) + push)
        model = MODEL._replace(team_policy=pushed)
        return loss_and_metrics(params, batch, model)[0]

    gradient = np.abs(np.asarray(quick_jit(jax.grad(objective))(jnp.zeros((B, U + 1, N, A))))).sum(axis=-1)
    counts = np.asarray(batch.traj.alive[:, : U + 1] & (targets_of(batch).alive > 0)[..., None])
    assert counts.any() and not counts.all()
    np.testing.assert_array_equal(gradient != 0, counts)  # what is not a number is not zero either


def value_and_gradient(params, batch: Batch):
    """Return loss, metrics and gradient; nothing but the settings is known to the compiler, as in a run."""
    targets = targets_of(batch)

    def objective(params, batch, reward, value, alive, known):
        given = mazero.Targets(reward=reward, value=value, alive=alive, known=known)
        return mazero.loss(CONFIG, MODEL, params, batch, given, KEY)

    given = (targets.reward, targets.value, targets.alive, targets.known)
    return jax.jit(jax.value_and_grad(objective, has_aux=True))(params, batch, *given)


def test_where_nobody_dies_losses_and_gradients_are_plain_means(monkeypatch):
    batch, params = random_batch(3), randomised(learner().init(jax.random.key(0)).params)
    found = value_and_gradient(params, batch)
    monkeypatch.setattr(mazero, "mean_of", lambda x, mask, axis=None: jnp.mean(x, axis=axis))
    for got, want in zip(jax.tree.leaves(found), jax.tree.leaves(value_and_gradient(params, batch)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)  # two programs, each with roundings of its own


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_a_mean_over_what_counts_is_the_plain_mean_where_all_counts(axis):
    x = jnp.asarray(np.random.default_rng(5).normal(size=(O + 3, N)), jnp.float32)
    np.testing.assert_array_equal(mean_of(x, jnp.ones(x.shape, bool), axis), jnp.mean(x, axis=axis))
    assert not np.asarray(mean_of(x, jnp.zeros(x.shape, bool), axis)).any()
