"""Soft actor-critic with continuous actions: its targets and losses against the definitions, and who sees what."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Numbers, PolicyExtras, Transition
from tandem.learners import sac
from tandem.models import soft_actor_critic
from tandem.ops.distributions import squashed_draw
from tests.learners.rollouts import SPEC, A, E, N, T, batch_of, random_rows
from tests.reference.compiled import quick_jit
from tests.reference.run_plans import run_plan

NUMBERS = dataclasses.replace(SPEC, actions=Numbers(A))
CONFIG = sac.Config(sequence=T, reward_scale=2.0, target_rate=0.25, learning_rate=1e-2)
NETWORK = soft_actor_critic.Config(hidden_size=6, num_layers=1, head_gain=1.0)
PLAN = run_plan(NUMBERS, 0.9)


def random_batch():
    """Return rows with numbers in (-1, 1), and zeros where an agent has none."""
    rows, nothing = random_rows(1), jnp.zeros((E, T, N))
    played = jax.random.uniform(jax.random.key(2), (E, T, N, A), minval=-1.0)
    extras = PolicyExtras(log_prob=nothing, policy=jnp.zeros((E, T, N, A)), entropy=nothing)
    return batch_of(Transition(extras=extras, **rows | {"action": jnp.where(rows["legal"], played, 0.0)}))


@pytest.fixture(scope="module", params=["own", "central"])
def parts(request):
    """Return (face, expectations, learner's compiled update, state with another target, batch)."""
    model = soft_actor_critic.make(dataclasses.replace(NETWORK, critic_input=request.param), NUMBERS)
    learner = sac.make(CONFIG, model, PLAN)
    state = learner.init(jax.random.key(0)).replace(target=model.init(jax.random.key(1))["critics"])
    expectations = sac.expected(CONFIG, model, PLAN)
    return model.soft_actor_critic, expectations, quick_jit(learner.update), state, random_batch()


def alone(critics, params, rows: tuple, own, at) -> float:
    """Return the lesser critic's value of one agent's numbers, asked by themselves; others play those of the row."""
    obs, state, action = (x[at[:2]][None] for x in rows)
    mine = action.at[0, at[2]].set(own)
    return float(np.min(critics(params, obs, state, action, mine)[:, 0, at[2]]))


def test_successors_are_worth_the_lesser_critics_value_of_a_draw_and_its_surprise(parts):
    face, expectations, _, state, batch = parts
    traj, key = batch.traj, jax.random.key(5)
    found = quick_jit(lambda params: sac.soft_values(expectations, params, state.target, traj, key))(state.params)
    outputs = face.policy(state.params, traj.next_obs)
    action, log_prob = squashed_draw(key, outputs, traj.next_legal)  # whose density tests/ops checks
    critics = quick_jit(face.critics)
    networks, rows = state.params | {"critics": state.target}, (traj.next_obs, traj.next_state, action)
    living = 0
    for at in [(0, 0, 0), (0, 3, 1), (1, 2, 2), (2, 5, 0), (3, 1, 1), (4, 7, 2), (5, 4, 0), (5, 6, 1)]:
        worth = alone(critics, networks, rows, action[at], at) - 0.1 * float(log_prob[at])
        np.testing.assert_allclose(found[at], worth if traj.next_alive[at] else 0.0, rtol=1e-3, atol=2e-3)
        living += bool(traj.next_alive[at])
    assert 0 < living < 8 and not np.asarray(found)[~np.asarray(traj.next_alive)].any()


def test_each_loss_trains_its_own_part_down_its_own_slope(parts):
    face, expectations, _, state, batch = parts
    traj, target, key = batch.traj, jnp.ones((E, T, N)), jax.random.key(7)

    @quick_jit
    def run(params):
        return jax.value_and_grad(lambda p: sac.loss(CONFIG, expectations, p, batch, target, key), has_aux=True)(params)

    (_, (metrics, _)), slopes = run(state.params)
    alive = np.asarray(traj.alive)
    outputs = face.policy(state.params, traj.obs)
    action, log_prob = squashed_draw(key, outputs, traj.legal)
    surprise = -np.asarray(log_prob)
    played = np.asarray(face.critics(state.params, traj.obs, traj.state, traj.action, traj.action))
    worth = np.asarray(face.critics(state.params, traj.obs, traj.state, traj.action, action)).min(axis=0)
    np.testing.assert_allclose(metrics["train/critic_loss"], 0.5 * ((played - 1) ** 2).sum(0)[alive].mean(), rtol=1e-3)
    np.testing.assert_allclose(metrics["train/policy_loss"], -(worth + 0.1 * surprise)[alive].mean(), rtol=1e-3)
    short = surprise + np.asarray(traj.legal).sum(-1)  # the target is -1 for each number
    np.testing.assert_allclose(slopes["log_temperature"], 0.1 * short[alive].mean(), rtol=1e-3)
    np.testing.assert_allclose(
        metrics["train/target_entropy"], -np.asarray(traj.legal).sum(-1)[alive].mean(), rtol=1e-4
    )
    for part, name in (("actor", "policy_loss"), ("critics", "critic_loss")):
        along = jax.tree.map(lambda x: jax.random.normal(jax.random.key(x.size), x.shape), state.params[part])
        values = []
        for step in (1e-3, -1e-3):  # few corners of relu and of the lesser critic are this near
            moved = jax.tree.map(lambda x, d: x + step * d, state.params[part], along)  # noqa: B023
            values.append(float(run(state.params | {part: moved})[0][1][0][f"train/{name}"]))
        slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: float(jnp.sum(g * d)), slopes[part], along)))
        np.testing.assert_allclose((values[0] - values[1]) / 2e-3, slope, rtol=2e-2, atol=2e-3)


def test_updates_move_everything_and_the_targets_follow(parts):
    _, _, update, state, batch = parts
    after, metrics, priorities = update(state, batch, jax.random.key(0))
    assert np.isfinite([float(x) for x in metrics.values()]).all() and priorities.shape == (E,)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), after.params, state.params)
    assert all(jax.tree.leaves(moved))
    expected = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, state.target, after.params["critics"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), after.target, expected)


def test_a_critic_reads_its_own_numbers_and_the_others_only_where_it_is_central():
    obs, state, action = jnp.ones((1, N, SPEC.obs.size)), jnp.ones((1, SPEC.state.size)), jnp.zeros((1, N, A))
    for kind, others in (("own", False), ("central", True)):
        model = soft_actor_critic.make(dataclasses.replace(NETWORK, critic_input=kind), NUMBERS)
        params, face = model.init(jax.random.key(0)), model.soft_actor_critic
        moved = action.at[0, 1, 2].set(0.5)

        def changed(theirs, own, face=face, params=params):
            before, after = (
                face.critics(params, obs, state, action, action),
                face.critics(params, obs, state, theirs, own),
            )
            return (np.asarray(before) != np.asarray(after)).any(axis=(0, 1))

        np.testing.assert_array_equal(changed(action, moved), [False, True, False])
        np.testing.assert_array_equal(changed(moved, action), [others, False, others])


def test_a_policy_reads_its_own_observation_and_stays_within_the_bounds():
    model = soft_actor_critic.make(NETWORK, NUMBERS)
    params, face = model.init(jax.random.key(0)), model.soft_actor_critic
    obs = 100.0 * jax.random.normal(jax.random.key(1), (4, N, SPEC.obs.size))
    outputs = face.policy(params, obs)
    changed = (np.asarray(outputs) != np.asarray(face.policy(params, obs.at[:, 1].add(1.0)))).any(axis=(0, 2))
    np.testing.assert_array_equal(changed, [False, True, False])
    action = face.distribution.sample(jax.random.key(2), outputs, jnp.ones((4, N, A), bool))
    assert (np.abs(action) <= 1.0).all() and outputs.shape == (4, N, 2 * A)
