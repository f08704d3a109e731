"""Policies that know of coordination: what of them can be played by each agent alone, and what cannot."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem import playing
from tandem.core import TimeStep
from tandem.models import coordination
from tandem.planners.policies import coordinated
from tests.learners.rollouts import E, SPEC, T, random_rows
from tests.reference.compiled import quick_jit

SMALL = {"hidden_size": 6, "num_layers": 1}


def made(shared_luck: bool, **network):
    model = coordination.make(coordination.Config(**SMALL, policy_gain=1.0, **network), SPEC)
    return model, coordinated.make(coordinated.Config(shared_luck=shared_luck), model, SPEC, 0.9)


@pytest.mark.parametrize("network", [{"coordination": "skills", "memory": "gru"}, {"coordination": "neighbours"}])
def test_each_agent_alone_plays_as_the_team_in_evaluations(network):
    model, planner = made(network["coordination"] == "neighbours", **network)
    params = quick_jit(model.init)(jax.random.key(0))
    params = jax.tree.map(lambda x: x + 0.3 * jnp.sin(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape), params)
    row = {name: x.reshape(E * T, *x.shape[2:]) for name, x in random_rows(2).items()}
    names = ("obs", "state", "legal", "present", "alive", "reward", "terminated", "truncated", "first")
    step = TimeStep(**{name: row[name] for name in names}, metrics={})

    @quick_jit
    def both(params, carry, step):
        memory, outputs = planner.alone.outputs(params, carry, step.obs, step.first)
        after, plan = planner.plan(params, carry, step, jax.random.key(1), False)
        return memory, planner.alone.distribution.mode(outputs, step.legal), after, plan.action

    carry = jax.tree.map(lambda x: x + 0.5, planner.init(E * T))
    memory, alone, after, together = both(params, carry, step)
    np.testing.assert_array_equal(alone, together)
    jax.tree.map(np.testing.assert_array_equal, memory, after)
    assert len(np.unique(alone)) > 1 and len(jax.tree.leaves(memory)) == ("memory" in network)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"coordination": "skills"}, r"draw a skill by the same luck; with planner_args.shared_luck=false each takes"),
        ({"coordination": "none", "turns": True}, "agents act in turns, and see the actions of those before them"),
    ],
)
def test_what_agents_do_together_is_refused_with_its_reason(network, told):
    _, planner = made(True, **network)
    restored = SimpleNamespace(players={"policy": planner}, config={"planner": "coordinated"})
    with pytest.raises(ValueError, match=f"run 1 acts by planner 'coordinated', in which .*{told}"):
        playing.of(restored, "run 1")
