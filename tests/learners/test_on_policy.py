"""What learners from rollouts share, against slow references and against one unroll of the whole rollout."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.learners import on_policy, rollout_updates
from tandem.learners.on_policy import RolloutConfig
from tandem.models import actor_critic
from tandem.ops.distributions import CATEGORICAL
from tandem.ops.normalise import mean_and_std
from tests.learners.rollouts import SPEC, A, E, N, T, random_rollout
from tests.reference.advantages import generalised_advantage, running_returns
from tests.reference.compiled import quick_jit
from tests.reference.run_plans import run_plan

DISCOUNT = 0.9
GRU = actor_critic.Config(hidden_size=6, num_layers=1, actor_memory="gru", critic_memory="gru", policy_gain=1.0)
CONFIG = RolloutConfig(reward="own", advantage_normalisation=False)


@cache
def parts(network: actor_critic.Config = GRU):
    """Return (model, a learner's fresh state, a rollout)."""
    network, config = actor_critic.make(network, SPEC), RolloutConfig(reward_normalisation=True)
    plan = run_plan(SPEC, DISCOUNT, num_envs=E)
    state = quick_jit(lambda key: on_policy.init_state(config, network.init(key), plan, lambda params: ()))(
        jax.random.key(0)
    )
    model = network.actor_critic
    return model, state, quick_jit(lambda params: random_rollout(model, params, 1))(state.params)


def judged(network: actor_critic.Config = GRU, state=None, **settings):
    """Return (state, chunks, metrics) of the rollout."""
    model, fresh, batch = parts(network)
    config = dataclasses.replace(CONFIG, **settings)
    judge = quick_jit(lambda state, traj: on_policy.judge(config, model, SPEC, DISCOUNT, (0.7, 0.9), state, traj))
    return judge(fresh if state is None else state, batch.traj)


@cache
def slow_values() -> tuple[np.ndarray, np.ndarray]:
    """Return values [E, T, N] of rows and of true successors, one step after the other, memories carried by hand."""
    model, state, batch = parts()
    traj, value = batch.traj, quick_jit(model.value)
    memory = jax.tree.map(lambda x: x[:, 0], traj.extras.memory)
    values, next_values = [], []
    for t in range(T):
        row = slice(t, t + 1)
        memory, now = value(state.params, memory, traj.obs[:, row], traj.state[:, row], traj.first[:, row])
        _, then = value(state.params, memory, traj.next_obs[:, row], traj.next_state[:, row], jnp.zeros((E, 1), bool))
        values.append(now[:, 0])
        next_values.append(then[:, 0])
    return np.stack(values, axis=1), np.stack(next_values, axis=1)


def slow_advantages(reward, gae_lambda: float) -> np.ndarray:
    """Return advantages [E, T, N] of rewards [E, T, N], by the definition."""
    traj, (values, next_values) = parts()[2].traj, slow_values()
    flags = np.asarray(traj.terminated), np.asarray(traj.truncated)
    found = np.zeros((E, T, N))
    for e, t, n in np.ndindex(E, T, N):
        streams = (np.asarray(x)[e, :, n] for x in (reward, values, next_values))
        found[e, t, n] = generalised_advantage(*streams, flags[0][e], flags[1][e], DISCOUNT, gae_lambda, t)
    return found


def flat(x) -> np.ndarray:
    """Return chunks [M, L, ...] as the rollout [E, T, ...]."""
    return np.asarray(x).reshape(E, T, *x.shape[2:])


def test_advantages_and_value_targets_have_lambdas_of_their_own_and_bootstrap_from_true_successors():
    _, chunks, _ = judged()
    values, _ = slow_values()
    reward = np.asarray(parts()[2].traj.reward)
    np.testing.assert_allclose(flat(chunks.value), values, atol=1e-5)
    np.testing.assert_allclose(flat(chunks.advantage), slow_advantages(reward, 0.7), atol=1e-4)
    np.testing.assert_allclose(flat(chunks.value_target), values + slow_advantages(reward, 0.9), atol=1e-4)


def test_rewards_are_the_teams_and_divided_by_the_spread_of_their_running_returns():
    state, chunks, metrics = judged(reward="team", reward_normalisation=True)
    traj = parts()[2].traj
    team = np.asarray(traj.reward).sum(axis=-1)
    ended = np.asarray(traj.terminated | traj.truncated)
    spread = np.std([running_returns(team[e], ended[e], DISCOUNT) for e in range(E)])
    assert float(metrics["train/reward_scale"]) == pytest.approx(1 / spread, rel=1e-3)
    paid = np.repeat(team[..., None] / spread, N, axis=-1)
    np.testing.assert_allclose(flat(chunks.advantage), slow_advantages(paid, 0.7), atol=1e-4)


@pytest.mark.parametrize("length", [2, 4])
def test_the_scale_of_rewards_does_not_depend_on_where_rollouts_are_cut(length):
    # Rollouts weigh almost alike, so what is left of a difference is what a cut loses.
    settings = dict(reward="own", reward_normalisation=True, normalisation_decay=0.999999)
    model, state, batch = parts()
    config = dataclasses.replace(CONFIG, **settings)
    judge = quick_jit(lambda state, traj: on_policy.judge(config, model, SPEC, DISCOUNT, (0.7, 0.9), state, traj))
    for start in range(0, T, length):
        state, _, metrics = judge(state, jax.tree.map(lambda x: x[:, start : start + length], batch.traj))
    _, _, whole = judged(**settings)
    assert float(metrics["train/reward_scale"]) == pytest.approx(float(whole["train/reward_scale"]), rel=1e-5)


@pytest.mark.parametrize("normalisation", ["running", "popart"])
def test_value_targets_are_fitted_in_units_of_mean_zero_and_spread_one(normalisation):
    raw, (state, chunks, _) = judged()[1], judged(value_normalisation=normalisation)
    target = np.asarray(raw.value_target)
    np.testing.assert_allclose(chunks.value_target, (target - target.mean()) / target.std(), atol=1e-4)
    np.testing.assert_allclose(chunks.advantage, raw.advantage, atol=1e-4)
    old = np.asarray(raw.value)
    expected = (old - target.mean()) / target.std() if normalisation == "popart" else old
    np.testing.assert_allclose(chunks.value, expected, atol=1e-4)
    # What the network now says of the first chunk is what the chunk says it said.
    model, _, batch = parts()
    _, now = model.value(state.params, chunks.memory, chunks.obs, chunks.state, chunks.first)
    np.testing.assert_allclose(now, expected, atol=1e-4)


def test_values_are_read_in_the_units_learned_from_earlier_rollouts():
    first, *_ = judged(value_normalisation="running")
    mean, std = (float(x) for x in mean_and_std(first.stats["value"]))
    _, _, metrics = judged(state=first)
    assert abs(mean) > 0.05 and abs(std - 1.0) > 0.05
    assert float(metrics["train/value_mean"]) == pytest.approx(slow_values()[0].mean() * std + mean, rel=1e-3)


def test_advantages_are_standardised_over_the_living():
    _, chunks, _ = judged(advantage_normalisation=True)
    alive, raw = np.asarray(chunks.alive), np.asarray(judged()[1].advantage)
    expected = np.where(alive, (raw - raw[alive].mean()) / raw[alive].std(), 0.0)
    np.testing.assert_allclose(chunks.advantage, expected, atol=1e-4)


@pytest.mark.parametrize("chunk_length", [0, 4, 1])
def test_recurrent_chunks_say_what_one_unroll_of_the_whole_rollout_says(chunk_length):
    model, state, batch = parts()
    _, chunks, _ = judged(chunk_length=chunk_length)
    assert chunks.first.shape == (E * T // (chunk_length or T), chunk_length or T)
    _, logits, own = quick_jit(model.policy)(state.params, chunks.memory, chunks.obs, chunks.first)
    _, value = quick_jit(model.value)(state.params, chunks.memory, chunks.obs, chunks.state, chunks.first)
    start = jax.tree.map(lambda x: x[:, 0], batch.traj.extras.memory)
    _, whole_logits, whole_own = quick_jit(model.policy)(state.params, start, batch.traj.obs, batch.traj.first)
    for got, want in ((logits, whole_logits), (own, whole_own), (value, slow_values()[0])):
        np.testing.assert_allclose(flat(got), want, atol=1e-5)
    np.testing.assert_array_equal(flat(chunks.action), batch.traj.action)


@pytest.mark.parametrize("share_parameters", [False, True])
def test_a_spike_in_one_agents_gradients_shortens_no_others_step_unless_they_share_parameters(share_parameters):
    network = actor_critic.Config(hidden_size=6, num_layers=1, share_parameters=share_parameters)
    model = actor_critic.make(network, SPEC)
    adam, _ = rollout_updates.make_adam(CONFIG, model.actor_critic, 1e-2, 10)
    usual = jax.tree.map(lambda x: jnp.full(x.shape, 0.3), jax.eval_shape(model.init, jax.random.key(0))["actor"])
    _, state = adam.update(usual, adam.init(usual))

    def moves(spike: float) -> np.ndarray:
        """Return the second steps of the first layer's rows, or agents, but for the one with the spike."""
        steps, _ = adam.update(
            jax.tree.map(lambda x: x.at[1].mul(spike), usual), state
        )  # the first only turns to signs
        return np.delete(steps["body"]["Dense_0"]["rows"]["kernel"], 1, axis=0)

    assert np.abs(moves(1.0)).min() > 1e-3
    assert np.array_equal(moves(1.0), moves(1e3)) != share_parameters


def test_every_epoch_deals_every_chunk_once_and_in_a_new_order():
    def step(carry, batch):
        count, dealt = carry
        return (count + 1, dealt.at[count].set(batch)), {"mean": jnp.mean(batch)}

    (count, dealt), metrics = rollout_updates.run_epochs(
        step, (0, jnp.zeros((12, 3))), jnp.arange(12.0), jax.random.key(0), 3, 4
    )
    epochs = np.asarray(dealt).reshape(3, 12)
    assert int(count) == 12 and float(metrics["mean"]) == pytest.approx(5.5)
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs) and len({tuple(x) for x in epochs}) == 3


def test_the_dead_and_the_illegal_have_no_say_in_the_policy_loss():
    _, chunks, _ = judged()
    logits = jax.random.normal(jax.random.key(3), (E, T, N, A))
    gradient = jax.grad(lambda x: rollout_updates.policy_loss(CONFIG, CATEGORICAL, x, chunks)[0])(logits)
    alive, legal = np.asarray(chunks.alive), np.asarray(chunks.legal)
    assert not gradient[~alive].any() and not gradient[~legal].any()
    choice = alive & (legal.sum(axis=-1) > 1)
    assert (np.abs(gradient).max(axis=-1)[choice] > 0).mean() > 0.9


def test_the_policy_loss_of_the_acting_policy_is_minus_the_mean_advantage_and_its_divergence_nothing():
    model, state, _ = parts()
    _, chunks, _ = judged()
    _, logits, _ = model.policy(state.params, chunks.memory, chunks.obs, chunks.first)
    _, metrics = rollout_updates.policy_loss(CONFIG, CATEGORICAL, logits, chunks)
    alive = np.asarray(chunks.alive)
    assert float(metrics["train/policy_loss"]) == pytest.approx(-np.asarray(chunks.advantage)[alive].mean(), abs=1e-4)
    assert float(metrics["train/approx_kl"]) == pytest.approx(0.0, abs=1e-5)
    assert float(metrics["train/clip_fraction"]) == 0.0 and float(metrics["train/entropy"]) > 0.3


@pytest.mark.parametrize("mask_dead", [True, False])
def test_values_of_the_dead_are_fitted_unless_masked(mask_dead):
    _, chunks, _ = judged(mask_dead_values=mask_dead)
    config = dataclasses.replace(CONFIG, mask_dead_values=mask_dead, value_clip=0.5)
    gradient = np.asarray(jax.grad(lambda x: rollout_updates.value_loss(config, x, chunks))(chunks.value + 0.1))
    assert (gradient[np.asarray(chunks.alive)] != 0).all()
    assert (gradient[~np.asarray(chunks.alive)] != 0).all() == (not mask_dead)
