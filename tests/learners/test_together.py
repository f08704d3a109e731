"""Learning from teams of several sizes at once: one step down the mean of the losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Discrete, EnvSpec, Vector
from tandem.learners import bc, q_offline, sac_offline
from tandem.learners.sgd import make_optimiser, sgd_step
from tandem.learners.together import begun, together
from tandem.models import actor_critic, q_behaviour, soft_actor_critic
from tests.reference.compiled import quick_jit
from tests.reference.run_plans import run_plan
from tests.reference.team_rows import batch_of, random_rows

T, O, A = 3, 4, 5
# Networks that read what one agent sees, and no id, have the same parameters for both teams.
SPECS = [
    EnvSpec(num_agents=n, obs=Vector(O), state=Vector(0), actions=Discrete(A), episode_limit=7, shared_reward=True)
    for n in (2, 3)
]
PLANS = [run_plan(each, 0.9) for each in SPECS]
SMALL = {"hidden_size": 6, "num_layers": 1, "agent_id": False}
BATCHES = [batch_of(random_rows(each, batch, T, seed=batch)) for each, batch in zip(SPECS, (4, 5))]
KEY = jax.random.key(3)


def test_a_step_of_cloning_goes_down_the_mean_of_the_losses_of_one_batch_of_each():
    config = bc.Config(sequence=T, learning_rate=1e-2, max_grad_norm=0.5, final_rate_fraction=1.0)
    models = [
        actor_critic.make(actor_critic.Config(**SMALL, policy_gain=1.0, critic_input="obs"), each) for each in SPECS
    ]
    learners = [bc.make(config, model, plan) for model, plan in zip(models, PLANS)]
    both = together(begun(learners[1], 2), [each.halves for each in learners])
    state = quick_jit(both.init)(jax.random.key(0))
    after, metrics, priorities = quick_jit(both.update)(state, [BATCHES[0], BATCHES[1]], KEY)

    optimiser, _ = make_optimiser(
        peak=1e-2, warmup_updates=0, total_updates=50, final_fraction=1.0, weight_decay=0.0, max_grad_norm=0.5
    )

    @quick_jit
    def by_hand(params, opt):
        def objective(params):
            losses = [bc.loss(config, model.actor_critic, params, batch)[0] for model, batch in zip(models, BATCHES)]
            return 0.5 * losses[0] + 0.5 * losses[1], losses

        return sgd_step(objective, optimiser, params, opt)

    params, _, norm, losses = by_hand(state.params, state.opt)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), after.params, params)
    np.testing.assert_allclose(metrics["train/grad_norm"], norm, rtol=1e-4)
    np.testing.assert_allclose(metrics["train/loss"], np.mean(losses), rtol=1e-5)
    assert abs(float(losses[0] - losses[1])) > 1e-3 and set(metrics) == set(both.metric_names)
    assert int(after.step) == 1 and priorities.shape == (9,)


def made(kind: str):
    """Return the learners of both sizes."""
    if kind == "q":
        settings = {"sequence": T, "reward_scale": 0.0, "conservatism": "agent", "target_period_updates": 2}
        network, learner, config = q_behaviour, q_offline, q_offline.Config(**settings)
        sizes = q_behaviour.Config(**SMALL, mixer="sum")
    else:
        network, learner, config = soft_actor_critic, sac_offline, sac_offline.Config(sequence=T, penalty_limit=0.1)
        sizes = soft_actor_critic.Config(**SMALL)
    return [learner.make(config, network.make(sizes, each), plan) for each, plan in zip(SPECS, PLANS)]


@pytest.mark.parametrize("kind", ["q", "sac"])
def test_values_are_learned_from_both_by_one_step_and_each_keeps_its_own_scale_of_rewards(kind):
    learners = made(kind)
    both = together(begun(learners[0], 2), [each.halves for each in learners])
    state = quick_jit(both.init)(jax.random.key(0))
    rich = BATCHES[1].replace(traj=BATCHES[1].traj.replace(reward=10.0 * BATCHES[1].traj.reward))
    after, metrics, _ = quick_jit(both.update)(state, [BATCHES[0], rich], KEY)
    changed = jax.tree.map(lambda x, y: float(jnp.max(jnp.abs(x - y))), after.params, state.params)
    assert all(0 <= x < 1 for x in jax.tree.leaves(changed)) and max(jax.tree.leaves(changed)) > 0
    assert int(after.step) == 1 and set(metrics) == set(both.metric_names)
    if kind == "q":
        assert float(after.stats[1].square) > 20 * float(after.stats[0].square) > 0
