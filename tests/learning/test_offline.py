"""What can be learned from recorded data, what cannot, and what goes wrong without a regulariser.

All data are written down here: nobody acts. Situations are 0 and 1, one after the other; 2 is over.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.learners import bc, icq, q_coordination, q_offline
from tandem.models import actor_critic, coordination_q, q_behaviour
from tandem.ops import backups
from tandem.ops.conservatism import Options, Seen, agent
from tandem.planners.policies import actor, epsilon_greedy, supported
from tests.reference.offline_rows import A, N, SPEC, begun, episodes, learned, plays
from tests.reference.run_plans import run_plan

UPDATES = 500
PLAN = run_plan(SPEC, 0.99, UPDATES, 1)
MIXERS = {"iql": "none", "vdn": "sum", "qmix": "monotone", "maicq": "sum"}
Q = {"sequence": 2, "reward_scale": 1.0, "learning_rate": 2e-2, "target_period_updates": 20, "max_grad_norm": 100.0}


@cache
def cloning():
    """Return (learner, planner) of behaviour cloning."""
    model = actor_critic.make(actor_critic.Config(hidden_size=16, num_layers=1), SPEC)
    learner = bc.make(bc.Config(sequence=2, learning_rate=2e-2), model, PLAN)
    return learner, actor.make(actor.Config(also_sampled=True), model, SPEC, 0.99)


@cache
def q_learning(name: str, **settings):
    """Return (learner, planner) of a Q-learner; `backup="support"` plays accordingly."""
    model = q_behaviour.make(q_behaviour.Config(hidden_size=16, num_layers=1, mixer=MIXERS[name]), SPEC)
    module = icq if name == "maicq" else q_offline
    learner = module.make(module.Config(**Q | settings), model, PLAN)
    chosen = supported if settings.get("backup") == "support" else epsilon_greedy
    return learner, chosen.make(chosen.Config(), model, SPEC, 0.99)


CQL = {"conservatism": "agent", "conservatism_weight": 0.5}


def more_of_the_worse(rng):
    """Two steps that pay 1 for each agent that plays 1; the data play 0 with 0.7."""
    actions = (rng.random((2, N)) > 0.7).astype(int)
    return [(t, actions[t], actions[t].sum()) for t in range(2)]


def one_right_door(rng):
    """Two rooms that pay the share of agents at the right door, 1: the data go right in one of them only."""
    right = rng.integers(2)
    return [(t, [int(t == right)] * N, float(t == right)) for t in range(2)]


def trained(method, draw, choices: int = 2, **more):
    """Return what is played in each situation [S, N], the policies [S, N, A], and the last metrics."""
    learner, planner = method
    state, metrics = learned(learner, episodes(draw, choices), UPDATES, **more)
    return *plays(planner, learner.acting(state), choices), metrics


def test_what_is_cloned_is_what_the_data_play_and_no_better():
    action, policy, metrics = trained(cloning(), more_of_the_worse)
    assert action[:2].sum() == 0  # by mode it earns nothing
    np.testing.assert_allclose(policy[:2, :, 1].sum(), 1.2, atol=0.2)  # drawn, what the data earn
    assert 0.5 < metrics["offline/agreement"] < 0.9


@pytest.mark.parametrize("name, settings", [
    ("iql", CQL), ("vdn", CQL), ("qmix", {"conservatism": "joint", "conservatism_weight": 0.3}),
    ("maicq", {"policy_temperature": 0.2}),
])  # fmt: skip
def test_values_play_better_than_the_data(name, settings):
    action, _, metrics = trained(q_learning(name, **settings), more_of_the_worse)
    assert action[:2].sum() == 4
    assert metrics["offline/known_share"] > 0.5 and (
        "conservatism" not in settings or metrics["train/conservatism"] > 0
    )


def test_rewards_that_are_drawn_by_lot_teach_nothing():
    def paid_by_lot(rng):
        return [(t, actions, rng.integers(3)) for t, actions, _ in more_of_the_worse(rng)]

    action, _, _ = trained(q_learning("iql", **CQL), paid_by_lot)
    assert action[:2].sum() == 0  # what the data play most


def test_values_stitch_together_the_good_halves_of_two_bad_episodes():
    action, _, _ = trained(q_learning("vdn", **CQL), one_right_door)
    assert action[:2].sum() == 2 * N
    _, policy, _ = trained(cloning(), one_right_door)
    np.testing.assert_allclose(policy[:2, :, 1].mean(axis=1).sum(), 1.0, atol=0.2)


@cache
def knowing(rung: str):
    """Return (learner, planner) of values that know what imitating the team taught."""
    config = coordination_q.Config(hidden_size=16, num_layers=1, mixer="sum", coordination=rung)
    model = coordination_q.make(config, SPEC)
    soft = {"backup": "soft_behaviour", "temperature": 0.1}
    learner = q_coordination.make(q_coordination.Config(**Q | soft), model, PLAN)
    return learner, supported.make(supported.Config(), model, SPEC, 0.99)


def test_values_that_know_what_the_team_does_stitch_as_well():
    action, _, metrics = trained(knowing("skills"), one_right_door)
    assert action[:2].sum() == 2 * N
    assert metrics["offline/ood_share"] == 0.0


def test_who_decides_alone_cannot_tell_who_goes_left():
    """The data are (0, 1) and (1, 0), which pay 1: agents that draw alone meet in half of all cases."""

    def apart(rng):
        first = rng.integers(2)
        return [(0, [first, 1 - first], 1.0)]

    _, policy, _ = trained(cloning(), apart)
    one = policy[0, :, 1]
    np.testing.assert_allclose(one[0] * (1 - one[1]) + one[1] * (1 - one[0]), 0.5, atol=0.05)
    learner, _ = q_learning("iql", **CQL)
    state, _ = learned(learner, episodes(apart, 2), UPDATES)
    model = q_behaviour.make(q_behaviour.Config(hidden_size=16, num_layers=1, mixer="none"), SPEC)
    obs = jnp.zeros((1, 1, N, 3)).at[..., 0].set(1.0)
    legal = jnp.ones((1, 1, N, A), bool)
    values = np.asarray(model.q_values.values(state.params, (), obs, jnp.zeros((1, 1), bool), legal)[1])[0, 0]
    np.testing.assert_allclose(values[:, 0], values[:, 1], atol=0.15)


def tempting(rng):
    """One step of three actions, of which the data never play the third; 1 pays."""
    actions = rng.integers(2, size=N)
    return [(0, actions, actions.mean())]


def tempted(method):
    """Return what is learned if the third action seems to be worth 10 at first."""
    learner, planner = method
    state = jax.tree.map(jnp.copy, begun(learner, 1))
    head = state.params["agents"]["head"]["rows"]
    head["bias"] = head["bias"].at[2].set(10.0)
    state, metrics = learned(learner, episodes(tempting, A), UPDATES, state=state)
    return plays(planner, learner.acting(state), A)[0][0], metrics


def test_an_action_that_the_data_never_play_is_played_for_ever_unless_something_holds_it_down():
    action, metrics = tempted(q_learning("iql"))
    assert (action == 2).all() and metrics["offline/ood_share"] == 1.0 and metrics["offline/agreement"] == 0.0
    assert metrics["offline/behaviour_kl"] > 4.0
    for settings in ({"conservatism": "agent", "conservatism_weight": 0.5}, {"backup": "support"}):
        action, metrics = tempted(q_learning("iql", **settings))
        assert (action == 1).all() and metrics["offline/ood_share"] == 0.0, settings


def shifted(backup, weight: float, steps: int) -> float:
    """Return w after so many steps of Q(a) = w f(a), of a loop that pays nothing and begins at w = 0.1.

    The action of the data has the feature 1, and one that is never played the feature 2.
    """
    feature, behaviour, legal = jnp.array([1.0, 2.0]), jnp.array([1.0, 0.0]), jnp.ones(2, bool)

    def loss(w, target):
        values = (w * feature)[None]
        seen = Seen(values, legal[None], jnp.zeros(1, jnp.int32), legal[:1], lambda q: q, behaviour[None])
        held = agent(seen, Options(), jax.random.key(0))
        return 0.5 * (target - values[0, 0]) ** 2 + weight * jnp.sum(held)

    def step(w, _):
        values = w * feature
        target = 0.99 * backup(values, values, legal, behaviour)
        return w - 0.05 * jax.grad(loss)(w, target), None

    return float(jax.jit(lambda w: jax.lax.scan(step, w, None, steps)[0])(jnp.float32(0.1)))


def test_an_unseen_action_with_a_larger_feature_drives_values_to_infinity_unless_something_holds_it_down():
    assert shifted(backups.greedy, 0.0, 335) < 1e6 < shifted(backups.greedy, 0.0, 340)
    assert shifted(backups.greedy, 0.1, 400) > 1e4  # the weight has to exceed (2 gamma - 1) w / 0.52
    assert -4.0 < shifted(backups.greedy, 1.0, 4000) < shifted(backups.greedy, 1.0, 400) < -2.0
    np.testing.assert_allclose(shifted(backups.support(0.3), 0.0, 440), 0.08, atol=0.005)
