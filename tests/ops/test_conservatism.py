"""Penalties on unseen actions' values against slow references on random teams, their gradients and their masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.ops import conservatism
from tandem.ops.conservatism import PENALTIES, Options, Seen
from tests.reference import conservatism as slow

ROWS, N, A, K = 40, 3, 5, 7
KEY, OPTIONS = jax.random.key(3), Options(samples=K, temperature=1.5)
WEIGHTS = np.array([0.5, 2.0, 1.0])


def weigh(living):
    """Return the team's value [..., 1]: not a sum, and it rises with each."""
    total = jnp.sum(living * jnp.broadcast_to(jnp.asarray(WEIGHTS, living.dtype), living.shape), -1, keepdims=True)
    return jnp.where(total > 0, total, 0.5 * total)


def weigh_slowly(living) -> float:
    total = float(np.dot(living, WEIGHTS))
    return total if total > 0 else 0.5 * total


def random_team(seed: int = 0) -> Seen:
    """Return teams whose illegal actions look best; the dead may play action 0 alone, and bring nothing."""
    rng = np.random.default_rng(seed)
    alive = rng.random((ROWS, N)) < 0.8
    alive[0] = False
    legal = (rng.random((ROWS, N, A)) < 0.6) | np.eye(A, dtype=bool)[rng.integers(A, size=(ROWS, N))]
    legal[~alive] = np.arange(A) == 0
    values = np.where(legal, rng.normal(size=(ROWS, N, A)), 1e6)
    values[~alive] = 0.0
    action = np.array([rng.choice(np.flatnonzero(row)) for row in legal.reshape(-1, A)]).reshape(ROWS, N)
    behaviour = np.where(legal, rng.random((ROWS, N, A)), 0.0)
    behaviour /= behaviour.sum(axis=-1, keepdims=True)
    return Seen(
        values=jnp.float32(values), legal=jnp.asarray(legal), action=jnp.int32(action), alive=jnp.asarray(alive),
        team=weigh, behaviour=jnp.float32(behaviour),
    )  # fmt: skip


def found(name: str, seen: Seen, options: Options = OPTIONS) -> np.ndarray:
    return np.asarray(jax.jit(lambda values: PENALTIES[name](seen._replace(values=values), options, KEY))(seen.values))


@pytest.mark.parametrize("temperature", [0.0, 1.5])
@pytest.mark.parametrize("name", PENALTIES)
def test_it_equals_its_slow_reference(name, temperature):
    seen = random_team()
    fast = found(name, seen, OPTIONS._replace(temperature=temperature))
    drawn = np.asarray(conservatism.by_lot(KEY, seen.legal, K))
    values, legal, action, alive, behaviour = map(np.asarray, (*seen[:4], seen.behaviour))
    for r in range(ROWS):
        expected = {
            "agent": lambda: slow.agent(values[r], legal[r], action[r]),
            "joint": lambda: slow.joint(values[r], action[r], weigh_slowly, drawn[:, r]),
            "counterfactual": lambda: slow.counterfactual(
                values[r], legal[r], action[r], alive[r], weigh_slowly, behaviour[r], temperature
            ),
            "max": lambda: slow.maximum(values[r], legal[r], action[r], weigh_slowly),
        }[name]()
        np.testing.assert_allclose(fast[r], expected, rtol=1e-3, atol=1e-5)
    assert (fast > -1e-5).all() and (fast > 0.1).any()


def test_legal_actions_alone_are_drawn_each_as_often_as_the_others():
    legal, draws = np.asarray(random_team().legal), 4000
    drawn = np.asarray(jax.jit(lambda legal: conservatism.by_lot(KEY, legal, draws))(legal))
    shares = np.stack([(drawn == a).mean(axis=0) for a in range(A)], axis=-1)
    np.testing.assert_allclose(shares, legal / legal.sum(axis=-1, keepdims=True), atol=0.05)
    assert (shares[~legal] == 0).all()


@pytest.mark.parametrize("name", PENALTIES)
def test_illegal_actions_have_no_part_in_it_nor_in_its_gradient(name):
    seen = random_team(1)
    moved = seen._replace(values=jnp.where(seen.legal, seen.values, seen.values + 1e6))
    of = lambda seen: jax.jit(jax.value_and_grad(  # noqa: E731
        lambda values: PENALTIES[name](seen._replace(values=values), OPTIONS, KEY).sum()
    ))(seen.values)  # fmt: skip
    (before, slope), (after, other) = of(seen), of(moved)
    assert float(before) == float(after)
    np.testing.assert_array_equal(slope, other)
    assert (np.asarray(slope)[~np.asarray(seen.legal)] == 0).all() and np.isfinite(np.asarray(slope)).all()


def test_the_gradient_on_an_agents_values_is_the_softmax_less_the_action_of_the_data():
    seen = random_team(2)
    slope = jax.grad(lambda values: conservatism.agent(seen._replace(values=values), OPTIONS, KEY).sum())(seen.values)
    weights = np.where(np.asarray(seen.legal), np.exp(np.asarray(jnp.where(seen.legal, seen.values, 0.0))), 0.0)
    expected = weights / weights.sum(axis=-1, keepdims=True) - np.eye(A)[np.asarray(seen.action)]
    np.testing.assert_allclose(slope, expected, atol=1e-5)


def test_of_a_sum_of_values_one_agents_departure_costs_what_it_costs_that_agent():
    seen = random_team(4)._replace(team=lambda living: jnp.sum(living, axis=-1, keepdims=True))
    alive = np.asarray(seen.alive)
    own = np.where(alive, found("agent", seen), 0.0).sum(axis=-1) / np.maximum(alive.sum(axis=-1), 1)
    np.testing.assert_allclose(found("counterfactual", seen, Options())[..., 0], own, rtol=1e-4, atol=1e-5)


def test_an_agent_that_leaves_the_data_weighs_more_the_hotter_it_gets():
    sure = np.zeros((1, N, A), np.float32)
    sure[0, 0, 4] = 3.0  # agent 0 would play what the data avoid; the others are as indifferent as the data
    behaviour = np.full((1, N, A), 1.0 / A, np.float32)
    behaviour[0, 0] = [0.96, 0.01, 0.01, 0.01, 0.01]
    seen = Seen(
        values=jnp.asarray(sure), legal=jnp.ones((1, N, A), bool), action=jnp.zeros((1, N), jnp.int32),
        alive=jnp.ones((1, N), bool), team=lambda q: jnp.sum(q, -1, keepdims=True), behaviour=jnp.asarray(behaviour),
    )  # fmt: skip
    cold, warm, hot = (found("counterfactual", seen, Options(temperature=t))[0, 0] for t in (0.0, 0.5, 50.0))
    assert cold < warm < hot
    np.testing.assert_allclose(hot, found("agent", seen)[0, 0], rtol=1e-4)
