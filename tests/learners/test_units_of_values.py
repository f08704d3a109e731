"""What a network's values mean in units of the environment's returns, by the statistics of its learner."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.envs import matrix_game
from tandem.learners import mazero
from tandem.learners.on_policy import value_returns
from tandem.learners.reward_scale import VALUE_RMS
from tandem.models import world_model
from tandem.ops.normalise import add_moments, no_moments
from tests.reference.run_plans import run_plan
from tests.reference.small_runs import NETWORK


def test_a_critics_values_get_back_their_mean_their_spread_and_the_scale_of_rewards():
    rng = np.random.default_rng(5)
    targets, totals = rng.normal(7.0, 3.0, 4000).astype(np.float32), rng.normal(20.0, 4.0, 4000).astype(np.float32)
    everything = jnp.ones(4000)
    stats = {
        "value": add_moments(no_moments(), jnp.asarray(targets), everything, 0.9),
        "reward": add_moments(no_moments(), jnp.asarray(totals), everything, 0.9),
    }
    values = jnp.asarray([[-1.0, 0.0], [0.5, 2.0]])
    expected = (np.asarray(values) * targets.std() + targets.mean()) * totals.std()
    np.testing.assert_allclose(value_returns(stats, values), expected, rtol=1e-3)
    untouched = {"value": no_moments(), "reward": no_moments()}
    np.testing.assert_array_equal(value_returns(untouched, values), values)


@pytest.mark.parametrize("scale", [4.0, 0.0])
def test_a_world_models_values_are_divided_by_the_scale_of_rewards(scale):
    env = matrix_game.make(matrix_game.Config())
    model = world_model.make(NETWORK, env.spec)
    config = mazero.Config(unroll=1, n_step=1, warmup_updates=1, reward_scale=scale)
    learner = mazero.make(config, model, run_plan(env.spec, 0.97, 10))
    stats = learner.init(jax.random.key(1)).stats
    if scale == 0.0:  # learned: of rewards whose root mean square is 2, in episodes of one step
        stats = stats.replace(square=jnp.float32(4.0), weight=jnp.float32(1.0))
        scale = VALUE_RMS / 2.0
    np.testing.assert_allclose(learner.returns(stats, jnp.asarray([scale, 3 * scale])), [1.0, 3.0], rtol=1e-6)
