"""The Q-learner against slow references, its masks, and the promises every learner makes."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.learners import q, value_targets
from tandem.ops import backups
from tests.learners.rollouts import SPEC, E, N, T
from tests.learners.value_rows import model_of, random_sequences, slow_reading, slow_vdn_targets
from tests.reference.compiled import quick_jit
from tests.reference.run_plans import run_plan

DISCOUNT, BURN = 0.9, 3
SETTINGS = {"sequence": T, "td_lambda": 0.7, "reward_scale": 2.0, "learning_rate": 1e-2, "target_period_updates": 3}


def config(**changes) -> q.Config:
    return q.Config(**SETTINGS | changes)


@cache
def parts(mixer: str = "sum", memory: str = "gru", **changes):
    """Return (model's face, learner, its compiled update, a fresh state whose target is another network, sequences)."""
    model = model_of(mixer=mixer, memory=memory)
    learner = q.make(config(**changes), model, run_plan(SPEC, DISCOUNT))
    state = learner.init(jax.random.key(0)).replace(target=model.init(jax.random.key(1)))
    batch = quick_jit(lambda params: random_sequences(model.q_values, params, 1))(state.params)
    return model.q_values, learner, quick_jit(learner.update), state, batch


def cut(traj, first: int):
    return jax.tree.map(lambda x: x[:, first:], traj)


def targets_of(face, state, batch, **changes):
    """Return the targets [E, T, M] of sequences without burn-in."""
    settings = config(**changes)
    traj, networks = batch.traj, (state.params, state.target)
    reward = 2.0 * traj.reward.sum(axis=-1)

    def found(networks, traj):
        memories = tuple(q.start(settings, face, params, traj) for params in networks)
        after = q.successors(settings, backups.greedy, face, networks, memories, traj)
        return value_targets.targets(reward, after, traj, DISCOUNT, settings.td_lambda)

    return np.asarray(quick_jit(found)(networks, traj))


@pytest.mark.parametrize("double_q", [True, False])
def test_targets_equal_a_walk_through_the_rows_with_memories_carried_by_hand(double_q):
    face, _, _, state, batch = parts()
    traj, memory = batch.traj, batch.traj.extras.memory[:, 0]
    by_valuer = slow_reading(face, state.target, traj, memory)[1]
    by_judge = slow_reading(face, state.params, traj, memory)[1] if double_q else by_valuer
    expected = slow_vdn_targets(by_judge, by_valuer, traj, 2.0 * traj.reward.sum(axis=-1), DISCOUNT, 0.7)
    found = targets_of(face, state, batch, double_q=double_q)
    np.testing.assert_allclose(found[..., 0], expected, rtol=1e-4, atol=1e-4)


def test_a_target_at_an_end_never_depends_on_the_streams_next_row():
    face, _, _, state, batch = parts()
    traj = batch.traj
    over = np.asarray(traj.terminated | traj.truncated)
    later = traj.replace(  # every episode but a sequence's first is another one
        **{
            name: jnp.where(jnp.expand_dims(jnp.cumsum(traj.first, axis=1) > 1, range(2, x.ndim)), x + 7.0, x)
            for name, x in (("obs", traj.obs), ("next_obs", traj.next_obs), ("reward", traj.reward))
        }
    )
    before, after = (targets_of(face, state, batch.replace(traj=each)) for each in (traj, later))
    for e in range(E):
        ends = np.flatnonzero(over[e])
        if len(ends) and not traj.first[e, 0]:
            np.testing.assert_allclose(before[e, : ends[0] + 1], after[e, : ends[0] + 1], rtol=1e-5)
    assert not np.allclose(before, after)
    moved = targets_of(face, state, batch.replace(traj=traj.replace(next_obs=traj.next_obs + 1.0)), td_lambda=0.0)
    still = targets_of(face, state, batch, td_lambda=0.0)
    ended = np.asarray(traj.terminated)
    np.testing.assert_allclose(still[ended][:, 0], 2.0 * np.asarray(traj.reward.sum(axis=-1))[ended], rtol=1e-5)
    np.testing.assert_array_equal(moved[ended], still[ended])
    assert (moved[np.asarray(traj.truncated)] != still[np.asarray(traj.truncated)]).all()


def objective(face, state, batch, target, **changes):
    """Return the scalar loss as a function of the parameters and the observations."""

    def loss(params, obs):
        traj = batch.traj.replace(obs=obs)
        fit = value_targets.fit(face, params, batch.traj.extras.memory[:, 0], traj, target)
        return q.loss(config(**changes), fit, batch.weight)[0]

    return loss


@pytest.mark.parametrize("mixer", ["none", "sum", "monotone"])
def test_no_gradient_comes_from_the_dead(mixer):
    face, _, _, state, batch = parts(mixer=mixer)
    dead = ~np.asarray(batch.traj.alive)
    last = np.zeros((E, T), bool)
    last[:, -1] = True  # earlier rows also act through the memory
    target = jnp.zeros((E, T, N if mixer == "none" else 1))
    slope = quick_jit(jax.grad(objective(face, state, batch, target), argnums=1))(state.params, batch.traj.obs)
    assert (np.asarray(slope)[dead & last[..., None]] == 0).all()
    assert (np.abs(np.asarray(slope)[~dead & last[..., None]]).sum(axis=-1) > 0).all()


def test_the_loss_is_the_mean_over_what_counts_and_priorities_mix_the_largest_and_the_mean_error():
    face, _, _, state, batch = parts(mixer="none")
    memory, target = batch.traj.extras.memory[:, 0], jnp.ones((E, T, N))
    weighed = batch.replace(weight=jnp.arange(1.0, E + 1) / E)
    found, (metrics, priorities) = quick_jit(
        lambda params: q.loss(
            config(loss="squared"), value_targets.fit(face, params, memory, weighed.traj, target), weighed.weight
        )
    )(state.params)
    values, _ = slow_reading(face, state.params, batch.traj, memory)
    total, count, sizes = 0.0, 0, [[] for _ in range(E)]
    for e, t, i in np.argwhere(np.asarray(batch.traj.alive)):
        error = values[e, t, i, batch.traj.action[e, t, i]] - 1.0
        total += 0.5 * weighed.weight[e] * error**2
        count += 1
        sizes[e].append(abs(error))
    np.testing.assert_allclose(found, total / count, rtol=1e-4)
    np.testing.assert_allclose(priorities, [0.9 * max(x) + 0.1 * np.mean(x) for x in sizes], rtol=1e-4)
    np.testing.assert_allclose(metrics["train/td_error"], np.mean(np.concatenate(sizes)), rtol=1e-4)


def test_rows_that_are_burned_in_bring_the_memory_up_to_date_and_are_not_learned_from():
    face, _, _, state, batch = parts()
    settings = config(burn_in=BURN, sequence=T - BURN)
    warm = quick_jit(lambda params, traj: q.start(settings, face, params, traj))(state.params, batch.traj)
    before = jax.tree.map(lambda x: x[:, :BURN], batch.traj)
    memory = batch.traj.extras.memory[:, 0]
    expected = face.values(state.params, memory, before.obs, before.first, before.legal)[0][:, -1]
    np.testing.assert_allclose(warm, expected, rtol=1e-5, atol=1e-6)
    cold = q.start(config(initial_memory="zero"), face, state.params, batch.traj)
    assert not np.asarray(cold).any() and np.asarray(memory).any()
    _, _, update, fresh, _ = parts(burn_in=BURN, sequence=T - BURN)
    changed = batch.traj.reward.at[:, :BURN].add(5.0)
    one, other = (
        update(fresh, batch.replace(traj=batch.traj.replace(reward=x)), jax.random.key(0))[0].params
        for x in (batch.traj.reward, changed)
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("changes", [{}, {"target_rate": 0.25}], ids=["copied", "moved"])
def test_the_target_network_follows(changes):
    _, _, update, state, batch = parts(**changes)
    expected = state.target
    for step in range(1, 5):
        state = update(state, batch, jax.random.key(step))[0]
        if changes:
            expected = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, expected, state.params)
        elif step % 3 == 0:
            expected = state.params
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.target, expected)


@pytest.mark.parametrize("mixer", ["none", "sum", "monotone"])
def test_updates_fit_one_batch(mixer):
    face, _, update, state, batch = parts(mixer=mixer)
    start = state
    for i in range(60):
        state, metrics, priorities = update(state.replace(target=start.target), batch, jax.random.key(i))
        if i == 0:
            begun = float(metrics["train/loss"])
    assert float(metrics["train/loss"]) < 0.9 * begun and np.isfinite(np.asarray(priorities)).all()


@cache
def beside_update(weight: float):
    """Return the update of a learner that learns one more parameter and pushes values down by a weight."""

    def loss(params, traj, learned, key):
        del key, traj
        return params["more"] ** 2 + weight * jnp.mean(learned.values), {"train/more": params["more"]}

    face, _, _, state, batch = parts()
    beside = q.Beside(
        names=("more",), init=lambda key, params: params | {"more": jnp.ones(())}, loss=loss,
        opinion=lambda params, traj: q.Opinion((), ()), metric_names=("train/more",),
    )  # fmt: skip
    learner = q.assemble(config(), q.Method(beside=beside), model_of(memory="gru"), run_plan(SPEC, DISCOUNT))
    return quick_jit(learner.update)(learner.init(jax.random.key(0)), batch, jax.random.key(0))


def test_what_is_learned_beside_the_values_is_added_to_the_loss_and_stepped_by_itself():
    state, metrics, _ = beside_update(0.0)
    assert float(metrics["train/more"]) == 1.0
    np.testing.assert_allclose(state.params["more"], 0.99, rtol=1e-4)  # Adam's first step is the learning rate's
    pushed, higher, _ = beside_update(100.0)
    np.testing.assert_allclose(pushed.params["more"], 0.99, rtol=1e-4)
    assert float(higher["train/loss"]) != float(metrics["train/loss"])
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.params["agents"], pushed.params["agents"])
    assert any(jax.tree.leaves(moved))


def test_the_targets_units_are_those_of_the_copied_network():
    model = model_of(mixer="sum")
    learner = q.make(config(reward_scale=0.0, td_lambda=0.0), model, run_plan(SPEC, DISCOUNT))
    state, update = learner.init(jax.random.key(0)), quick_jit(learner.update)
    batch = random_sequences(model.q_values, state.params, 1)
    state, metrics, _ = update(state, batch, jax.random.key(0))
    assert float(metrics["train/reward_scale"]) != 1.0
    half = batch.replace(traj=batch.traj.replace(reward=100.0 * batch.traj.reward))
    for i in range(3):
        state, metrics, _ = update(state, half, jax.random.key(i))
    assert float(state.stats.target_scale) != float(metrics["train/reward_scale"])
    assert np.isfinite([float(x) for x in metrics.values()]).all()


@pytest.mark.parametrize(
    "memory, changes, words",
    [
        ("none", {"burn_in": 2}, ["learner_args.burn_in=2", "network_args.memory=gru"]),
        ("gru", {"target_rate": 0.1, "reward_scale": 0.0}, ["learner_args.target_rate=0.1", "reward_scale above 0"]),
    ],
)
def test_settings_that_cannot_work_are_refused(memory, changes, words):
    with pytest.raises(ValueError) as caught:
        q.make(config(**changes), model_of(memory=memory), run_plan(SPEC, DISCOUNT))
    assert all(word in str(caught.value) for word in words)


def test_a_method_can_bring_another_backup_that_reads_what_made_the_data():
    face, _, _, state, batch = parts(memory="none")
    by_chance = batch.traj.next_legal / batch.traj.next_legal.sum(axis=-1, keepdims=True)
    networks = (state.params, state.target)
    found = quick_jit(lambda traj: q.successors(config(), backups.expected, face, networks, ((), ()), traj, by_chance))(
        batch.traj
    )
    _, values = slow_reading(face, state.target, batch.traj, ())
    legal, alive = np.asarray(batch.traj.next_legal), np.asarray(batch.traj.next_alive)
    means = np.where(legal, values, 0.0).sum(axis=-1) / legal.sum(axis=-1)
    np.testing.assert_allclose(found[..., 0], np.where(alive, means, 0.0).sum(axis=-1), rtol=1e-4, atol=1e-5)
