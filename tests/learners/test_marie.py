"""Dreams are ordinary rows, end where an end is drawn, and hold only what is allowed; the learner keeps its word."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem import contracts
from tandem.core import Batch, Dreamt, PolicyExtras
from tandem.data import uniform
from tandem.learners import dreams, marie, ppo
from tandem.learners.on_policy import judge
from tandem.learners.rollout_updates import value_loss
from tandem.ops.normalise import no_moments
from tests.reference.dreams import SPEC, A, N, network, rows
from tests.reference.run_plans import run_plan

S, C, H = 5, 2, 4
CONFIG = marie.Config(
    context=C, horizon=H, starts=S * 4, num_minibatches=4, epochs=2, warmup_updates=2, round_every=2, check_every=1
)
NET = network()
PLAN = run_plan(SPEC, 0.9, 50)


def fake(continues: float, legal: float = 0.9, alive: float = 0.9):
    """Return the network's sequence model with outcomes put in its mouth; the reward is one."""

    def step(params, carry, action, alive_now, key):
        carry, dreamt = NET.sequence_model.step(params, carry, action, alive_now, key)
        said = Dreamt(
            obs=dreamt.obs, reward=jnp.ones(action.shape[:1]), continues=jnp.full(action.shape[:1], continues),
            legal=jnp.full((*action.shape, A), legal).at[..., 2].add(0.05), alive=jnp.full(action.shape, alive),
        )  # fmt: skip
        return carry, said

    return NET.sequence_model._replace(step=step)


def one_night(world, seed: int = 1, **changes):
    traj = rows(seed, length=C + H, batch=3).replace(**changes)
    start = dreams.starts(traj, C, 64, jax.random.key(2))
    params = NET.init(jax.random.key(0))
    return params, start, jax.jit(lambda key: dreams.dream(world, SPEC, params, start, H, key))(jax.random.key(seed))


def test_starts_are_real_rows_with_their_own_past():
    traj = rows(3, length=C + H, batch=3)
    start = dreams.starts(traj, C, 200, jax.random.key(2))
    seen = {x.tobytes() for x in np.asarray(traj.obs).reshape(3, C + H, -1)[:, C - 1 :].reshape(-1, N * 5)}
    assert {
        x.tobytes() for x in np.asarray(start.obs[:, -1]).reshape(200, -1)
    } == seen  # one of the 15 missed: one in 70,000
    for i in range(40):
        b, t = np.argwhere((np.asarray(traj.obs) == np.asarray(start.obs[i, -1])).all(axis=(2, 3)))[0]
        np.testing.assert_array_equal(start.action[i], traj.action[b, t - C + 1 : t])
        np.testing.assert_array_equal(start.legal[i], traj.legal[b, t])
        np.testing.assert_array_equal(start.alive[i], traj.alive[b, t])


def test_after_a_drawn_end_nobody_lives_and_nothing_counts():
    _, _, night = one_night(fake(0.6))
    ended = np.asarray(night.rows.terminated)
    real = np.cumsum(ended, axis=1) - ended == 0  # up to the first end and with it
    np.testing.assert_array_equal(night.real, real)
    assert 0.2 < ended.any(axis=1).mean() < 1.0 and ended.sum(axis=1).max() == 1
    assert not np.asarray(night.rows.alive)[~real].any()
    np.testing.assert_array_equal(night.rows.truncated[:, -1], ~ended[:, -1])
    assert not np.asarray(night.rows.truncated)[:, :-1].any()


def test_the_losses_have_no_slope_in_rows_after_an_end():
    params, _, night = one_night(fake(0.6))
    state = marie.make(CONFIG, NET, PLAN).init(jax.random.key(0))
    agent = NET.sequence_model.agent
    state, chunks, _ = judge(CONFIG, agent, SPEC, 0.9, (0.95, 0.95), state, night.rows, night.real)
    slope = jax.grad(lambda v: value_loss(CONFIG, v, chunks))(chunks.value + 0.1)
    np.testing.assert_array_equal(np.asarray(slope != 0).reshape(64, H, N).any(axis=2), night.real)

    def policy(obs):
        return ppo.loss(CONFIG, agent, {"actor": params["actor"], "critic": params["critic"]}, chunks.replace(obs=obs))[
            0
        ]

    late = np.asarray(jax.grad(policy)(chunks.obs)).reshape(64, H, -1)
    assert not late[~np.asarray(night.real)].any() and late[np.asarray(night.real)].any()


def test_advantages_of_dreams_are_those_of_a_slow_sum():
    _, _, night = one_night(fake(0.6))
    state = marie.make(CONFIG, NET, PLAN).init(jax.random.key(0))
    config = dataclasses.replace(CONFIG, advantage_normalisation=False, value_normalisation="none")
    state = state.replace(stats=state.stats | {"value": no_moments()})
    _, chunks, _ = judge(config, NET.sequence_model.agent, SPEC, 0.9, (0.95, 0.95), state, night.rows, night.real)
    value = np.asarray(chunks.value).reshape(64, H, N)
    found = np.asarray(chunks.advantage).reshape(64, H, N)
    after = np.concatenate([value[:, 1:], np.full_like(value[:, :1], np.nan)], axis=1)
    for s in range(64):
        ended = np.flatnonzero(np.asarray(night.rows.terminated[s]))
        if len(ended) == 0:
            continue  # its last value is that of an observation beyond the rows
        total = np.zeros(N)
        for t in range(ended[0], -1, -1):
            coming = 0.0 if t == ended[0] else 0.9 * after[s, t]
            total = 1.0 + coming - value[s, t] + (0.0 if t == ended[0] else 0.9 * 0.95 * total)
            np.testing.assert_allclose(found[s, t], total, rtol=1e-4, atol=1e-5)


def test_only_legal_actions_are_played_and_where_none_is_likely_the_likeliest_is():
    _, start, night = one_night(fake(1.0, legal=0.1))
    played = np.take_along_axis(np.asarray(night.rows.legal), np.asarray(night.rows.action)[..., None], axis=-1)
    assert played.all()
    later = np.asarray(night.rows.legal)[:, 1:][np.asarray(night.rows.alive)[:, 1:]]
    np.testing.assert_array_equal(later, np.broadcast_to(np.eye(A, dtype=bool)[2], later.shape))
    assert bool(night.guarded[np.asarray(night.rows.alive)].all())


def test_the_dead_stay_dead_and_see_what_they_saw():
    _, start, night = one_night(fake(1.0, alive=0.2))
    assert not np.asarray(night.rows.alive)[:, 1:].any()
    np.testing.assert_array_equal(night.rows.obs[:, 2:], night.rows.obs[:, 1:-1])


def test_the_error_of_rewards_is_that_of_their_expectation_over_rows_until_an_end():
    traj = rows(4, length=C + H, batch=500)
    paid = traj.action.sum(axis=-1).astype(jnp.float32)  # so that a step knows what is right
    traj = traj.replace(reward=jnp.broadcast_to(paid[..., None], traj.reward.shape))

    def step(params, carry, action, alive, key):
        carry, dreamt = NET.sequence_model.step(params, carry, action, alive, key)
        luck = jax.random.normal(key, action.shape[:1])
        return carry, dreamt.replace(reward=action.sum(axis=-1) + 0.5 + luck)

    world, params = NET.sequence_model._replace(step=step), NET.init(jax.random.key(0))
    found = jax.jit(lambda key: dreams.open_loop_errors(world, SPEC, params, traj, C, H, key))(jax.random.key(3))
    over, seen = np.asarray(traj.terminated | traj.truncated), []
    for b in range(500):
        for t in range(C - 1, C - 1 + H):
            seen.append(float(paid[b, t]))
            if over[b, t]:
                break
    np.testing.assert_allclose(found[2], np.var(seen), rtol=1e-4)
    # One product's deviation is (1 + 2 x 0.25)^(1/2), and there are more than 1,000 of them: five standard errors.
    assert len(seen) > 1000 and abs(float(found[1]) - 0.25) < 0.2


def batch(seed: int) -> Batch:
    traj = rows(seed, length=C + H, batch=3)
    return Batch(traj=traj, index=jnp.arange(3), weight=jnp.ones(3), priority=jnp.ones(3))


def test_the_team_waits_for_the_model_and_the_tokenizer_stops():
    net = network(tokenizer="vq", tokens=2, codes=7, tokenizer_size=8, code_size=3)
    learner = marie.make(dataclasses.replace(CONFIG, tokenizer_updates=2), net, PLAN)
    update = jax.jit(learner.update)
    states = [learner.init(jax.random.key(0))]
    for i in range(4):
        state, metrics, priorities = update(states[-1], batch(i), jax.random.key(i))
        states.append(state)
    assert set(metrics) == set(learner.metric_names) and priorities.shape == (3,)
    moved = {
        name: [not _equal(a.params[name], b.params[name]) for a, b in zip(states, states[1:], strict=False)]
        for name in ("world", "tokenizer", "actor", "critic")
    }
    assert moved["world"] == [True] * 4 and moved["tokenizer"] == [True, True, False, False]
    assert moved["actor"] == moved["critic"] == [False, False, True, False]
    assert update._cache_size() == 1
    assert all(bool(jnp.isfinite(x)) for x in metrics.values())


def _equal(a, b) -> bool:
    return all(bool((x == y).all()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_the_learner_keeps_its_contract():
    learner = marie.make(CONFIG, NET, PLAN)
    before = jax.eval_shape(learner.init, jax.random.key(0))
    after, _, _ = jax.eval_shape(learner.update, before, batch(1), jax.random.key(0))
    weak = [[x.weak_type for x in jax.tree.leaves(state)] for state in (before, after)]
    assert weak[0] == weak[1]  # else the second call compiles anew
    replay = uniform.make(uniform.Config(capacity=100, batch_size=3, min_size=6), 6, learner.sequence_length)
    extras = PolicyExtras(
        log_prob=jax.ShapeDtypeStruct((N,), jnp.float32), policy=jax.ShapeDtypeStruct((N, A), jnp.float32),
        entropy=jax.ShapeDtypeStruct((N,), jnp.float32), memory={"actor": (), "critic": ()},
    )  # fmt: skip
    assert contracts.of_learner("marie", learner, replay, dataclasses.replace(PLAN, extras=extras)) == []


@pytest.mark.parametrize(
    "changes,said",
    [(dict(num_minibatches=7), "does not divide the 80 chunks"), (dict(warmup_updates=50), "would never learn"),
     (dict(chunk_length=3), "does not divide learner_args.horizon"), (dict(reward_normalisation=True), "dreams")],
)  # fmt: skip
def test_sizes_that_cannot_work_are_named(changes, said):
    assert said in " ".join(marie.problems(dataclasses.replace(CONFIG, **changes), PLAN))
