"""A soft actor-critic that is tied to the data's policy: who pays, how much, and what that prevents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import PolicyExtras, Transition
from tandem.learners import sac, sac_offline
from tandem.models import soft_actor_critic
from tandem.ops.divergences import DIVERGENCES, Options
from tandem.ops.masking import masked_softmax
from tandem.planners.policies import soft_actor
from tests.learners.rollouts import SPEC, A, E, N, T, batch_of, random_rows
from tests.reference import offline_rows
from tests.reference.compiled import quick_jit
from tests.reference.run_plans import run_plan

MODEL = soft_actor_critic.make(soft_actor_critic.Config(hidden_size=6, num_layers=1, head_gain=1.0), SPEC)
PLAN = run_plan(SPEC, 0.9)


def config(**changes) -> sac_offline.Config:
    return sac_offline.Config(
        **{"sequence": T, "reward_scale": 2.0, "penalty_weight": 3.0, "learning_rate": 1e-2} | changes
    )


@pytest.fixture(scope="module")
def batch():
    nothing = jnp.zeros((E, T, N))
    extras = PolicyExtras(log_prob=nothing, policy=jnp.zeros((E, T, N, A)), entropy=nothing)
    return batch_of(Transition(extras=extras, **random_rows(1)))


def state_of(settings: sac_offline.Config):
    return quick_jit(sac_offline.make(settings, MODEL, PLAN).init)(jax.random.key(0))


def behaviour(params, obs, legal):
    return masked_softmax(MODEL.soft_actor_critic.policy({"actor": params["behaviour"]}, obs), legal)


@pytest.mark.parametrize("penalty, penalised", [("kl", "values"), ("tv", "policy")])
def test_the_policy_pays_the_divergence_times_its_weight_and_the_values_as_well_or_not(penalty, penalised, batch):
    face, rows = MODEL.soft_actor_critic, batch.traj
    settings = config(penalty=penalty, penalised=penalised)
    tie, params = sac_offline.regulariser(settings, MODEL, PLAN), state_of(settings).params

    @quick_jit
    def losses(params):
        target, key = jnp.ones((E, T, N)), jax.random.key(5)
        means = sac.expected(settings, MODEL, PLAN)
        lost = [
            sac.loss(settings, means, params, batch, target, key, x)[1][0]["train/policy_loss"] for x in (None, tie)
        ]
        worth = [sac.soft_values(means, params, params["critics"], rows, key, x) for x in (None, tie)]
        return lost[1] - lost[0], worth[0] - worth[1]

    def cost(obs, legal):
        policy = masked_softmax(face.policy(params, obs), legal)
        return 3.0 * np.asarray(DIVERGENCES[penalty](policy, behaviour(params, obs, legal), Options()))

    by_policy, by_values = losses(params)
    free = np.asarray(rows.alive & (rows.legal.sum(axis=-1) > 1))
    np.testing.assert_allclose(by_policy, cost(rows.obs, rows.legal)[free].mean(), rtol=1e-3)
    paid = np.where(rows.next_alive, cost(rows.next_obs, rows.next_legal), 0.0) if penalised == "values" else 0.0
    np.testing.assert_allclose(by_values, np.broadcast_to(paid, by_values.shape), rtol=1e-3, atol=1e-4)


def test_a_bounded_penaltys_weight_rises_above_the_bound_falls_below_it_and_stays_within_its_range(batch):
    nothing, policy = jnp.zeros((E, T, N)), masked_softmax(jnp.zeros((E, T, N, A)), batch.traj.legal)
    for limit, sign in ((1e-6, -1.0), (50.0, 1.0)):
        settings = config(penalty="tv", penalty_limit=limit)
        tie, params = sac_offline.regulariser(settings, MODEL, PLAN), state_of(settings).params
        slope, metrics = quick_jit(jax.grad(tie.loss, has_aux=True))(params, batch, policy, nothing)  # noqa: B023
        np.testing.assert_allclose(metrics["offline/penalty_weight"], 3.0, rtol=1e-5)
        np.testing.assert_allclose(slope["log_penalty"], limit - metrics["offline/penalty"], rtol=1e-4)
        assert float(slope["log_penalty"]) * sign > 0  # steps go against it
        assert set(metrics) == set(tie.metric_names)
    assert float(tie.settle(params | {"log_penalty": jnp.float32(30.0)})["log_penalty"]) == 10.0
    with pytest.raises(ValueError, match="cannot begin at 0"):
        sac_offline.make(config(penalty_limit=0.1, penalty_weight=0.0), MODEL, PLAN)


def tempted(weight: float):
    """Return what is played, and metrics, where an action that the data never play seems to be worth 10 at first.

    The data play the first two of three actions, of which the second pays.
    """
    spec, plan = offline_rows.SPEC, run_plan(offline_rows.SPEC, 0.99, 500, 1)
    model = soft_actor_critic.make(soft_actor_critic.Config(hidden_size=16, num_layers=1), spec)
    settings = sac_offline.Config(
        sequence=1, penalty_weight=weight, learning_rate=2e-2, initial_temperature=0.01, tune_temperature=False
    )
    learner = sac_offline.make(settings, model, plan)
    state = jax.tree.map(jnp.copy, offline_rows.begun(learner))
    head = state.params["critics"]["head"]["rows"]
    head["bias"] = head["bias"].at[:, 2].set(10.0)

    def draw(rng):
        actions = rng.integers(2, size=offline_rows.N)
        return [(0, actions, actions.mean())]

    state, metrics = offline_rows.learned(learner, offline_rows.episodes(draw, offline_rows.A), 500, state=state)
    planner = soft_actor.make(soft_actor.Config(), model, spec, 0.99)
    return offline_rows.plays(planner, learner.acting(state), offline_rows.A)[0][0], metrics


def test_what_the_data_never_play_is_played_for_ever_unless_it_is_paid_for():
    action, metrics = tempted(0.0)
    assert (action == 2).all() and metrics["offline/ood_share"] == 1.0
    action, metrics = tempted(4.0)
    assert (action != 2).all() and metrics["offline/ood_share"] == 0.0
