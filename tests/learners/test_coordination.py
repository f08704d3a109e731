"""Cloning with coordination: its loss against loops, what agents act by, and one shape of parameters for all teams."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.learners import coordination
from tandem.models import coordination as network
from tests.models.entities.problem import spec
from tests.reference.compiled import quick_jit
from tests.reference.team_rows import batch_of, random_rows

B, T, N, K, BURN = 2, 4, 3, 4, 1
OF = spec(N, landmarks=2, targets=2)
SMALL = {"encoder": "entities", "entity_size": 4, "relation_size": 2, "hidden_size": 6, "num_layers": 1}
ALL = network.Config(**SMALL, coordination="skills", num_skills=K, context_size=3, policy_gain=1.0)
CONFIG = coordination.Config(sequence=T - BURN, burn_in=BURN, neighbours_weight=0.7, skill_weight=0.3)
NOBODY = np.zeros((N, N), bool)


@pytest.fixture(scope="module")
def problem():
    """Return (face, params, batch) of a team with all that there is, but for turns."""
    model = network.make(ALL, OF)
    return model.coordination, quick_jit(model.init)(jax.random.key(1)), batch_of(random_rows(OF, B, T, seed=4))


def shares(logits) -> np.ndarray:
    raised = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def asked(problem):
    """Return what the network says of the batch, as probabilities."""
    face, params, batch = problem

    @quick_jit
    def ask(params, rows):
        _, known = face.see(params, (), rows.obs, rows.first)
        every = face.logits(params, known, rows.action, NOBODY)
        inferred = face.posterior(params, known, rows.action, rows.alive)
        return every, face.prior(params, known), inferred, known["guesses"], known["shown"]

    return [np.asarray(x) for x in ask(params, batch.traj)]


def test_the_loss_is_the_sum_of_its_three_parts_over_agents_with_a_choice(problem, asked):
    face, params, batch = problem
    total, found = quick_jit(lambda params: coordination.loss(CONFIG, face, params, batch))(params)
    rows, (logits, prior, inferred, guesses, shown) = jax.tree.map(np.asarray, batch.traj), asked
    missed, apart, told, information, agreed, used = [], [], [], [], [], []
    free = rows.alive & (rows.legal.sum(-1) > 1)
    for b, t, i in np.ndindex(B, T, N):
        if t < BURN:
            continue
        q, p, action = shares(inferred[b, t]), shares(prior[b, t, i]), rows.action[b, t, i]
        beta = shares(np.where(rows.legal[b, t, i], logits[b, t, i], -1e9))
        if free[b, t, i]:
            missed.append(-(1 + b) * sum(q[k] * np.log(beta[k, action]) for k in range(K)))
            apart.append((1 + b) * sum(q[k] * np.log(q[k] / p[k]) for k in range(K)))
            mixed = p @ beta
            kept = mixed > 0
            ratio = np.log(np.maximum(beta[:, kept], 1e-300) / mixed[kept])
            information.append(p @ np.sum(beta[:, kept] * ratio, axis=-1))
            agreed.append(beta[p.argmax()].argmax() == action)
            used.append(q)
        for m, j in enumerate(j for j in range(N) if j != i):
            if rows.alive[b, t, i] and shown[b, t, i, m] and free[b, t, j]:
                told.append(-(1 + b) * np.log(shares(guesses[b, t, i, m])[rows.action[b, t, j]]))
    mean = np.mean(used, axis=0)
    want = {
        "coordination/neighbours_nll": np.mean(told), "coordination/skill_kl": np.mean(apart),
        "coordination/skill_information": np.mean(information), "offline/agreement": np.mean(agreed),
        "coordination/skill_entropy": -np.sum(mean * np.log(mean)),
        "train/loss": np.mean(missed) + 0.3 * np.mean(apart) + 0.7 * np.mean(told),
    }  # fmt: skip
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-4, atol=1e-5, err_msg=name)
    assert 0 < len(told) < B * (T - BURN) * N * (N - 1) and total == found["train/loss"]


def test_what_an_agent_does_depends_on_its_own_observations_alone(problem):
    face, params, batch = problem
    rows = batch.traj

    @quick_jit
    def slopes(obs):
        def said(obs):
            _, known = face.see(params, (), obs, rows.first)
            every = face.logits(params, known, rows.action, NOBODY)
            return jnp.sum(every[:, :, 1] ** 2) + jnp.sum(face.prior(params, known)[:, :, 1] ** 2)

        def inferred(obs):
            _, known = face.see(params, (), obs, rows.first)
            return jnp.sum(face.posterior(params, known, rows.action, jnp.ones_like(rows.alive)) ** 2)

        return jax.grad(said)(obs), jax.grad(inferred)(obs)

    of_agent, of_posterior = (np.abs(np.asarray(x)).max(axis=(0, 1, 3)) for x in slopes(rows.obs))
    assert of_agent[1] > 0 and (of_agent[[0, 2]] == 0).all() and (of_posterior > 0).all()


def test_a_posterior_sees_all_actions_of_the_living(problem):
    face, params, batch = problem
    rows = batch.traj

    @quick_jit
    def inferred(action, alive):
        _, known = face.see(params, (), rows.obs, rows.first)
        return face.posterior(params, known, action, alive)

    everybody = jnp.ones_like(rows.alive)
    before = inferred(rows.action, everybody)
    for agent in range(N):
        other = rows.action.at[:, :, agent].set((rows.action[:, :, agent] + 1) % OF.actions.size)
        dead = everybody.at[:, :, agent].set(False)
        assert float(jnp.max(jnp.abs(inferred(other, everybody) - before))) > 1e-4
        np.testing.assert_array_equal(inferred(other, dead), inferred(rows.action, dead))


def test_in_turns_an_agent_sees_the_actions_of_those_before_it_and_no_others():
    model = network.make(network.Config(**SMALL, turns=True, policy_gain=1.0), OF)
    params, rows = quick_jit(model.init)(jax.random.key(2)), random_rows(OF, 1, 2, seed=5)
    face, before = model.coordination, np.tril(np.ones((N, N), bool), -1)

    @quick_jit
    def said(action):
        _, known = face.see(params, (), rows.obs, rows.first)
        return face.logits(params, known, action, before)[:, :, :, 0]

    plain = said(rows.action)
    for agent in range(N):
        other = said(rows.action.at[:, :, agent].set((rows.action[:, :, agent] + 1) % OF.actions.size))
        moved = np.abs(np.asarray(other - plain)).max(axis=(0, 1, 3)) > 1e-6
        assert moved.tolist() == [i > agent for i in range(N)]


def test_no_parameter_depends_on_the_size_of_the_team():
    config = network.Config(**SMALL, coordination="skills", turns=True)
    models = [network.make(config, spec(n, n + 1, n)) for n in (2, 4)]
    shapes = [jax.tree.map(lambda x: x.shape, jax.eval_shape(model.init, jax.random.key(0))) for model in models]
    assert shapes[0] == shapes[1]
    with pytest.raises(ValueError, match="does not say what its observations describe"):
        flat = OF.__class__(**{**vars(OF), "obs": type(OF.obs)(OF.obs.size)})
        network.make(config, flat)
