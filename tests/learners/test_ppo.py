"""PPO and its variant in phases: what every learner promises, what each switch does, and that a policy improves."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.learners import on_policy, ppo, ppo_distil
from tandem.models import actor_critic
from tandem.ops.masking import kl_divergence, masked_softmax
from tests.learners.rollouts import SPEC, E, N, T, random_rollout
from tests.reference.compiled import quick_jit
from tests.reference.run_plans import run_plan

NETWORK = actor_critic.Config(hidden_size=6, num_layers=1, policy_gain=1.0)
NETWORKS = {
    "shared": NETWORK,
    "ns": dataclasses.replace(NETWORK, share_parameters=False, actor_memory="gru"),
    "one network": dataclasses.replace(NETWORK, separate_critic=False),
    "own values": dataclasses.replace(NETWORK, value_per_agent=True),
}
PPO = ppo.Config(
    epochs=2, num_minibatches=3, learning_rate=1e-2, critic_learning_rate=2e-2, value_normalisation="popart"
)
DISTIL = ppo_distil.Config(
    policy_epochs=1,
    policy_minibatches=3,
    policy_learning_rate=1e-2,
    value_epochs=3,
    value_minibatches=2,
    value_learning_rate=1e-2,
    distil_epochs=2,
    distil_minibatches=1,
    distil_learning_rate=1e-2,
    reward_normalisation=True,
)
STEPS = {ppo: 6, ppo_distil: 11}
DISCOUNT, UPDATES = 0.9, 10


@cache
def parts(module=ppo, network: str = "shared", **settings):
    """Return (model, learner, compiled update, fresh state, rollout)."""
    model = actor_critic.make(NETWORKS[network], SPEC)
    config = dataclasses.replace(PPO if module is ppo else DISTIL, **settings)
    learner = module.make(config, model, run_plan(SPEC, DISCOUNT, UPDATES, E))
    state = quick_jit(learner.init)(jax.random.key(0))
    model = model.actor_critic
    return model, learner, quick_jit(learner.update), state, random_rollout(model, state.params, 1)


def changed(before, after) -> dict[str, bool]:
    """Return by top-level entry whether any leaf differs."""
    leaves = {name: zip(jax.tree.leaves(before[name]), jax.tree.leaves(after[name]), strict=True) for name in before}
    return {name: any(np.any(np.asarray(a) != np.asarray(b)) for a, b in pairs) for name, pairs in leaves.items()}


@pytest.mark.parametrize("module, network", [(ppo, "ns"), (ppo, "one network"), (ppo_distil, "shared")])
def test_an_update_keeps_structure_and_types_and_compiles_once(module, network):
    settings = {"value_normalisation": "none"} if network == "one network" else {}
    _, learner, update, state, batch = parts(module, network, **settings)
    new, metrics, priorities = update(state, batch, jax.random.key(1))
    again, *_ = update(new, batch, jax.random.key(2))
    assert update._cache_size() == 1
    assert jax.tree.structure(new) == jax.tree.structure(state)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(new)] == [(x.shape, x.dtype) for x in jax.tree.leaves(state)]
    assert set(metrics) == set(learner.metric_names) and learner.sequence_length == 0
    assert priorities.shape == (E,) and int(again.step) == 2 * STEPS[module]
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((again, metrics)))
    assert all(changed(state.params, new.params).values())


@pytest.mark.parametrize("module", [ppo, ppo_distil])
def test_zero_reward_and_dead_teams_stay_finite(module):
    _, _, update, state, batch = parts(module)
    traj = batch.traj.replace(reward=jnp.zeros((E, T, N)), alive=jnp.zeros((E, T, N), bool))
    state, metrics, _ = update(state, batch.replace(traj=traj), jax.random.key(1))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((state, metrics)))


def test_the_learning_rate_falls_in_a_line_over_optimiser_steps():
    _, _, update, state, batch = parts()
    rates = []
    for i in range(3):
        state, metrics, _ = update(state, batch, jax.random.key(i))
        rates.append(float(metrics["train/learning_rate"]))
    np.testing.assert_allclose(rates, [1e-2, 0.9e-2, 0.8e-2], rtol=1e-5)


def test_each_phase_reports_its_own_learning_rate_by_its_own_steps():
    _, _, update, state, batch = parts(
        ppo_distil, value_learning_rate=4e-2, distil_learning_rate=5e-3, final_rate_fraction=0.5
    )
    rates = []
    for i in range(3):
        state, metrics, _ = update(state, batch, jax.random.key(i))
        rates.append([float(metrics[f"train/{phase}_learning_rate"]) for phase in ("policy", "value", "distil")])
    np.testing.assert_allclose(rates, np.outer([1.0, 0.95, 0.9], [1e-2, 4e-2, 5e-3]), rtol=1e-5)
    np.testing.assert_allclose(int(state.opt["value"][1][0].count), 3 * 6)  # what adam's own schedule has counted


def test_policy_and_critic_go_by_their_own_learning_rates():
    for rates, moved in (
        ((1e-2, 0.0), {"actor": True, "critic": False}),
        ((0.0, 1e-2), {"actor": False, "critic": True}),
    ):
        model, learner, _, state, batch = parts(
            learning_rate=rates[0], critic_learning_rate=rates[1], value_normalisation="none"
        )
        new, *_ = (
            learner.update(state, batch, jax.random.key(0))
            if rates[0]
            else quick_jit(learner.update)(state, batch, jax.random.key(0))
        )
        assert changed(state.params, new.params) == moved


def test_updates_make_good_actions_likelier_and_values_fit():
    model, learner, update, state, batch = parts(network="own values")
    traj = batch.traj
    good = traj.action == jnp.argmax(traj.legal, axis=-1)  # the first legal action pays, at once
    paid = batch.replace(traj=traj.replace(reward=good.astype(jnp.float32)))
    _, own, *_ = parts(network="own values", reward="own", gae_lambda=0.0, entropy_weight=0.0)
    step, state = quick_jit(own.update), own.init(jax.random.key(0))

    def chance(params) -> float:
        logits = model.policy(params, model.memory(E), traj.obs, traj.first)[1]
        first = jnp.take_along_axis(
            masked_softmax(logits, traj.legal), jnp.argmax(traj.legal, axis=-1)[..., None], axis=-1
        )
        return float(jnp.mean(first[traj.alive & (traj.legal.sum(axis=-1) > 1)]))

    before = chance(state.params)
    for i in range(3):
        extras = traj.extras.replace(log_prob=_log_prob(model, state.params, traj))
        state, metrics, _ = step(state, paid.replace(traj=paid.traj.replace(extras=extras)), jax.random.key(i))
    assert chance(state.params) > before + 0.1


def _log_prob(model, params, traj):
    logits = model.policy(params, model.memory(E), traj.obs, traj.first)[1]
    chosen = jnp.take_along_axis(masked_softmax(logits, traj.legal), traj.action[..., None], axis=-1)
    return jnp.log(chosen[..., 0])


@pytest.mark.parametrize(
    "off, moved",
    [
        (("value", "distil"), {"actor": True, "critic": False}),
        (("policy", "distil"), {"actor": False, "critic": True}),
        (("policy", "value"), {"actor": True, "critic": False}),
    ],
)
def test_each_phase_trains_its_own_network_and_can_be_left_out(off, moved):
    _, learner, _, state, batch = parts(ppo_distil, **{f"{name}_epochs": 0 for name in off})
    new, metrics, _ = quick_jit(learner.update)(state, batch, jax.random.key(0))
    assert changed(state.params, new.params) == moved and len(new.opt) == 1
    assert set(metrics) == set(learner.metric_names)


def distilled(**settings):
    """Return (model, params before, params after, chunks) of many steps of distillation alone."""
    config = (
        dict(policy_epochs=0, value_epochs=0, distil_epochs=40, value_loss="squared", final_rate_fraction=1.0)
        | settings
    )
    model, learner, _, state, batch = parts(ppo_distil, **config)
    new, *_ = quick_jit(learner.update)(state, batch, jax.random.key(0))
    chosen = dataclasses.replace(DISTIL, **config)
    _, chunks, _ = on_policy.judge(chosen, model, SPEC, DISCOUNT, (0.8, 0.95), state, batch.traj)
    return model, state.params, new.params, chunks


def divergence(model, before, after, chunks) -> float:
    old, new = (
        masked_softmax(model.policy(p, chunks.memory, chunks.obs, chunks.first)[1], chunks.legal)
        for p in (before, after)
    )
    return float(jnp.mean(kl_divergence(old, new)[chunks.alive]))


def own_error(model, params, chunks, target) -> float:
    return float(jnp.mean((model.policy(params, chunks.memory, chunks.obs, chunks.first)[2] - target) ** 2))


def test_distillation_teaches_the_policy_network_what_the_value_network_says_and_keeps_the_policy():
    model, before, after, chunks = distilled()
    _, target = model.value(before, chunks.memory, chunks.obs, chunks.state, chunks.first)
    assert own_error(model, after, chunks, target) < 0.5 * own_error(model, before, chunks, target)
    free = divergence(*distilled(distil_kl_weight=0.0))
    assert divergence(model, before, after, chunks) < 0.2 * free and free > 1e-3


def test_distillation_can_teach_the_value_targets_instead():
    model, before, after, chunks = distilled(distil_target="returns", distil_kl_weight=0.0)
    assert own_error(model, after, chunks, chunks.value_target) < 0.8 * own_error(
        model, before, chunks, chunks.value_target
    )


def test_with_one_network_and_no_distillation_the_value_phase_teaches_it_its_own_values():
    settings = dict(policy_epochs=0, value_epochs=40, distil_epochs=0, value_loss="squared", final_rate_fraction=1.0)
    model, learner, update, state, batch = parts(ppo_distil, "one network", **settings)
    new, metrics, _ = update(state, batch, jax.random.key(0))
    _, chunks, _ = on_policy.judge(
        dataclasses.replace(DISTIL, **settings), model, SPEC, DISCOUNT, (0.8, 0.95), state, batch.traj
    )
    before, after = (own_error(model, params, chunks, chunks.value_target) for params in (state.params, new.params))
    assert after < 0.8 * before and list(new.params) == ["actor"] and set(metrics) == set(learner.metric_names)


def test_with_one_network_and_no_distillation_policy_and_value_phase_take_turns():
    _, learner, update, state, batch = parts(ppo_distil, "one network", distil_epochs=0)
    new, metrics, _ = update(state, batch, jax.random.key(0))
    assert set(new.opt) == {"policy", "value"} and int(new.step) == 3 + 6
    assert {"train/policy_loss", "train/value_loss"} < set(metrics) == set(learner.metric_names)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((new, metrics)))


def test_the_two_lambdas_of_the_phases_reach_their_targets():
    model, _, _, state, batch = parts(ppo_distil)
    same = dataclasses.replace(DISTIL, advantage_normalisation=False, reward_normalisation=False)
    _, chunks, _ = on_policy.judge(same, model, SPEC, DISCOUNT, (0.8, 0.95), state, batch.traj)
    assert not np.allclose(chunks.advantage, chunks.value_target - chunks.value, atol=1e-2)


def test_settings_that_leave_nothing_to_learn_are_refused():
    model = actor_critic.make(NETWORKS["one network"], SPEC)
    with pytest.raises(ValueError, match="nothing to distil"):
        ppo_distil.make(DISTIL, model, run_plan(SPEC, DISCOUNT, UPDATES, E))
    recurrent = actor_critic.make(NETWORKS["ns"], SPEC)
    with pytest.raises(ValueError, match="single steps cannot train a memory"):
        ppo.make(dataclasses.replace(PPO, chunk_length=1), recurrent, run_plan(SPEC, DISCOUNT, UPDATES, E))
    none = dataclasses.replace(DISTIL, policy_epochs=0, value_epochs=0, distil_epochs=0)
    with pytest.raises(ValueError, match="nothing would be learned"):
        ppo_distil.make(none, model, run_plan(SPEC, DISCOUNT, UPDATES, E))


@pytest.mark.parametrize("module, config", [(ppo, PPO), (ppo_distil, DISTIL)])
def test_one_value_for_a_team_whose_rewards_differ_is_refused(module, config):
    own = dataclasses.replace(config, reward="own")

    def make(config=own, spec=SPEC, **network):
        return module.make(
            config,
            actor_critic.make(dataclasses.replace(NETWORK, **network), spec),
            run_plan(spec, DISCOUNT, UPDATES, E),
        )

    for critic_input in ("state", "all_obs"):
        with pytest.raises(
            ValueError, match="learner_args.reward=own.*value_per_agent=True or network_args.critic_input=obs"
        ):
            make(critic_input=critic_input)
    for network in ({"value_per_agent": True}, {"critic_input": "obs"}, {"share_parameters": False}):
        make(**network)  # agents' values can differ
    make(dataclasses.replace(config, reward="team"))
    make(spec=dataclasses.replace(SPEC, shared_reward=True))
