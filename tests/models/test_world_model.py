"""The world model: who may know what in each head, what an untrained one says, shapes and types of its outputs."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Discrete, EnvSpec, Numbers, Vector
from tandem.models.world_model import Config, make
from tests.reference.compiled import quick_jit

N, O, A, D = 3, 7, 5, 12
P, VALUES, REWARDS = 6, 11, 9  # projection size, bins of value and of reward
B = N * A  # all ways in which one agent may act differently
SPEC = EnvSpec(num_agents=N, obs=Vector(O), state=Vector(2), actions=Discrete(A), episode_limit=4, shared_reward=True)
SMALL = dict(
    latent_size=D, hidden_size=10, encoder_size=14, attention_size=8, attention_heads=2, projection_size=P,
    value_bins=VALUES, reward_bins=REWARDS,
)  # fmt: skip


@lru_cache(maxsize=None)
def model_of(**changes):
    return make(Config(**SMALL | changes), SPEC)


@lru_cache(maxsize=None)
def program(**changes):
    """Return one compiled function of (params, obs, action, visible, committed) -> every output by name."""
    return quick_jit(lambda *inputs: outputs(model_of(**changes), *inputs))


def outputs(model, params, obs, action, visible, committed):
    _, latent = model.latents.represent(params, (), obs, jnp.ones(obs.shape[:-2], bool))
    after = model.latents.imagine(params, latent, action, jax.random.key(0))
    return {
        "latent": latent,
        "policy": model.team_policy.logits(params, latent, action, visible),
        "value": model.team_value.logits(params, latent, action, committed),
        "next_latent": after.latent,
        "reward": after.reward,
        "project": model.self_supervision.project(params, latent),
        "foresee": model.self_supervision.foresee(params, latent),
    }


@lru_cache(maxsize=None)
def trained(**changes):
    """Return parameters in which no layer is zero any more, as after some training."""
    shapes = jax.eval_shape(model_of(**changes).init, jax.random.key(0))
    draw = np.random.default_rng(1).normal
    return jax.tree.map(lambda x: draw(scale=0.5, size=x.shape).astype(x.dtype), shapes)


def run(obs=None, action=None, visible=False, committed=False, params=None, **changes):
    """Return every output as [B, ...] in NumPy; inputs are given for one time step, or as B of them."""
    obs, action = a_team_sees() if obs is None else obs, a_team_plays() if action is None else action
    inputs = [
        np.broadcast_to(np.asarray(x, dtype), (B, *shape))
        for x, dtype, shape in (
            (obs, np.float32, (N, O)), (action, np.int32, (N,)), (visible, bool, (N, N)), (committed, bool, (N,))
        )
    ]  # fmt: skip
    changes = {name: x for name, x in changes.items() if x != getattr(Config(), name)}  # one program per configuration
    params = trained(**changes) if params is None else params
    return jax.tree.map(np.array, program(**changes)(params, *inputs))


def a_team_sees() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(N, O))


def a_team_plays() -> np.ndarray:
    return np.array([4, 0, 2])


def acting_differently() -> np.ndarray:
    """Return [B, N] joint actions: for each agent j, rows j A to (j + 1) A let it play everything."""
    actions = np.tile(a_team_plays(), (N, A, 1))
    for j in range(N):
        actions[j, :, j] = np.arange(A)
    return actions.reshape(B, N)


def influence(rows: np.ndarray) -> np.ndarray:
    """Return [N, ...] bool of outputs [B, ..., F] for `acting_differently`: entry j is what agent j changes."""
    rows = rows.reshape(N, A, *rows.shape[1:])
    return np.any(np.abs(rows - rows[:, :1]) > 1e-5, axis=(1, -1))  # rows of one batch may be rounded differently


@pytest.mark.parametrize("leading", [(), (2,), (2, 4)])
def test_every_function_takes_any_leading_axes(leading):
    model = model_of()
    nobody = jnp.zeros((*leading, N), bool)
    visible, action = jnp.zeros((*leading, N, N), bool), jnp.zeros((*leading, N), jnp.int32)
    inputs = (jnp.zeros((*leading, N, O)), action, visible, nobody)
    shapes = jax.eval_shape(lambda *x: outputs(model, *x), trained(), *inputs)
    out = {name: x.shape for name, x in shapes.items()}
    agents = (*leading, N)
    assert out == {
        "latent": (*agents, D),
        "policy": (*agents, A),
        "value": (*leading, VALUES),
        "next_latent": (*agents, D),
        "reward": (*leading, REWARDS),
        "project": (*agents, P),
        "foresee": (*agents, P),
    }
    assert jax.eval_shape(model.team_value.codec.mean, jnp.zeros(out["value"])).shape == leading
    assert jax.eval_shape(model.latents.reward.mean, jnp.zeros(out["reward"])).shape == leading
    assert jax.eval_shape(model.team_value.codec.target, jnp.zeros(leading)).shape == out["value"]
    assert jax.eval_shape(model.latents.reward.target, jnp.zeros(leading)).shape == out["reward"]


def test_leading_axes_do_not_mix():
    draw = np.random.default_rng(3)
    inputs = (
        draw.normal(size=(B, N, O)).astype(np.float32), draw.integers(0, A, (B, N)), draw.random((B, N, N)) < 0.5,
        draw.random((B, N)) < 0.5,
    )  # fmt: skip
    flat = run(*inputs)
    folded = program()(trained(), *(x.reshape(5, 3, *x.shape[1:]) for x in inputs))
    for name, x in folded.items():
        np.testing.assert_allclose(x.reshape(flat[name].shape), flat[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_with_nothing_visible_an_agents_policy_depends_on_its_own_observation_alone():
    obs = np.broadcast_to(a_team_sees(), (B, N, O)).copy()
    for j in range(N):
        obs[j, j] += 1.0
    policy = run(obs)["policy"]
    np.testing.assert_array_equal(np.any(policy[:N] != policy[N], axis=-1), np.eye(N, dtype=bool))


def test_with_nothing_visible_no_action_changes_policy_or_value():
    out = run(action=acting_differently())
    assert not influence(out["policy"]).any() and not influence(out["value"]).any()


def test_an_agents_policy_depends_on_exactly_the_actions_it_may_see():
    visible = np.array([[False, True, False], [False, False, False], [True, True, False]])
    out = run(action=acting_differently(), visible=visible)
    np.testing.assert_array_equal(influence(out["policy"]).T, visible)


def test_whose_action_it_was_matters_to_those_who_see_it():
    visible = np.zeros((B, N, N), bool)
    visible[0, 2, 0] = visible[1, 2, 1] = True
    policy = run(action=np.full(N, 4), visible=visible)["policy"]
    assert np.any(policy[0, 2] != policy[1, 2])


@pytest.mark.parametrize("committed", [[True, False, False], [False, True, True], [True, True, True]])
def test_the_value_depends_on_exactly_the_committed_actions(committed):
    out = run(action=acting_differently(), committed=committed)
    np.testing.assert_array_equal(influence(out["value"]), committed)


def test_to_have_committed_to_the_first_action_is_not_to_have_committed_to_none():
    committed = np.zeros((B, N), bool)
    committed[1, 2] = True
    value = run(action=np.zeros(N), committed=committed)["value"]
    assert np.any(value[0] != value[1])


@pytest.mark.parametrize(("attention", "who"), [("none", np.eye(N)), ("transformer", np.ones((N, N)))])
def test_only_attention_lets_an_agents_action_reach_its_teammates_next_latents(attention, who):
    out = run(action=acting_differently(), attention=attention)
    np.testing.assert_array_equal(influence(out["next_latent"]), who.astype(bool))
    assert influence(out["reward"]).all()


def test_an_untrained_model_plays_uniformly_and_expects_nothing():
    model = model_of()
    out = run(visible=True, committed=True, params=untrained())
    np.testing.assert_array_equal(out["policy"], np.zeros((B, N, A)))
    np.testing.assert_array_equal(out["value"], np.zeros((B, VALUES)))
    np.testing.assert_array_equal(out["reward"], np.zeros((B, REWARDS)))
    np.testing.assert_allclose(model.team_value.codec.mean(out["value"][:1]), [0.0], atol=1e-6)
    np.testing.assert_allclose(model.latents.reward.mean(out["reward"][:1]), [0.0], atol=1e-6)


@lru_cache(maxsize=None)
def untrained():
    return quick_jit(model_of().init)(jax.random.key(5))


def test_latents_are_normalised_seen_or_imagined_however_large_the_observations():
    out = run(100.0 * a_team_sees(), params=untrained())
    for name in ("latent", "next_latent"):
        np.testing.assert_allclose(np.mean(out[name], axis=-1), 0.0, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(np.var(out[name], axis=-1), 1.0, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("agent_id", [True, False])
def test_agents_who_see_the_same_differ_only_by_their_id(agent_id):
    latent = run(np.tile(a_team_sees()[:1], (N, 1)), agent_id=agent_id)["latent"][0]
    assert [np.any(latent[i] != latent[0]) for i in range(N)] == [False, agent_id, agent_id]


def test_layers_in_bfloat16_leave_parameters_and_outputs_in_float32():
    shapes = jax.eval_shape(model_of(compute_dtype="bfloat16").init, jax.random.key(0))
    assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    exact = run(visible=True, committed=True)
    coarse = run(visible=True, committed=True, params=trained(), compute_dtype="bfloat16")
    for name, x in coarse.items():
        assert x.dtype == exact[name].dtype == np.float32, name
        assert np.any(x != exact[name]), f"{name}: nothing was computed in bfloat16"
        np.testing.assert_allclose(x, exact[name], atol=0.1 * np.abs(exact[name]).max(), err_msg=name)


def test_gradients_reach_every_parameter():
    everything = np.ones((2, N, N), bool)
    obs, action = np.random.default_rng(4).normal(size=(2, N, O)).astype(np.float32), np.array([[4, 0, 2], [1, 1, 3]])

    def objective(params):
        out = outputs(model_of(), params, obs, action, everything, everything[:, 0])
        return sum(jnp.sum(x**2) for x in out.values())

    for path, gradient in jax.tree.leaves_with_path(quick_jit(jax.grad(objective))(trained())):
        assert np.isfinite(gradient).all() and np.any(gradient), jax.tree_util.keystr(path)


def test_targets_and_means_are_inverse_to_each_other_on_both_supports():
    model = model_of()
    scalars = jnp.array([-20.0, -0.7, 0.0, 0.3, 23.0])
    np.testing.assert_allclose(
        model.team_value.codec.mean(jnp.log(model.team_value.codec.target(scalars))), scalars, rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose(
        model.latents.reward.mean(jnp.log(model.latents.reward.target(scalars))), scalars, rtol=1e-3, atol=1e-3
    )


def test_heads_that_do_not_divide_the_width_of_attention_are_refused_by_name():
    with pytest.raises(ValueError, match="network_args.attention_heads=5 .*network_args.attention_size=8"):
        make(Config(**SMALL | dict(attention_heads=5)), SPEC)


def test_continuous_actions_are_refused():
    continuous = EnvSpec(
        num_agents=N, obs=Vector(O), state=Vector(2), actions=Numbers(A), episode_limit=4, shared_reward=True
    )
    with pytest.raises(ValueError, match="discrete"):
        make(Config(**SMALL), continuous)


def test_episodes_are_imagined_to_go_on_for_ever():
    latent, action = jnp.ones((4, N, D)), jnp.zeros((4, N), jnp.int32)
    played = quick_jit(model_of().latents.imagine)(trained(), latent, action, jax.random.key(0))
    np.testing.assert_array_equal(played.continues, np.ones(4))


def test_each_layer_more_is_of_the_dynamics_or_of_a_teams_head_and_changes_what_they_say():
    def paths(**changes) -> set[str]:
        return {jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(trained(**changes))}

    deep, flat = paths(num_layers=3), paths()
    added = sorted(path for path in deep - flat if "kernel" in path)
    assert flat < deep and len(added) == 2 * 3
    before = run(params=trained(num_layers=3), num_layers=3)
    for name in added:
        params = jax.tree_util.tree_map_with_path(
            lambda path, x, name=name: 0.0 * x if jax.tree_util.keystr(path) == name else x, trained(num_layers=3)
        )
        after = run(params=params, num_layers=3)
        changed = {key for key in before if not np.allclose(before[key], after[key])}
        assert changed in ({"next_latent", "reward"}, {"reward"}, {"value"}), (name, changed)
