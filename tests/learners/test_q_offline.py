"""Q-learning from recorded data: the behaviour beside the values, what is held down, and what is measured."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.learners import cloning, icq, offline_metrics, q, q_offline, value_targets
from tandem.models import q_behaviour
from tandem.ops.masking import masked_softmax
from tests.learners.rollouts import SPEC, A, E, N, T
from tests.learners.value_rows import random_sequences
from tests.reference.compiled import quick_jit
from tests.reference.run_plans import run_plan

DISCOUNT, BURN = 0.9, 2
SETTINGS = {"sequence": T - BURN, "burn_in": BURN, "reward_scale": 2.0, "learning_rate": 1e-2}


def model_of(mixer: str = "sum"):
    return q_behaviour.make(
        q_behaviour.Config(hidden_size=6, num_layers=1, memory="gru", mixer=mixer, head_gain=1.0), SPEC
    )


@cache
def sequences():
    """Return (parameters, random sequences)."""
    model = model_of()
    params = model.init(jax.random.key(0))
    return params, quick_jit(lambda params: random_sequences(model.q_values, params, 1))(params)


def config(**changes) -> q_offline.Config:
    return q_offline.Config(**SETTINGS | changes)


def learner_of(mixer: str = "sum", **changes):
    return q_offline.make(config(**changes), model_of(mixer), run_plan(SPEC, DISCOUNT))


@cache
def updated(**changes):
    """Return the parameters before and after one update, and its metrics."""
    learner = learner_of(**changes)
    state = learner.init(jax.random.key(0))
    after, metrics, _ = quick_jit(learner.update)(state, sequences()[1], jax.random.key(1))
    return state.params, after.params, {name: float(x) for name, x in metrics.items()}


def changed(a, b) -> bool:
    return any(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), a, b)))


def test_the_weight_of_the_penalty_counts_and_the_behaviour_learns_alike():
    begun, free, metrics = updated(conservatism="agent", conservatism_weight=0.0)
    _, held, more = updated(conservatism="agent", conservatism_weight=1.0)
    assert changed(free["agents"], held["agents"]) and changed(begun["agents"], free["agents"])
    assert more["train/conservatism"] > 0.0 == metrics["train/conservatism"]
    assert changed(begun["behaviour"], free["behaviour"])
    jax.tree.map(np.testing.assert_array_equal, free["behaviour"], held["behaviour"])


def test_the_behaviours_logits_are_those_of_a_walk_through_the_rows():
    model, (params, batch) = model_of(), sequences()
    found = quick_jit(lambda traj: cloning.behaviour_logits(model.behaviour, params, traj, BURN))(batch.traj)
    step, memory = jax.jit(model.behaviour.logits), model.behaviour.memory(E)
    for t in range(T):
        row = jax.tree.map(lambda x: x[:, t : t + 1], batch.traj)  # noqa: B023
        after, now = step(params, memory, row.obs, row.first)
        memory = after[:, 0]
        _, then = step(params, memory, row.next_obs, jnp.zeros_like(row.first))
        for logits, expected in zip(found, (now, then), strict=True):
            if t >= BURN:
                np.testing.assert_allclose(logits[:, t - BURN], expected[:, 0], rtol=1e-4, atol=1e-5)


def test_only_agents_with_a_choice_count_for_the_behaviour():
    rows = sequences()[1].traj
    logits, weight = (
        jnp.asarray(np.random.default_rng(0).normal(size=(E, T, N, A)), jnp.float32),
        jnp.arange(1.0, E + 1),
    )
    found, slope = jax.value_and_grad(lambda logits: cloning.behaviour_loss(logits, rows, weight))(logits)
    policy, losses = np.asarray(masked_softmax(logits, rows.legal)), []
    free = np.asarray(rows.alive) & (np.asarray(rows.legal).sum(axis=-1) > 1)
    for at in map(tuple, np.argwhere(free)):
        losses.append(-float(weight[at[0]]) * np.log(policy[at][rows.action[at]]))
    np.testing.assert_allclose(found, np.mean(losses), rtol=1e-4)
    assert (np.asarray(slope)[~free] == 0).all() and free.any() and not free.all()


def test_returns_to_go_are_known_where_the_rest_of_an_episode_that_ends_is_in_the_sequence():
    rows, reward = sequences()[1].traj, np.random.default_rng(3).normal(size=(E, T)).astype(np.float32)
    for num_values in (1, N):
        paid, known = (np.asarray(x) for x in offline_metrics.returns_to_go(rows, reward, DISCOUNT, num_values))
        alive, seen = np.asarray(rows.next_alive), set()
        for e, t, m in np.ndindex(E, T, num_values):
            total, ends = 0.0, False
            for later in range(t, T):
                total += DISCOUNT ** (later - t) * reward[e, later]
                lives = alive[e, later, m] if num_values > 1 else alive[e, later].any()
                ends = bool(rows.terminated[e, later]) or not lives
                if ends or rows.truncated[e, later]:
                    break
            assert known[e, t, m] == ends
            seen.add(ends)
            if ends:
                np.testing.assert_allclose(paid[e, t, m], total, rtol=1e-4, atol=1e-5)
        assert seen == {True, False}


def test_the_next_action_of_the_data_is_that_of_the_next_row_of_the_episode():
    rows = sequences()[1].traj
    behaviour = jnp.full((E, T, N, A), 1.0 / A)
    found = np.asarray(q_offline.played_next(rows, behaviour))
    over = np.asarray(rows.terminated | rows.truncated)
    for e, t, i in np.ndindex(E, T, N):
        goes_on = t + 1 < T and not over[e, t] and not rows.first[e, t + 1]
        expected = np.eye(A)[rows.action[e, t + 1, i]] if goes_on else np.full(A, 1.0 / A)
        np.testing.assert_allclose(found[e, t, i], expected, rtol=1e-6)


@pytest.mark.parametrize("backup", q_offline.BACKUPS)
def test_no_target_depends_on_the_row_after_an_end(backup):
    settings = config(backup=backup, burn_in=0, sequence=T)
    model, (params, batch) = model_of(), sequences()
    beside = q_offline.beside(settings, model, run_plan(SPEC, DISCOUNT), q_offline.imitation())

    @quick_jit
    def targets(traj):
        then = beside.opinion(params, traj).then
        memories = (model.q_values.memory(E),) * 2
        after = q.successors(
            settings, q_offline.BACKUPS[backup](settings), model.q_values, (params, params), memories, traj, then
        )
        reward = traj.reward.sum(axis=-1)
        return after, value_targets.targets(reward, after, traj, DISCOUNT, 0.0)[..., 0], reward

    after, target, reward = targets(batch.traj)
    ended, cut = np.asarray(batch.traj.terminated), np.asarray(batch.traj.truncated)
    np.testing.assert_allclose(target[ended], reward[ended], rtol=1e-5)
    np.testing.assert_allclose(target[cut], (reward + DISCOUNT * after[..., 0])[cut], rtol=1e-4, atol=1e-5)
    moved = batch.traj.replace(obs=jnp.where(batch.traj.first[..., None, None], 9.0, batch.traj.obs))
    early = np.cumsum(np.asarray(batch.traj.first)[:, 1:], axis=1) == 0  # rows before a sequence's next episode
    early = np.concatenate([np.ones((E, 1), bool), early], axis=1) & ~np.asarray(batch.traj.first[:, :1])
    np.testing.assert_allclose(np.asarray(targets(moved)[1])[early], np.asarray(target)[early], rtol=1e-5)


@pytest.mark.parametrize("kind", ["joint", "counterfactual"])
def test_a_penalty_on_the_teams_value_needs_one(kind):
    with pytest.raises(ValueError, match="choose conservatism=agent, or another mixer"):
        learner_of(mixer="none", conservatism=kind)


def test_the_policys_weights_have_a_mean_of_one_under_the_behaviour_in_every_state():
    rng = np.random.default_rng(5)
    rows = sequences()[1].traj
    behaviour = masked_softmax(jnp.float32(rng.normal(size=(E, T, N, A))), rows.legal)
    values = jnp.float32(np.where(rows.legal, rng.normal(size=(E, T, N, A)), 1e6))
    share = jnp.array([0.5, 2.0, 1.0]).reshape(1, 1, N)
    settings = icq.Config(sequence=T, policy_temperature=0.7, largest_weight=1e6)

    def weight(action):
        learned = q.Learned(
            rows.replace(action=action), (), values, (), (), lambda each: jnp.sum(share * each, -1, keepdims=True),
            (), 1.0, q.Opinion(behaviour, ()),
        )  # fmt: skip
        return icq.weights(settings, learned)

    every = np.stack([np.asarray(weight(jnp.full((E, T, N), a, jnp.int32))) for a in range(A)], axis=-1)
    every = np.where(rows.legal, every, 0.0)
    np.testing.assert_allclose((every * np.asarray(behaviour)).sum(axis=-1), 1.0, rtol=1e-4)
    at = (2, 3, 1)
    legal = np.flatnonzero(rows.legal[at])
    expected = np.exp(2.0 * np.asarray(values)[at][legal] / 0.7)
    np.testing.assert_allclose(every[at][legal] / every[at][legal].sum(), expected / expected.sum(), rtol=1e-4)
