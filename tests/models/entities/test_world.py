"""World models and actor-critics over entities: sizes that no parameter has, and who may know what."""

import dataclasses
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Discrete, Group
from tandem.models import actor_critic, world_model
from tandem.models.entities.world import bounded, others
from tests.models.entities import problem
from tests.reference.compiled import quick_jit

B, N, A = 6, 3, 6
SMALL = dict(latent_size=8, hidden_size=8, encoder_size=9, attention_size=8, projection_size=16, value_bins=11,
             reward_bins=9, entity_size=5, relation_size=3, encoder="entities")  # fmt: skip


def noisy(params):
    """Return parameters in which no layer is zero any more, as after some training."""
    draw = np.random.default_rng(2).normal
    return jax.tree.map(lambda x: draw(scale=0.5, size=x.shape).astype(x.dtype), params)


@lru_cache(maxsize=None)
def world(agents=N, landmarks=4, targets=2):
    spec = problem.spec(agents, landmarks, targets)
    model = world_model.make(world_model.Config(**SMALL), spec)
    return spec, model, noisy(jax.eval_shape(model.init, jax.random.key(0)))


def everything(params, obs, action, visible):
    """Return every output by name."""
    model = world()[1]
    latent = model.latents.represent(params, (), obs, jnp.ones(obs.shape[:-2], bool))[1]
    after = model.latents.imagine(params, latent, action, jax.random.key(0))
    return {
        "policy": model.team_policy.logits(params, latent, action, visible),
        "value": model.team_value.logits(params, latent, action, visible[:, 0]),
        "reward": after.reward,
        "next_policy": model.team_policy.logits(params, after.latent, action, visible),
        "next_value": model.team_value.logits(params, after.latent, action, visible[:, 0]),
        "foresee": model.self_supervision.foresee(params, after.latent),
        "project": model.self_supervision.project(params, latent),
    }


@lru_cache(maxsize=None)
def outputs():
    return quick_jit(everything)


def some(visible=False):
    spec, _, params = world()
    action = np.random.default_rng(4).integers(0, A, (B, N)).astype(np.int32)
    return params, problem.observations(spec, B), action, np.full((B, N, N), visible)


def test_with_nothing_visible_a_policy_is_of_its_own_observation_alone():
    params, obs, action, visible = some()

    def own(obs):
        return everything(params, obs, action, visible)["policy"][0]

    slopes = jax.jit(jax.jacobian(own))(obs)[:, :, 0]
    reach = np.abs(slopes).max(axis=(1, 3))  # [agent's logits, whose observation]
    assert (reach > 0).tolist() == np.eye(N, dtype=bool).tolist()


def test_everything_moves_with_the_order_of_the_targets():
    params, obs, action, visible = some(visible=True)
    visible &= np.tril(np.ones((N, N), bool), -1)
    before = outputs()(params, obs, action, visible)
    swapped = {3: 4, 4: 3}
    other = np.vectorize(lambda a: swapped.get(a, a))(action).astype(np.int32)
    after = outputs()(params, problem.permuted(world()[0], obs, "enemy", [1, 0]), other, visible)
    for name in ("value", "reward", "next_value"):
        np.testing.assert_allclose(after[name], before[name], rtol=2e-3, atol=2e-4)
    for name in ("policy", "next_policy"):
        np.testing.assert_allclose(after[name][..., [0, 1, 2, 4, 3, 5]], before[name], rtol=2e-3, atol=2e-4)
    assert np.abs(before["policy"][..., 3] - before["policy"][..., 4]).max() > 0.01


def test_the_order_of_landmarks_changes_nothing():
    params, obs, action, visible = some()
    before = outputs()(params, obs, action, visible)
    after = outputs()(params, problem.permuted(world()[0], obs, "landmark", [3, 1, 0, 2]), action, visible)
    for name in ("policy", "value", "reward", "next_policy", "next_value"):
        np.testing.assert_allclose(after[name], before[name], rtol=2e-3, atol=2e-4)


def test_who_aims_at_a_target_reaches_those_who_see_it():
    params, obs, action, visible = some(visible=True)
    action[:, 0] = 3
    aimed = outputs()(params, obs, action, visible & np.tril(np.ones((N, N), bool), -1))
    action[:, 0] = 4
    elsewhere = outputs()(params, obs, action, visible & np.tril(np.ones((N, N), bool), -1))
    change = np.abs(aimed["policy"] - elsewhere["policy"]).max(axis=(0, 2))
    assert change[0] == 0 and (change[1:] > 1e-3).all()


@pytest.mark.parametrize("agents,landmarks,targets", [(2, 1, 5), (5, 6, 1)])
def test_one_set_of_parameters_serves_teams_of_every_size(agents, landmarks, targets):
    spec, model, _ = world(agents, landmarks, targets)
    params = world()[2]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, jax.eval_shape(model.init, jax.random.key(0)))
    obs = problem.observations(spec, B)
    latent = model.latents.represent(params, (), obs, jnp.ones(B, bool))[1]
    own, plan = model.team_policy.begin(params, latent)
    assert model.team_policy.reply(params, own, plan).shape == (B, agents, 4 + targets)


def test_plies_say_what_the_causal_pass_says():
    params, obs, action, _ = some()
    model = world()[1]

    def both(params, obs, action):
        latent = model.latents.represent(params, (), obs, jnp.ones(B, bool))[1]
        own, plan = model.team_policy.begin(params, latent)
        plies = []
        for agent in range(N):
            plies.append(model.team_policy.reply(params, own, plan)[:, agent])
            plan = model.team_policy.commit(params, plan, latent, jnp.full(B, agent), action[:, agent])
        visible = jnp.broadcast_to(jnp.tril(jnp.ones((N, N), bool), -1), (B, N, N))
        return model.team_policy.logits(params, latent, action, visible), jnp.stack(plies, axis=1)

    causal, plies = quick_jit(both)(params, obs, action)
    np.testing.assert_allclose(causal, plies, rtol=1e-4, atol=1e-4)


def test_gradients_reach_every_parameter():
    params, obs, action, visible = some(visible=True)
    visible = visible & np.tril(np.ones((N, N), bool), -1)
    draw = np.random.default_rng(0)

    def total(params):
        found = everything(params, obs, action, visible)
        return sum(jnp.vdot(x, draw.normal(size=x.shape)) for x in found.values())

    zero = [
        path for path, x in jax.tree_util.tree_leaves_with_path(quick_jit(jax.grad(total))(params)) if not np.any(x)
    ]
    assert zero == []


def test_the_others_are_everybody_else_in_order():
    x = np.arange(4)[:, None]
    assert others(x)[..., 0].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_tokens_cannot_grow_and_zeros_stay():
    tokens = np.array([[0.0, 0.0], [3.0, 4.0], [3e6, 4e6]])
    expected = [[row / np.sqrt(np.mean(row**2) + 1.0)] for row in tokens]
    np.testing.assert_allclose(bounded(tokens), np.concatenate(expected), rtol=1e-6)


ACTOR_CRITICS = [{}, {"critic_input": "obs"}, {"value_per_agent": True}, {"separate_critic": False}]


@pytest.mark.parametrize("changes", ACTOR_CRITICS, ids=str)
def test_actor_and_critic_serve_teams_of_every_size(changes):
    config = actor_critic.Config(hidden_size=8, entity_size=5, encoder="entities", **changes)
    sizes = [(3, 4, 2), (2, 1, 5), (5, 6, 1)]
    models = [actor_critic.make(config, problem.spec(*size)) for size in sizes]
    shapes = [jax.tree.map(jnp.shape, jax.eval_shape(model.init, jax.random.key(0))) for model in models]
    assert shapes[0] == shapes[1] == shapes[2]


def test_a_critic_of_the_team_does_not_depend_on_the_agents_order_and_an_actors_choice_is_its_own():
    spec = problem.spec(4, 3, 2)
    model = actor_critic.make(actor_critic.Config(hidden_size=8, entity_size=5, encoder="entities"), spec)
    params = noisy(jax.eval_shape(model.init, jax.random.key(0)))
    obs, order = problem.observations(spec, B)[:, None], [2, 0, 3, 1]
    face, first = model.actor_critic, np.zeros((B, 1), bool)
    value = quick_jit(lambda obs: face.value(params, face.memory(B), obs, obs.reshape(B, 1, -1), first)[1])
    outputs = quick_jit(lambda obs: face.policy(params, face.memory(B), obs, first)[1])
    np.testing.assert_allclose(value(obs), value(obs[:, :, order]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs(obs)[:, :, order], outputs(obs[:, :, order]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make,config", [(actor_critic.make, actor_critic.Config), (world_model.make, world_model.Config)]
)
def test_entities_where_there_are_none_are_refused_unless_they_are_wanted_where_there_are_some(make, config):
    from tests.models.test_world_model import SPEC

    with pytest.raises(ValueError, match="network_args.encoder=entities.*encoder=flat"):
        make(config(encoder="entities"), SPEC)
    flat, auto = (jax.eval_shape(make(config(encoder=e), SPEC).init, jax.random.key(0)) for e in ("flat", "auto"))
    assert jax.tree.structure(flat) == jax.tree.structure(auto)


def with_more_targets(obs, spec, number):
    """Return observations with this many more targets at the end of their block, all absent."""
    block = next(block for block in spec.obs.entities if block.kind == "enemy")
    ((start, width),) = block.parts
    end = start + block.count * width
    absent = np.zeros((*obs.shape[:-1], number * width), obs.dtype)
    return np.concatenate([obs[..., :end], absent, obs[..., end:]], axis=-1)


@lru_cache(maxsize=None)
def imagined(targets, mask_absent):
    """Return a function of params, obs and actions: outputs [2, B, ...] at a state and after an imagined step."""
    config = world_model.Config(**SMALL, mask_absent=mask_absent)
    model = world_model.make(config, problem.spec(N, 4, targets))

    def run(params, obs, action):
        nobody = jnp.zeros((B, N, N), bool)
        latent = model.latents.represent(params, (), obs, jnp.ones(B, bool))[1]
        found = []
        for _ in range(2):
            step = model.latents.imagine(params, latent, action, jax.random.key(0))
            logits = model.team_policy.logits(params, latent, action, nobody)
            # The actions at the added targets are left out.
            logits = jnp.concatenate([logits[..., :5], logits[..., -1:]], axis=-1).reshape(B, -1)
            value = model.team_value.logits(params, latent, action, nobody[:, 0])
            found.append(jnp.concatenate([logits, value, step.reward], axis=-1))
            latent = step.latent
        return jnp.stack(found)

    return quick_jit(run)


def test_absent_things_change_nothing_in_imagined_steps_if_they_are_masked():
    params, obs, action, _ = some()
    more, later = with_more_targets(obs, world()[0], 3), np.where(action == 5, 8, action)
    few, many = imagined(2, True)(params, obs, action), imagined(5, True)(params, more, later)
    np.testing.assert_allclose(many, few, rtol=2e-3, atol=2e-4)
    unmasked = imagined(5, False)(params, more, later)
    assert np.abs(unmasked - many)[1].max() > 0.01


def test_things_in_sight_move_as_they_do_without_masks():
    params, obs, action, _ = some()
    seen = with_more_targets(obs, world()[0], 3)
    seen = np.where(seen == 0, 0.5, seen).astype(np.float32)
    masked, unmasked = imagined(5, True)(params, seen, action), imagined(5, False)(params, seen, action)
    np.testing.assert_allclose(masked, unmasked, rtol=2e-3, atol=2e-4)


def test_agents_that_see_different_things_are_read_flat_or_refused():
    one = problem.spec()
    groups = (
        Group(name="scout", members=(0,), obs=one.obs, actions=one.actions),
        Group(name="rest", members=(1, 2), obs=problem.space(N, 4, 1), actions=Discrete(5)),
    )
    spec = dataclasses.replace(one, groups=groups)
    with pytest.raises(ValueError, match="encoder=entities: agents see and do different .* encoder=flat or auto"):
        world_model.make(world_model.Config(**SMALL), spec)
    made = [world_model.make(world_model.Config(**SMALL | {"encoder": e}), spec) for e in ("auto", "flat")]
    auto, flat = (jax.eval_shape(model.init, jax.random.key(0)) for model in made)
    assert jax.tree.map(jnp.shape, auto) == jax.tree.map(jnp.shape, flat)
