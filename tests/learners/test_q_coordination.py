"""Q-values over what imitating a team taught: values, behaviour and targets by loops, and what learns from what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import PolicyExtras, Transition
from tandem.learners import coordination, q_coordination
from tandem.models import coordination_q
from tests.learners.rollouts import SPEC, A, E, N, T, batch_of, random_rows
from tests.reference.compiled import quick_jit
from tests.reference.run_plans import run_plan

K, DISCOUNT, SCALE, ALPHA = 3, 0.9, 2.0, 0.7
NETWORK = {"hidden_size": 6, "num_layers": 1, "memory": "gru", "context_size": 4, "num_skills": K, "head_gain": 1.0}
MODEL = coordination_q.make(coordination_q.Config(**NETWORK, coordination="skills", policy_gain=1.0), SPEC)
CONFIG = q_coordination.Config(
    sequence=T, backup="soft_behaviour", temperature=ALPHA, reward_scale=SCALE, neighbours_weight=0.7, skill_weight=0.3
)


@pytest.fixture(scope="module")
def params():
    params = quick_jit(MODEL.init)(jax.random.key(0))
    return jax.tree.map(lambda x: x + 0.2 * jnp.sin(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape), params)


@pytest.fixture(scope="module")
def batch():
    nothing = jnp.zeros((E, T, N))
    extras = PolicyExtras(log_prob=nothing, policy=jnp.zeros((E, T, N, A)), entropy=nothing)
    return batch_of(Transition(extras=extras, **random_rows(3))).replace(weight=jnp.arange(1.0, E + 1))


def shares(logits) -> np.ndarray:
    raised = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def walked(params, batch):
    """Return what is said of rows and of their true successors, one step after the other: values and probabilities."""

    @quick_jit
    def say(memory, obs, first, legal):
        after, values = MODEL.q_values.values(params, memory, obs, first, legal)
        return after, values, MODEL.behaviour.logits(params, memory, obs, first)[1]

    memory, found, rows = MODEL.q_values.memory(E), [], batch.traj
    for t in range(T):
        row = jax.tree.map(lambda x: x[:, t : t + 1], rows)  # noqa: B023
        after, values, logits = say(memory, row.obs, row.first, row.legal)
        memory = after[:, 0]
        _, then, logits_then = say(memory, row.next_obs, jnp.zeros_like(row.first), row.next_legal)
        found.append([np.asarray(x[:, 0]) for x in (values, logits, then, logits_then)])
    return [np.stack(each, axis=1) for each in zip(*found, strict=True)]


def test_values_and_behaviour_are_what_loops_make_of_what_is_known(params, batch, walked):
    @quick_jit
    def ask(params, rows):
        face = MODEL.coordination
        known = face.see(params, face.memory(E), rows.obs, rows.first)[1]
        every = face.logits(params, known, rows.action, jnp.zeros((N, N), bool))
        return known["features"], known["context"], face.prior(params, known), every

    features, context, prior, every = (np.asarray(x) for x in ask(params, batch.traj))
    layers = jax.tree.map(np.asarray, params["agents"])
    hidden, head = layers["Dense_0"]["rows"], layers["head"]["rows"]
    for e, t, i in np.ndindex(E, T, N):
        skill = shares(prior[e, t, i])
        x = np.concatenate([features[e, t, i], context[e, t, i], skill])
        x = np.maximum(x @ hidden["kernel"] + hidden["bias"], 0.0)
        np.testing.assert_allclose(walked[0][e, t, i], x @ head["kernel"] + head["bias"], rtol=1e-3, atol=1e-4)
        mixed = sum(skill[k] * shares(every[e, t, i, k]) for k in range(K))
        np.testing.assert_allclose(shares(walked[1][e, t, i]), mixed, rtol=1e-3, atol=1e-5)


def test_an_update_fits_the_soft_backup_and_imitates_as_coordination_does(params, batch, walked):
    learner = q_coordination.make(CONFIG, MODEL, run_plan(SPEC, DISCOUNT))

    @quick_jit
    def update(params, batch):
        state = learner.init(jax.random.key(0)).replace(params=params, target=params)
        slope = learner.halves.slope(state, batch, jax.random.key(1))
        own = jax.grad(lambda params: coordination.loss(CONFIG, MODEL.coordination, params, batch), has_aux=True)
        return slope.gradients, slope.metrics, *own(params)

    slope, metrics, of_imitation, known = update(params, batch)
    rows, (_, _, then, logits_then) = jax.tree.map(np.asarray, batch.traj), walked
    targets = []
    for e, t in np.ndindex(E, T):
        worth = 0.0
        for i in range(N):
            if rows.next_alive[e, t, i]:
                legal = rows.next_legal[e, t, i]
                beta = shares(np.where(legal, logits_then[e, t, i], -1e9))
                worth += ALPHA * np.log(sum(beta[a] * np.exp(then[e, t, i, a] / ALPHA) for a in np.flatnonzero(legal)))
        reward = SCALE * rows.reward[e, t].sum()
        if rows.alive[e, t].any():
            targets.append(reward + DISCOUNT * (not rows.terminated[e, t]) * worth)
    np.testing.assert_allclose(metrics["train/q_target"], np.mean(targets), rtol=1e-4, atol=1e-4)
    # No gradient of the values reaches what imitates, and none of imitating the values.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        slope["behaviour"],
        of_imitation["behaviour"],
    )
    assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(of_imitation["agents"]))
    assert all((np.asarray(x) != 0).any() for x in jax.tree.leaves(slope["agents"]))
    np.testing.assert_allclose(metrics["train/behaviour_loss"], known["train/loss"], rtol=1e-5)
    for name in coordination.KNOWN:
        np.testing.assert_allclose(metrics[name], known[name], rtol=1e-5)
    assert {*metrics, "train/grad_norm", "train/learning_rate"} == set(learner.metric_names)


def test_no_shape_depends_on_the_size_of_the_team_and_turns_are_refused():
    from tests.models.entities.problem import spec

    small = {"encoder": "entities", "entity_size": 4, "relation_size": 2, "hidden_size": 6, "num_layers": 1}
    config = coordination_q.Config(**small, coordination="skills", mixer="monotone")
    models = [coordination_q.make(config, spec(n, n + 1, n)) for n in (2, 4)]
    shapes = [jax.tree.map(lambda x: x.shape, jax.eval_shape(model.init, jax.random.key(0))) for model in models]
    assert shapes[0] == shapes[1] and models[1].things == 4 + 1 + 3 + 4
    with pytest.raises(ValueError, match="network_args.turns=true: values are of agents that choose at once"):
        coordination_q.make(coordination_q.Config(**small, turns=True), spec())
