"""Discrete soft actor-critic: its targets and losses against sums written out, and a game that it learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import PolicyExtras, Transition
from tandem.data import uniform
from tandem.envs.matrix_game import Config as Game
from tandem.envs import matrix_game
from tandem.learners import sac
from tandem.learners.soft_expectations import wanted_entropy
from tandem.models import soft_actor_critic
from tandem.ops.distributions import draw
from tandem.ops.masking import masked_logits
from tandem.planners.policies import soft_actor
from tandem.runners import jax_sync
from tests.learners.rollouts import SPEC, A, E, N, T, batch_of, random_rows
from tests.reference.compiled import quick_jit
from tests.reference.run_plans import run_plan
from tests.reference.small_runs import last, without_signal

CONFIG = sac.Config(sequence=T, reward_scale=2.0, target_rate=0.25, learning_rate=1e-2)
NETWORK = soft_actor_critic.Config(hidden_size=6, num_layers=1, head_gain=1.0)
PLAN = run_plan(SPEC, 0.9)


@pytest.fixture(scope="module", params=["own", "central"])
def parts(request):
    """Return (face, expectations, learner's compiled update, state with another target, batch)."""
    model = soft_actor_critic.make(dataclasses.replace(NETWORK, critic_input=request.param), SPEC)
    learner = sac.make(CONFIG, model, PLAN)
    state = learner.init(jax.random.key(0)).replace(target=model.init(jax.random.key(1))["critics"])
    nothing = jnp.zeros((E, T, N))
    extras = PolicyExtras(log_prob=nothing, policy=jnp.zeros((E, T, N, A)), entropy=nothing)
    return (
        model.soft_actor_critic,
        sac.expected(CONFIG, model, PLAN),
        quick_jit(learner.update),
        state,
        batch_of(Transition(extras=extras, **random_rows(1))),
    )


def legal_policy(logits, legal):
    """Return probabilities over legal actions, of one agent."""
    weights = np.where(legal, np.exp(logits - logits[legal].max()), 0.0)
    return weights / weights.sum()


def test_successors_are_worth_the_lesser_critics_mean_and_the_policys_entropy(parts):
    face, expectations, _, state, batch = parts
    traj, key = batch.traj, jax.random.key(5)
    found = quick_jit(lambda params: sac.soft_values(expectations, params, state.target, traj, key))(state.params)
    logits = np.asarray(face.policy(state.params, traj.next_obs))
    legal, alive = np.asarray(traj.next_legal), np.asarray(traj.next_alive)
    action = draw(key, masked_logits(jnp.asarray(logits), traj.next_legal))
    networks = state.params | {"critics": state.target}
    values = np.asarray(face.critics(networks, traj.next_obs, traj.next_state, action)).min(axis=0)
    for at in np.ndindex(E, T, N):
        policy = legal_policy(logits[at], legal[at])
        terms = [p * (values[at][a] - 0.1 * np.log(p)) for a, p in enumerate(policy) if p > 0]
        np.testing.assert_allclose(found[at], sum(terms) if alive[at] else 0.0, rtol=1e-3, atol=1e-4)


def test_each_loss_trains_its_own_part_and_is_the_mean_that_it_says(parts):
    face, expectations, _, state, batch = parts
    traj, target = batch.traj, jnp.ones((E, T, N))
    key = jax.random.key(0)
    run = quick_jit(
        jax.value_and_grad(lambda params: sac.loss(CONFIG, expectations, params, batch, target, key), has_aux=True)
    )
    (_, (metrics, _)), slopes = run(state.params)
    values = np.asarray(face.critics(state.params, traj.obs, traj.state, traj.action))
    logits, legal = np.asarray(face.policy(state.params, traj.obs)), np.asarray(traj.legal)
    of_critics, of_policy, short = [], [], []
    for at in np.argwhere(np.asarray(traj.alive)):
        at = tuple(at)
        played = values[:, *at, traj.action[at]]
        of_critics.append(0.5 * ((played - 1.0) ** 2).sum())
        if legal[at].sum() > 1:
            policy = legal_policy(logits[at], legal[at])
            logs = np.log(np.maximum(policy, 1e-30))
            of_policy.append((policy * (0.1 * logs - values[:, *at].min(axis=0)))[legal[at]].sum())
            wanted = -0.975 * np.log(0.975) - 0.025 * np.log(0.025 / (legal[at].sum() - 1))
            short.append(-(policy * logs).sum() - wanted)
    np.testing.assert_allclose(metrics["train/critic_loss"], np.mean(of_critics), rtol=1e-3)
    np.testing.assert_allclose(metrics["train/policy_loss"], np.mean(of_policy), rtol=1e-3)
    np.testing.assert_allclose(slopes["log_temperature"], 0.1 * np.mean(short), rtol=1e-3)
    np.testing.assert_allclose(
        metrics["train/loss"], np.mean(of_critics) + np.mean(of_policy) + 0.1 * np.mean(short), rtol=1e-3
    )


def test_the_wanted_entropy_is_small_and_nothing_without_a_choice():
    legal = jnp.array([[True] * 12, [True] * 5 + [False] * 7, [True] + [False] * 11])
    np.testing.assert_allclose(wanted_entropy(legal, 0.025), [0.177, 0.152, 0.0], atol=2e-3)


def test_the_temperature_rises_while_the_policy_is_too_sure(parts):
    _, expectations, _, state, batch = parts
    sure = jax.tree.map(lambda x: 50.0 * x, state.params["actor"])
    for actor, rises in ((state.params["actor"], False), (sure, True)):
        loss = lambda t, actor=actor: sac.loss(  # noqa: E731
            CONFIG,
            expectations,
            state.params | {"actor": actor, "log_temperature": t},
            batch,
            jnp.ones((E, T, N)),
            jax.random.key(0),
        )[0]
        assert (float(jax.grad(loss)(jnp.float32(0.0))) < 0) == rises


def test_updates_move_everything_and_the_targets_follow(parts):
    _, _, update, state, batch = parts
    after, metrics, priorities = update(state, batch, jax.random.key(0))
    assert np.isfinite([float(x) for x in metrics.values()]).all() and priorities.shape == (E,)
    expected = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, state.target, after.params["critics"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), after.target, expected)


def test_a_central_critic_sees_the_others_actions_and_not_its_own():
    model = soft_actor_critic.make(dataclasses.replace(NETWORK, critic_input="central"), SPEC)
    params, face = model.init(jax.random.key(0)), model.soft_actor_critic
    obs, state, action = jnp.ones((1, N, SPEC.obs.size)), jnp.ones((1, SPEC.state.size)), jnp.zeros((1, N), jnp.int32)
    before, after = (face.critics(params, obs, state, each) for each in (action, action.at[0, 1].set(2)))
    changed = (np.asarray(before) != np.asarray(after)).any(axis=(0, 1, 3))
    np.testing.assert_array_equal(changed, [True, False, True])


def game_run(change=None):
    """Return the run of a game of penalties, whose good moves are good whatever the other does: 8 at best."""
    env = matrix_game.make(Game(payoff=((8, 2, -3), (1, 0, -5), (-4, -6, -12)), relabel=True))
    model = soft_actor_critic.make(dataclasses.replace(NETWORK, hidden_size=16, head_gain=0.01), env.spec)
    planner = soft_actor.make(soft_actor.Config(), model, env.spec, 0.99)
    settings = sac.Config(sequence=1, learning_rate=5e-3, target_rate=0.05, reward_scale=1.0, exploration=0.1)
    runner = jax_sync.Config(num_envs=16, rollout_length=8, updates_per_step=1 / 8, report_every=8192)
    return jax_sync.make(
        runner, change(env) if change else env, planner, {"policy": planner},
        sac.make(settings, model, run_plan(env.spec, 0.99, 1024)),
        uniform.make(uniform.Config(capacity=4096, batch_size=64, min_size=512), 16, 1), t_max=8192, max_minutes=0,
        eval_episodes=16, eval_every=8192,
    )  # fmt: skip


def test_it_learns_a_game_with_penalties():
    metrics = last(game_run(), 1)
    assert metrics["eval/policy/return"] == 8.0 and metrics["train/return"] > 3.0


def test_with_rewards_drawn_by_lot_it_does_not():
    run = game_run(without_signal)
    assert [last(run, seed)["eval/policy/return"] for seed in (1, 2, 3)] != [8.0, 8.0, 8.0]
