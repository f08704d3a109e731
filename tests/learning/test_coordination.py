"""Data in which one agent does A and the other B, or the other way round: who can copy that, and who cannot.

Agents that draw by themselves meet in half of all cases, also if each knows how likely the other's actions are. It
takes something that they share: a skill that both draw with the same luck, or turns.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import TimeStep
from tandem.learners import coordination
from tandem.models import coordination as network
from tandem.planners.policies import coordinated
from tests.reference.compiled import quick_jit
from tests.reference.offline_rows import SITUATIONS, SPEC, A, N, episodes, learned, seen
from tests.reference.run_plans import run_plan

UPDATES, PLAYED = 400, 1024
PLAN = run_plan(SPEC, 0.99, UPDATES, 1)
LOG_TWO = float(np.log(2.0))


@cache
def cloning(rung: str, turns: bool = False):
    """Return (network, learner) of a rung."""
    model = network.make(network.Config(hidden_size=16, num_layers=1, coordination=rung, turns=turns), SPEC)
    return model, coordination.make(coordination.Config(sequence=2, learning_rate=2e-2), model, PLAN)


def apart(rng):
    """One step in which the agents differ; of what each does nothing tells."""
    first = rng.integers(2)
    return [(0, [first, 1 - first], 1.0)]


def unrelated(rng):
    """The same actions of each agent, without the relation."""
    return [(0, rng.integers(2, size=N), 1.0)]


def told(rng):
    """Two steps: the agents differ, and the situation says how."""
    return [(s, [s, 1 - s], 1.0) for s in range(2)]


@cache
def trained(rung: str, turns: bool, draw):
    """Return what was learned of data, and the last metrics."""
    return learned(cloning(rung, turns)[1], episodes(draw, 2), UPDATES)


def earned(rung: str, draw, turns: bool = False, **settings) -> float:
    """Return how often drawn actions of the two agents differ in situation 0."""
    model, learner = cloning(rung, turns)
    state, _ = trained(rung, turns, draw)
    planner = coordinated.make(coordinated.Config(**settings), model, SPEC, 0.99)
    action = np.asarray(_player(planner.plan)(learner.acting(state), jax.random.key(0)))
    assert 0.3 < action[:, 0].mean() < 0.7  # each by itself plays both actions
    return float((action[:, 0] != action[:, 1]).mean())


def _player(plan):
    everywhere, flag = jnp.zeros(PLAYED, int), jnp.zeros(PLAYED, bool)
    here = jnp.ones((PLAYED, N), bool)
    timestep = TimeStep(
        obs=jnp.asarray(seen(np.zeros(PLAYED, int))), state=jax.nn.one_hot(everywhere, SITUATIONS),
        legal=jnp.broadcast_to(jnp.arange(A) < 2, (PLAYED, N, A)), present=here, alive=here,
        reward=jnp.zeros((PLAYED, N)), terminated=flag, truncated=flag, first=~flag, metrics={},
    )  # fmt: skip
    return quick_jit(lambda params, key: plan(params, (), timestep, key, True)[1].action)


def test_a_skill_that_all_draw_with_the_same_luck_is_copied_and_with_their_own_luck_it_is_not():
    assert earned("skills", apart) > 0.95
    assert earned("skills", apart, shared_luck=False) == pytest.approx(0.5, abs=0.1)
    _, metrics = trained("skills", False, apart)
    assert metrics["coordination/skill_information"] > 0.8 * LOG_TWO
    assert metrics["coordination/skill_entropy"] > 0.3 * np.log(4)  # it has not collapsed


def test_skills_of_data_without_the_relation_bring_nothing():
    assert earned("skills", unrelated) < 0.75


def test_agents_that_act_in_turns_copy_it():
    assert earned("none", apart, turns=True) > 0.95
    assert earned("none", unrelated, turns=True) == pytest.approx(0.5, abs=0.1)


def test_predicting_the_other_is_not_enough_where_both_draw():
    assert earned("neighbours", apart) == pytest.approx(0.5, abs=0.1)
    assert trained("neighbours", False, apart)[1]["coordination/neighbours_nll"] == pytest.approx(LOG_TWO, abs=0.06)


def test_what_the_situation_tells_of_the_others_actions_is_predicted():
    assert trained("neighbours", False, told)[1]["coordination/neighbours_nll"] < 0.1
