"""Searches do not try what a dead agent might have done: it stays dead in every state that they imagine."""

import jax
import numpy as np
import pytest

from tandem.registry import find
from tests.planners.test_invariants import GUMBEL, MUZERO, B, name, spec_of
from tests.reference.compiled import quick_jit
from tests.reference.linear_model import linear_model, random_timestep

DEAD, STOP = 1, 2
SEARCHES = [GUMBEL[1], GUMBEL[2], GUMBEL[3], GUMBEL[5], GUMBEL[6], MUZERO[1]]


@pytest.mark.parametrize("case", SEARCHES, ids=name)
def test_what_a_dead_agent_cannot_do_is_worth_nothing_to_a_search(case):
    spec = spec_of(3)
    entry, model = find("planner", case[0]), linear_model(spec)
    made = entry.make(entry.config()(**case[1], num_simulations=12, value_expansion=0), model, spec, 0.9)
    plan = quick_jit(lambda params, timestep, key: made.plan(params, made.init(B), timestep, key, True, 0.5)[1].extras)
    params = model.init(jax.random.key(0))
    tempting = np.where(np.arange(spec.actions.size) == STOP, 0.0, 50.0)
    tempted = params | {"reward": params["reward"].at[DEAD].add(tempting)}

    timestep = random_timestep(spec, jax.random.key(1), B)
    legal = timestep.legal.at[:, DEAD].set(np.arange(spec.actions.size) == STOP)
    for alive in (False, True):
        now = timestep.replace(legal=legal, alive=timestep.alive.at[:, DEAD].set(alive))
        values = [plan(p, now, jax.random.key(2)).value for p in (params, tempted)]
        assert np.allclose(*values, atol=1e-4) != alive
