"""A step with a cache equals the full pass; nothing looks ahead, over an episode's end, or into a teammate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.models.imagination import model, tokenizer
from tandem.models.imagination.model import Config
from tandem.models.imagination.parts import Steps
from tests.reference.compiled import quick_jit
from tests.reference.dreams import KINDS, NUMBERS, SMALL, SPEC, A, B, N, O, T, network, rows


def made(spec=SPEC, **changes):
    """Return dynamics, their parameters (moved away from where they start), and the tokenizer."""
    config = Config(**SMALL | changes)
    tokens = tokenizer.make(config, spec)
    dynamics = model.make_dynamics(config, spec, tokens)

    @quick_jit
    def moved():
        leaves, tree = jax.tree.flatten(dynamics.init(jax.random.key(0)))
        keys = jax.random.split(jax.random.key(1), len(leaves))
        return jax.tree.unflatten(
            tree, [x + 0.3 * jax.random.normal(key, x.shape) for x, key in zip(leaves, keys, strict=True)]
        )

    return dynamics, moved(), tokens


def steps_of(tokens, coder, obs, action) -> Steps:
    codes = tokens.encode(coder, obs)
    return Steps(codes=codes, features=tokens.features(coder, codes), action=action)


def full(dynamics, params, tokens, coder, obs, action, first, next_obs):
    steps, after = steps_of(tokens, coder, obs, action), tokens.encode(coder, next_obs)
    return dynamics.predict(params, steps, first, tokens.features(coder, after), after, jax.random.key(3))


@pytest.mark.parametrize("kind", [*KINDS, "numbers"])
def test_steps_with_a_cache_equal_the_full_pass_also_across_an_end(kind):
    # A latent of one class holds nothing, so what is drawn without the observation cannot differ from what is with it.
    spec = NUMBERS if kind == "numbers" else SPEC
    dynamics, params, tokens = made(spec, **KINDS.get(kind, {}) | {"latent_classes": 1})
    coder, traj, context = tokens.init(jax.random.key(2)), rows(1, spec, ends=0.0), 3
    first = jnp.zeros((B, T), bool).at[0, 1].set(True).at[1, 2].set(True)

    @quick_jit
    def whole():
        return full(dynamics, params, tokens, coder, traj.obs, traj.action, first, traj.next_obs).hidden

    @quick_jit
    def stepwise():
        every = steps_of(tokens, coder, traj.obs, traj.action)
        carry = dynamics.begin(
            params, jax.tree.map(lambda x: x[:, :context], every), first[:, :context], T - context + 1
        )
        found = []
        for t in range(context - 1, T):
            if t >= context:
                carry = dynamics.take_up(params, carry, every.codes[:, t], every.features[:, t])
            carry, hidden, _ = dynamics.draw(params, carry, jax.tree.map(lambda x: x[:, t], every), jax.random.key(t))
            found.append(hidden)
        return jnp.stack(found, axis=1)

    np.testing.assert_allclose(stepwise(), whole()[:, context - 1 :], atol=1e-5)


@pytest.mark.parametrize("kind", ["one", "tokens", "rssm"])
def test_nothing_is_known_of_later_rows_or_of_other_episodes(kind):
    dynamics, params, tokens = made(**KINDS[kind])
    coder, traj = tokens.init(jax.random.key(2)), rows(1, ends=0.0)
    first = jnp.zeros((B, T), bool).at[:, 3].set(True)

    @quick_jit
    def hidden(obs, action, next_obs=traj.next_obs):
        return full(dynamics, params, tokens, coder, obs, action, first, next_obs).hidden

    before = hidden(traj.obs, traj.action)
    late = hidden(traj.obs.at[:, 4].set(-traj.obs[:, 4]), traj.action.at[:, 4].set((traj.action[:, 4] + 1) % A))
    np.testing.assert_allclose(late[:, :4], before[:, :4], atol=1e-6)
    assert float(jnp.abs(late[:, 4:] - before[:, 4:]).min(axis=(0, 2, 3)).max()) >= 0 and not jnp.allclose(
        late[:, 4], before[:, 4]
    )
    other = -traj.obs[:, 1]  # which the row before leads to
    early = hidden(traj.obs.at[:, 1].set(other), traj.action, traj.next_obs.at[:, 0].set(other))
    np.testing.assert_allclose(early[:, 3:], before[:, 3:], atol=1e-6)
    assert not jnp.allclose(early[:, 2], before[:, 2])


@pytest.mark.parametrize("kind", ["tokens", "rssm"])
def test_numbers_that_are_played_are_read_and_what_is_beyond_the_bounds_is_the_bound(kind):
    dynamics, params, tokens = made(NUMBERS, **KINDS[kind])
    coder, traj = tokens.init(jax.random.key(2)), rows(1, NUMBERS, ends=0.0)

    @quick_jit
    def hidden(action):
        return full(dynamics, params, tokens, coder, traj.obs, action, traj.first, traj.next_obs).hidden

    bound, beyond, other = (hidden(traj.action.at[:, 2, 1, 0].set(number)) for number in (1.0, 3.0, 0.9))
    np.testing.assert_array_equal(bound, beyond)
    assert not jnp.allclose(bound[:, 2, 1], other[:, 2, 1], atol=1e-4)
    np.testing.assert_allclose(bound[:, :2], other[:, :2], atol=1e-6)


@pytest.mark.parametrize("aggregate,heeded", [("none", False), ("attention", True), ("perceiver", True)])
def test_an_agent_heeds_what_the_others_do_only_where_there_is_an_aggregate(aggregate, heeded):
    dynamics, params, tokens = made(aggregate=aggregate)
    coder, traj = tokens.init(jax.random.key(2)), rows(1, ends=0.0)

    @quick_jit
    def hidden(action):
        return full(dynamics, params, tokens, coder, traj.obs, action, traj.first, traj.next_obs).hidden

    others = traj.action.at[:, :, 1].set((traj.action[:, :, 1] + 1) % A)
    same = jnp.allclose(hidden(others)[:, :, 0], hidden(traj.action)[:, :, 0], atol=1e-6)
    assert bool(same) != heeded


def test_the_perceiver_tells_places_in_an_observation_apart():
    dynamics, params, tokens = made(aggregate="perceiver")
    coder, traj = tokens.init(jax.random.key(2)), rows(1, ends=0.0)
    every = steps_of(tokens, coder, traj.obs, traj.action)

    @quick_jit
    def hidden(codes):
        swapped = every.replace(codes=codes)  # the agent's own features stay, only the aggregate reads the codes
        return dynamics.predict(params, swapped, traj.first, every.features, every.codes, jax.random.key(3)).hidden

    assert not jnp.allclose(hidden(every.codes), hidden(every.codes[..., ::-1]), atol=1e-4)


def test_a_policy_sees_its_own_observation_alone_and_the_critic_all():
    net = network()
    agent, params = net.sequence_model.agent, quick_jit(net.init)(jax.random.key(0))
    obs, first, memory = rows(4).obs[:, :1], jnp.zeros((B, 1), bool), net.sequence_model.agent.memory(B)
    slope = jax.jacobian(lambda obs: agent.policy(params, memory, obs, first)[1].sum(axis=(0, 1, 3)))(obs)
    for i in range(N):
        for j in range(N):
            assert (float(jnp.abs(slope[i, :, :, j]).max()) > 0) == (i == j)
    value = jax.grad(lambda obs: agent.value(params, memory, obs, jnp.zeros((B, 1, 2)), first)[1][..., 0].sum())(obs)
    assert float(jnp.abs(value).max(axis=(0, 1, 3)).min()) > 0


def test_at_play_the_actor_sees_what_the_tokenizer_makes_of_its_observation():
    net = network()
    params, memory = quick_jit(net.init)(jax.random.key(0)), net.actor_critic.memory(B)
    obs, first = rows(4).obs[:, :1], jnp.zeros((B, 1), bool)
    seen = net.sequence_model.see(params, obs)
    _, played, _ = net.actor_critic.policy(net.acting(params), memory, obs, first)
    _, dreamt, _ = net.sequence_model.agent.policy(params, memory, seen, first)
    np.testing.assert_array_equal(played, dreamt)
    assert "world" not in net.acting(params) and float(jnp.abs(seen - obs).max()) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_finite_and_every_parameter_of_the_world_learns(kind):
    net = network(**KINDS[kind])
    world, params, traj = net.sequence_model, quick_jit(net.init)(jax.random.key(0)), rows(2)

    def total(params):
        losses, metrics = world.losses(params, traj, jax.random.key(1))
        assert tuple(sorted(losses)) == tuple(sorted(world.loss_names))
        assert tuple(sorted(metrics)) == tuple(sorted(world.metric_names))
        return sum(losses.values())

    slopes = jax.tree.map(np.array, quick_jit(jax.grad(total))(params))  # looked at by NumPy, which compiles nothing
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(slopes))
    idle = [jax.tree_util.keystr(path) for path, x in jax.tree.leaves_with_path(slopes["world"]) if not np.any(x != 0)]
    # Layers that start at zero let no gradient past them at first, no row needs all positions, and a latent's prior
    # does not learn while it is within its free nats.
    behind = ("'before'", "'each'", "'team'", "'prior_")
    assert all(any(name in path for name in behind) for path in idle), idle


def test_the_dead_count_in_no_loss_of_tokens_and_cut_off_episodes_have_not_ended():
    net = network()
    world, traj = net.sequence_model, rows(2)
    params = jax.tree.map(lambda x: x + 0.1, quick_jit(net.init)(jax.random.key(0)))  # outcomes start undecided
    losses = quick_jit(lambda traj: world.losses(params, traj, jax.random.key(1))[0])
    dead = traj.next_obs + 0.5 * (~traj.alive)[..., None]
    np.testing.assert_allclose(losses(traj)["obs"], losses(traj.replace(next_obs=dead))["obs"], rtol=1e-6)
    cut = traj.replace(truncated=~traj.truncated)
    np.testing.assert_allclose(losses(traj)["end"], losses(cut)["end"], rtol=1e-6)
    assert not jnp.allclose(losses(traj)["end"], losses(traj.replace(terminated=~traj.terminated))["end"])


def test_the_size_of_a_batch_of_observations_is_kept():
    net = network()
    world, params, traj = net.sequence_model, quick_jit(net.init)(jax.random.key(0)), rows(2)
    carry, seen = world.begin(params, traj.obs[:, :2], traj.action[:, :1], traj.first[:, :2], 2)
    alive = jnp.ones((B, N), bool).at[0, 1].set(False)
    _, dreamt = world.step(params, carry, traj.action[:, 1], alive, jax.random.key(0))
    assert dreamt.obs.shape == (B, N, O) and dreamt.legal.shape == (B, N, A) and dreamt.reward.shape == (B,)
    np.testing.assert_array_equal(dreamt.obs[0, 1], seen[0, 1])


def test_reward_and_end_are_those_of_the_actions_whatever_is_drawn():
    net = network()
    world, traj = net.sequence_model, rows(2)
    params = jax.tree.map(
        lambda x: x + 0.1 * jnp.sin(jnp.arange(x.size).reshape(x.shape)), quick_jit(net.init)(jax.random.key(0))
    )
    alive = jnp.ones((B, N), bool)

    @quick_jit
    def dreamt(action, key):
        carry, _ = world.begin(params, traj.obs[:, :2], traj.action[:, :1], traj.first[:, :2], 2)
        return world.step(params, carry, action, alive, key)[1]

    one, other = (dreamt(traj.action[:, 1], jax.random.key(i)) for i in range(2))
    assert not np.array_equal(one.obs, other.obs)
    np.testing.assert_array_equal(one.reward, other.reward)
    np.testing.assert_array_equal(one.continues, other.continues)
    acted = dreamt((traj.action[:, 1] + 1) % A, jax.random.key(0))
    assert float(jnp.abs(acted.reward - one.reward).min()) > 1e-6
