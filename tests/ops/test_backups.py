"""Backups against slow references on random values, and their limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.ops import backups
from tests.reference import backups as slow

ROWS, A = 60, 5


def problem(seed: int = 0):
    """Return values, judge, legal and behaviour [ROWS, A]; illegal actions look best, and are never played."""
    rng = np.random.default_rng(seed)
    values, judge = rng.normal(size=(2, ROWS, A))
    legal = (rng.random((ROWS, A)) < 0.6) | np.eye(A, dtype=bool)[rng.integers(A, size=ROWS)]
    values[~legal] += 1e6
    judge[~legal] += 1e6
    behaviour = np.where(legal, rng.dirichlet(np.ones(A), ROWS), 0.0)
    behaviour[0] = np.where(np.arange(A) == np.argmax(legal[0]), 1.0, 0.0)
    return values, judge, legal, behaviour / behaviour.sum(axis=-1, keepdims=True)


SLOW = {
    "greedy": lambda q, judge, legal, beta: slow.greedy(q, judge, legal),
    "support": lambda q, judge, legal, beta: slow.support(q, judge, legal, beta, 0.3),
    "reweighted": lambda q, judge, legal, beta: slow.reweighted(q, legal, beta, 0.8),
    "expected": lambda q, judge, legal, beta: slow.expected(q, legal, beta),
    "expectile": lambda q, judge, legal, beta: slow.expectile(q, legal, beta, 0.7),
}
FAST = {
    "greedy": backups.greedy,
    "support": backups.support(0.3),
    "reweighted": backups.reweighted(0.8),
    "expected": backups.expected,
    "expectile": backups.expectile(0.7),
}


@pytest.mark.parametrize("name", SLOW)
def test_it_equals_its_slow_reference_and_illegal_actions_change_nothing(name):
    given = problem()
    found = jax.jit(FAST[name])(*(jnp.asarray(x, x.dtype if x.dtype == bool else jnp.float32) for x in given))
    expected = [SLOW[name](*row) for row in zip(*given, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_best_action_is_chosen_by_one_network_and_valued_by_the_other():
    values, judge, legal = jnp.array([[1.0, 2.0, 9.0]]), jnp.array([[5.0, 3.0, 9.0]]), jnp.array([[True, True, False]])
    assert float(backups.greedy(values, judge, legal)[0]) == 1.0
    assert float(backups.greedy(values, values, legal)[0]) == 2.0


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_soft_value_is_what_the_best_penalised_policy_earns(temperature):
    values, judge, legal, behaviour = problem(1)
    found = backups.soft_behaviour(temperature)(*map(jnp.asarray, (values, judge, legal, behaviour)))
    rng = np.random.default_rng(2)
    for row in range(20):
        there = behaviour[row] > 0
        q, beta = values[row][there], behaviour[row][there]
        best = beta * np.exp((q - q.max()) / temperature)
        best /= best.sum()
        np.testing.assert_allclose(found[row], slow.penalised(best, q, beta, temperature), rtol=1e-4, atol=1e-5)
        for _ in range(30):  # nobody earns more, near the best or far from it
            share = rng.random()
            other = (1 - share) * best + share * rng.dirichlet(np.ones(there.sum()))
            assert slow.penalised(other, q, beta, temperature) <= float(found[row]) + 1e-5


def test_the_soft_value_lies_between_the_behaviours_and_the_best_that_it_meets():
    given = tuple(map(jnp.asarray, problem(3)))
    hot, cold = backups.soft_behaviour(1e4)(*given), backups.soft_behaviour(1e-3)(*given)
    np.testing.assert_allclose(hot, backups.expected(*given), atol=2e-3)
    values, _, legal, behaviour = given
    np.testing.assert_allclose(cold, backups.support(0.0)(values, values, legal, behaviour), atol=2e-2)


def test_an_expectile_goes_from_the_mean_to_the_maximum():
    given = tuple(map(jnp.asarray, problem(4)))
    np.testing.assert_allclose(backups.expectile(0.5)(*given), backups.expected(*given), rtol=1e-4, atol=1e-5)
    values, _, legal, behaviour = given
    most = backups.support(0.0)(values, values, legal, behaviour)
    assert (backups.expectile(0.9)(*given) <= most + 1e-5).all()
    np.testing.assert_allclose(backups.expectile(0.99999)(*given), most, atol=5e-2)
    with pytest.raises(ValueError, match="at least 0.5"):
        backups.expectile(0.3)


def test_a_gradient_reaches_the_chosen_action_alone_whatever_the_others_are():
    values = jnp.array([[1.0, jnp.nan, 3.0]])
    slope = jax.grad(lambda values: backups.chosen(values, jnp.array([2])).sum())(values)
    np.testing.assert_array_equal(slope, [[0.0, 0.0, 1.0]])
