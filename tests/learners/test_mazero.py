"""The MAZero learner against slow references, its masks, and the promises every learner makes."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Batch, Candidates, Discrete, EnvSpec, SearchExtras, Transition, Vector
from tandem.learners import mazero
from tandem.models import world_model
from tandem.ops.team import team_reward
from tandem.ops.values import committed_value
from tests.reference.compiled import quick_jit
from tests.reference.returns import masks, n_step_target
from tests.reference.run_plans import run_plan
from tests.reference.stepwise import plain_latents

B, N, A, O, U, STEPS = 7, 3, 5, 4, 2, 3
SPEC = EnvSpec(num_agents=N, obs=Vector(O), state=Vector(2), actions=Discrete(A), episode_limit=9, shared_reward=False)
CONFIG = mazero.Config(unroll=U, n_step=STEPS, warmup_updates=0, target_period_updates=3, learning_rate=3e-3)
MODEL = world_model.make(
    world_model.Config(
        latent_size=8,
        hidden_size=12,
        encoder_size=40,
        attention_size=6,
        projection_size=9,
        value_bins=13,
        reward_bins=11,
    ),
    SPEC,
)


@cache
def learner(config: mazero.Config = CONFIG, total_updates: int = 50):
    return mazero.make(config, MODEL, run_plan(SPEC, 0.9, total_updates))


@cache
def update(config: mazero.Config = CONFIG, total_updates: int = 50):
    return quick_jit(learner(config, total_updates).update)


def random_batch(seed: int, ends: float = 0.3, rows: int = B) -> Batch:
    """Return sequences of random rows in which episodes end often, by themselves or cut off."""
    rng, length = np.random.default_rng(seed), U + STEPS
    over = rng.random((rows, length)) < ends
    by_itself = rng.random((rows, length)) < 0.5
    policy = rng.dirichlet(np.ones(A), (rows, length, N))
    action = rng.integers(A, size=(rows, length, N))
    traj = Transition(
        obs=rng.normal(size=(rows, length, N, O)),
        state=np.zeros((rows, length, 2)),
        legal=np.ones((rows, length, N, A), bool),
        present=np.ones((rows, length, N), bool),
        alive=np.ones((rows, length, N), bool),
        first=np.zeros((rows, length), bool),
        action=action,
        extras=SearchExtras(
            policy=policy,
            value=np.zeros((rows, length)),
            committed=action,
            rank=np.argsort(rng.random((rows, length, N)), axis=-1),
        ),
        reward=rng.normal(size=(rows, length, N)),
        terminated=over & by_itself,
        truncated=over & ~by_itself,
        next_obs=rng.normal(size=(rows, length, N, O)),
        next_state=np.zeros((rows, length, 2)),
        next_legal=np.ones((rows, length, N, A), bool),
        next_alive=np.ones((rows, length, N), bool),
        env_step=np.zeros((rows, length), np.int32),
    )
    batch = Batch(traj=traj, index=np.arange(rows), weight=np.ones(rows), priority=np.ones(rows))
    narrow = {np.dtype(np.float64): np.float32, np.dtype(np.int64): np.int32}
    return jax.tree.map(lambda x: jnp.asarray(x.astype(narrow.get(x.dtype, x.dtype))), batch)


def randomised(params, seed: int = 0):
    """Return parameters without zeros: heads start at zero and would hide what they are given."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return tree.unflatten([x + 0.3 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)])


@pytest.mark.parametrize("ends", [0.0, 0.3, 0.8])
def test_value_targets_equal_a_walk_through_the_rows(ends):
    batch = random_batch(3, ends)
    params = randomised(learner().init(jax.random.key(0)).params)
    reward = team_reward(batch.traj.reward, shared=False)
    got = quick_jit(lambda p, traj, r: mazero.value_targets(CONFIG, MODEL, 0.9, p, traj, r))(params, batch.traj, reward)
    nobody = jnp.zeros(batch.traj.action.shape, bool)
    latent = mazero.represent(MODEL, params, batch.traj.next_obs)
    next_value = committed_value(MODEL.team_value, params, latent, batch.traj.action, nobody)
    for b in range(B):
        streams = (reward[b], batch.traj.terminated[b], batch.traj.truncated[b], next_value[b])
        expected = [n_step_target(*map(np.asarray, streams), 0.9, STEPS, k)[0] for k in range(U + 1)]
        np.testing.assert_allclose(got[b], expected, rtol=2e-4, atol=2e-4)


def loss_of(params, batch: Batch, values=None):
    """Return the scalar loss of a batch, with given value targets."""
    streams = (batch.traj.terminated, batch.traj.truncated)
    alive, known = (
        jnp.asarray(x) for x in zip(*(masks(*map(np.asarray, s), U) for s in zip(*streams, strict=True)), strict=True)
    )
    targets = mazero.Targets(
        reward=team_reward(batch.traj.reward, shared=False),
        value=jnp.zeros((batch.traj.action.shape[0], U + 1)) if values is None else values,
        alive=alive.astype(jnp.float32),
        known=known.astype(jnp.float32),
    )
    return mazero.loss(CONFIG, MODEL, params, batch, targets, jax.random.key(0))[0]


def ended(flag: str) -> Batch:
    """Return one batch in which every first row ends its episode, by `flag`, and nothing else ends."""
    batch = random_batch(5, ends=0.0)
    ends = jnp.zeros(batch.traj.terminated.shape, bool).at[:, 0].set(True)
    return batch.replace(traj=batch.traj.replace(**{flag: ends}))


@pytest.mark.parametrize("flag", ["terminated", "truncated"])
def test_what_follows_an_end_does_not_teach(flag):
    """Policies, rewards and observations of the next episode leave the loss alone; those of this episode do not."""
    batch, params = ended(flag), randomised(learner().init(jax.random.key(0)).params)
    other = random_batch(6, ends=0.0).traj

    def changed(row):
        def put(old, new):
            return old.at[:, row].set(new[:, row])

        traj = batch.traj
        return batch.replace(
            traj=traj.replace(
                reward=put(traj.reward, other.reward),
                next_obs=put(traj.next_obs, other.next_obs),
                extras=traj.extras.replace(policy=put(traj.extras.policy, other.extras.policy)),
            )
        )

    base = loss_of(params, batch)
    np.testing.assert_allclose(loss_of(params, changed(1)), base, rtol=1e-6)
    assert abs(loss_of(params, changed(0)) - base) > 1e-4


def test_after_a_true_end_values_are_fitted_to_zero_and_after_a_cut_off_to_nothing():
    params = randomised(learner().init(jax.random.key(0)).params)
    far = jnp.zeros((B, U + 1)).at[:, 1:].set(5.0)
    for flag in ("terminated", "truncated"):
        batch = ended(flag)
        np.testing.assert_allclose(loss_of(params, batch, far), loss_of(params, batch), rtol=1e-6)
    # Of the two, only the true end has something to say about the position after it: its value is zero.
    assert loss_of(params, ended("terminated")) > loss_of(params, ended("truncated")) + 1e-3


def test_contexts_are_those_who_committed_before():
    rng = np.random.default_rng(0)
    rank = jnp.asarray(np.argsort(rng.random((400, N)), axis=-1))
    visible, committed = mazero.contexts(rank, jax.random.key(1), 0.0)
    for row, see, told in zip(np.asarray(rank), np.asarray(visible), np.asarray(committed), strict=True):
        expected = np.array([[row[j] < row[i] for j in range(N)] for i in range(N)])
        np.testing.assert_array_equal(see, expected)
        assert any((told == line).all() for line in expected)
    assert set(np.asarray(committed).sum(axis=-1)) == {0, 1, 2}


def test_dropout_hides_all_context_of_a_row_or_none():
    rank = jnp.tile(jnp.arange(N), (4000, 1))
    visible, committed = mazero.contexts(rank, jax.random.key(2), 0.25)
    seen = np.asarray(visible).sum(axis=(1, 2))
    assert set(seen) == {0, 3}
    assert abs((seen == 0).mean() - 0.25) < 0.04  # 5.8 standard deviations
    assert not np.asarray(committed)[seen == 0].any()
    hidden = mazero.contexts(rank, jax.random.key(3), 1.0)
    assert not any(np.asarray(x).any() for x in hidden)


def test_the_gradient_is_halved_at_each_step_of_the_unroll():
    # A model whose latent is its parameter: after u steps the gradient into the first latent is halved u times.
    latents = plain_latents(
        lambda p, obs: p * jnp.ones((*obs.shape[:-1], 1)), lambda p, latent, a: (latent, latent[..., 0, 0])
    )
    model = MODEL._replace(latents=latents)

    def last(p):
        latents, _ = mazero.unroll(
            CONFIG, model, p, jnp.zeros((1, N, O)), jnp.zeros((1, U, N), jnp.int32), jax.random.key(0)
        )
        return latents[0, -1, 0, 0]

    assert float(jax.grad(last)(1.0)) == pytest.approx(0.5**U)


def test_an_update_keeps_structure_and_types_and_compiles_once():
    state = learner().init(jax.random.key(0))
    step = jax.jit(learner().update, compiler_options={"xla_backend_optimization_level": 0})
    new, metrics, priorities = step(state, random_batch(0), jax.random.key(1))
    new, metrics, priorities = step(new, random_batch(1), jax.random.key(2))
    assert step._cache_size() == 1
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(new)] == [(x.shape, x.dtype) for x in jax.tree.leaves(state)]
    assert set(metrics) == set(learner().metric_names)
    assert float(metrics["train/learning_rate"]) == pytest.approx(float(learner().rates(1)["train/learning_rate"]))
    assert priorities.shape == (B,) and bool((priorities >= 0).all())


def test_zero_reward_stays_finite():
    batch = random_batch(2)
    batch = batch.replace(traj=batch.traj.replace(reward=jnp.zeros_like(batch.traj.reward)))
    state, metrics, _ = update()(learner().init(jax.random.key(0)), batch, jax.random.key(1))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((state, metrics)))


def test_targets_beyond_the_support_are_counted_and_remarked_on():
    model, name = world_model.make(world_model.Config(value_limit=5.0), SPEC), "train/value_clipped"
    scalars = jnp.asarray([-36.0, -34.0, 0.0, 1e-3, 30.0, 34.0, 36.0, 80.0])  # h(34.46) = 5
    share = mazero.clipped(scalars, model.team_value.codec.target(scalars), model.team_value.codec.mean)
    assert float(share) == 3 / 8
    assert mazero.remarks({name: 0.01}) == {} == mazero.remarks({})
    (about, text), *more = mazero.remarks({name: 0.375, "train/reward_clipped": 0.0}).items()
    assert about == "value" and not more
    assert "38%" in text and "network_args.value_limit" in text and "learner_args.reward_scale" in text


def test_the_target_network_is_a_copy_every_period():
    state = learner().init(jax.random.key(0))
    for step in range(1, 7):
        before = state.target
        state, _, _ = update()(state, random_batch(step), jax.random.key(step))
        expected = state.params if step % 3 == 0 else before
        for got, want in zip(jax.tree.leaves(state.target), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(got, want)


def test_one_batch_can_be_learned_by_heart():
    config = dataclasses.replace(CONFIG, context_dropout=0.0, learning_rate=1e-2, target_period_updates=10_000)
    state, batch = learner(config).init(jax.random.key(0)), random_batch(4, ends=0.1, rows=3)
    losses = []
    for _ in range(150):
        state, metrics, _ = update(config, total_updates=1000)(state, batch, jax.random.key(0))
        losses.append({name: float(value) for name, value in metrics.items()})
    assert losses[-1]["search/policy_kl"] < 0.5 * losses[0]["search/policy_kl"]
    assert losses[-1]["search/value_error"] < 0.3 * losses[0]["search/value_error"]
    assert losses[-1]["train/consistency_loss"] < -0.9


def test_importance_weights_scale_each_sequence():
    params, batch = randomised(learner().init(jax.random.key(0)).params), random_batch(8)
    alone = [float(loss_of(params, batch.replace(weight=jnp.zeros(B).at[b].set(1.0)))) for b in range(B)]
    weight = jnp.linspace(0.1, 1.0, B)
    assert float(loss_of(params, batch.replace(weight=weight))) == pytest.approx(float(np.dot(weight, alone)), rel=1e-5)


def awpo_by_hand(kept: Candidates, alive: np.ndarray, log_policy: np.ndarray, alpha: float, clip: float) -> np.ndarray:
    """Return - sum_a w(a) min(exp(A(a) / alpha), clip) log pi(a) of every root [B, U +
    1], over joint actions, in loops.
    """
    weights, advantages = np.array(kept.weights), np.array(kept.advantages)
    valid = [advantages[root][weights[root] > 0] for root in np.ndindex(*alive.shape) if alive[root]]
    mean, deviation = np.concatenate(valid).mean(), np.concatenate(valid).std()
    loss = np.zeros(alive.shape)
    for b, u, k in np.ndindex(*weights.shape):
        factor = min(np.exp((advantages[b, u, k] - mean) / deviation / alpha), clip)
        joint = sum(log_policy[b, u, i, kept.actions[b, u, k, i]] for i in range(N))
        loss[b, u] -= weights[b, u, k] * factor * joint
    return loss


def test_advantage_weighted_targets_are_the_papers_loss_over_joint_actions():
    rng, num = np.random.default_rng(9), 4
    weights = rng.dirichlet(np.ones(num), (B, U + 1))
    weights[..., 1] = 0.0  # a duplicate
    kept = Candidates(
        actions=jnp.asarray(rng.integers(A, size=(B, U + 1, num, N))),
        weights=jnp.asarray(weights, jnp.float32),
        advantages=jnp.asarray(3.0 + rng.normal(size=(B, U + 1, num)), jnp.float32),
    )
    extras = random_batch(1).traj.extras.replace(policy=jnp.zeros((B, U + 1, N, A)), candidates=kept)
    alive = (rng.random((B, U + 1)) < 0.7).astype(np.float32)
    logits = rng.normal(size=(B, U + 1, N, A)).astype(np.float32)
    config = dataclasses.replace(CONFIG, policy_loss="advantage_weighted", awpo_alpha=0.8, awpo_clip=2.0)
    target = mazero.policy_targets(config, extras, jnp.asarray(alive))
    log_policy = np.array(jax.nn.log_softmax(logits, axis=-1))
    expected = awpo_by_hand(kept, alive, log_policy, 0.8, 2.0)
    np.testing.assert_allclose(-np.sum(np.array(target) * log_policy, axis=(-2, -1)), expected, rtol=1e-4)
    assert mazero.policy_targets(CONFIG, extras, jnp.asarray(alive)) is extras.policy


def test_a_model_with_a_memory_is_refused_because_single_rows_are_learned_from():
    remembering = MODEL._replace(latents=MODEL.latents._replace(memory=lambda batch: jnp.zeros((batch, 4))))
    with pytest.raises(ValueError, match="cannot train a network that has a memory"):
        mazero.make(CONFIG, remembering, run_plan(SPEC, 0.9))


def test_acting_needs_no_parameters_of_self_supervision():
    state = learner().init(jax.random.key(0))
    assert state.params.keys() - learner().acting(state).keys() == {"projector", "predictor"}
