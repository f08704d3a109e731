"""Whole runs of the value learners: stopped and gone on with they end alike, and they compile once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.envs.matrix_game import Config
from tandem.planners.policies import epsilon_greedy
from tests.reference.value_runs import value_run

GAME = Config(scenario="two_step")
FALLING = epsilon_greedy.Config(epsilon_share=0.5)
pytestmark = pytest.mark.usefixtures("quick_compiling")


@pytest.mark.parametrize("name, settings", [
    ("qmix", {"memory": "gru", "replay": "prioritised", "burn_in": 2, "reward_scale": 0.0}),
    ("pqn_vdn", {"memory": "gru", "reward_scale": 0.0}),
])  # fmt: skip
def test_a_run_that_goes_on_ends_as_one_that_never_stopped_and_compiles_once(name, settings):
    run = value_run(name, GAME, planner=FALLING, t_max=1536, report_every=512, **settings)
    kept = [(report, jax.tree.map(jnp.copy, state)) for report, state in run(3)]
    (_, stopped), *_, (report, last) = kept
    assert report.step == 1536 and report.update > 0 and len(kept) == 3
    for _, state in run(3, jax.tree.map(jnp.copy, stopped)):
        pass
    jax.tree.map(np.testing.assert_array_equal, last.learner, state.learner)
    assert run.loop.train._cache_size() == 1
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), stopped.learner.params, last.learner.params)
    assert all(jax.tree.leaves(moved))
