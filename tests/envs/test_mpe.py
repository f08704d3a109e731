"""MPE scenarios: JaxMARL's physics, our episode ends, padding and opponents, and the reference returns of
simple_spread.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.envs import mpe
from tandem.envs.mpe import Config
from tandem.envs.mpe_metrics import SPREAD_BOUNDS
from tandem.envs.mpe_opponents import steer
from tandem.envs.jaxmarl_bridge import mpe as jaxmarl_mpe
from tests.reference.compiled import quick_jit

pytestmark = pytest.mark.jaxmarl


def episodes(env, act, num_episodes: int, seed: int = 0):
    """Return (team return [E], last TimeStep [E, ...], truncated [E, T]) of whole episodes; act(key, timestep) ->
    [N].
    """

    def play(key):
        reset_key, run_key = jax.random.split(key)
        state, timestep = env.reset(reset_key)

        def body(carry, key):
            state, timestep = carry
            act_key, step_key = jax.random.split(key)
            state, timestep = env.step(step_key, state, act(act_key, timestep))
            paid = timestep.reward[0] if env.spec.shared_reward else timestep.reward.sum()
            return (state, timestep), (paid, timestep.truncated)

        keys = jax.random.split(run_key, env.spec.episode_limit)
        (_, last), (paid, truncated) = jax.lax.scan(body, (state, timestep), keys)
        return paid.sum(), last, truncated

    run = jax.jit(jax.vmap(play), compiler_options={"xla_backend_optimization_level": 0})
    return jax.tree.map(np.asarray, run(jax.random.split(jax.random.key(seed), num_episodes)))


def randomly(key, timestep):
    return jax.random.categorical(key, jnp.where(timestep.legal, 0.0, -jnp.inf))


def test_random_play_of_simple_spread_returns_what_the_protocol_says():
    total, last, truncated = episodes(mpe.make(Config()), randomly, 4096)
    # The standard deviation of a return is 23.8, so 2.0 is 5.4 standard errors: a false alarm in 10^7.
    assert abs(total.mean() - -78.6) < 2.0
    assert abs(last.metrics["score"].mean()) < 2.0 / 55
    random, optimal = SPREAD_BOUNDS[3][:2]
    np.testing.assert_allclose(last.metrics["score"], (total - random) / (optimal - random), atol=1e-4)
    np.testing.assert_array_equal(truncated, np.tile(np.arange(1, 26) == 25, (4096, 1)))
    assert not last.terminated.any()


def test_the_hand_controller_of_simple_spread_returns_what_the_protocol_says():
    env = mpe.make(Config())
    optimal = dict(env.scripted)["optimal"]
    total, last, _ = episodes(env, lambda key, timestep: optimal(timestep.obs), 2048)
    # Standard error 0.2; where exactly a controller lets go moves its return by half a point.
    assert abs(total.mean() - -23.6) < 1.5
    assert abs(last.metrics["score"].mean() - 1) < 1.5 / 55
    assert last.metrics["occupied"].mean() > 2.7 and last.metrics["landmark_distance"].mean() < 0.07


@pytest.mark.parametrize("num_agents", range(2, 11))
def test_simple_spread_has_a_score_whose_zero_and_one_were_measured(num_agents):
    assert "score" in mpe.make(Config(num_agents=num_agents)).spec.metric_names


@pytest.mark.parametrize(
    "config",
    [
        Config(num_agents=11),
        Config(local_ratio=0.25),
        Config(episode_limit=24),
        Config(action_type="continuous"),
        Config(scenario="simple_tag", num_agents=3),
    ],
)
def test_where_they_were_not_measured_there_is_no_score(config):
    env = mpe.make(config)
    assert "score" not in env.spec.metric_names
    assert "score" not in jax.eval_shape(env.reset, jax.random.key(0))[1].metrics


def test_an_episode_equals_jaxmarls_own_steps_up_to_the_last_observation():
    env, raw = mpe.make(Config(episode_limit=4)), jaxmarl_mpe.SimpleSpreadMPE()
    keys = jax.random.split(jax.random.key(2), 5)
    state, timestep = env.reset(keys[0])
    raw_obs, raw_state = raw.reset(keys[0])
    step = jax.jit(env.step)
    collisions = 0
    for i in range(4):
        action = jax.random.randint(keys[i + 1], (3,), 0, 5)
        state, timestep = step(keys[i + 1], state, action)
        raw_obs, raw_state, reward, _, _ = raw.step_env(
            keys[i + 1], raw_state, {a: action[j] for j, a in enumerate(raw.agents)}
        )
        np.testing.assert_allclose(timestep.obs, [raw_obs[a] for a in raw.agents], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(timestep.reward, [reward[a] for a in raw.agents], rtol=1e-5)
        collisions += sum(bool(raw.is_collision(a, b, raw_state)) for a in range(3) for b in range(a))
    assert bool(timestep.truncated)
    np.testing.assert_array_equal(timestep.state, timestep.obs.reshape(-1))
    assert float(timestep.metrics["collisions"]) == collisions


def test_collisions_are_summed_over_the_episode():
    env = mpe.make(Config(episode_limit=3))
    state, _ = env.reset(jax.random.key(0))
    on_one_spot = jnp.zeros_like(state.world.p_pos).at[:3].set(jnp.array([[0.0, 0.0], [0.2, 0.0], [0.9, 0.9]]))
    state = state.replace(world=state.world.replace(p_pos=on_one_spot))
    _, timestep = env.step(jax.random.key(1), state, jnp.zeros(3, jnp.int32))
    _, later = env.step(
        jax.random.key(1), state.replace(totals={"collisions": jnp.float32(5.0)}), jnp.zeros(3, jnp.int32)
    )
    assert float(timestep.metrics["collisions"]) == 1 and float(later.metrics["collisions"]) == 6
    np.testing.assert_allclose(timestep.reward[0] - timestep.reward[2], -0.5, atol=1e-5)


def test_agents_of_different_sizes_are_padded_and_masked():
    env = mpe.make(Config(scenario="simple_speaker_listener"))
    _, timestep = env.reset(jax.random.key(0))
    np.testing.assert_array_equal(timestep.legal.sum(axis=1), [3, 5])
    assert (np.asarray(timestep.obs[0, 3:]) == 0).all() and (np.asarray(timestep.obs[0, :3]) != 0).all()
    env = mpe.make(Config(scenario="simple_world_comm"))
    np.testing.assert_array_equal(env.reset(jax.random.key(0))[1].legal.sum(axis=1), [20, 5, 5, 5])


def test_discretised_facmac_moves_as_simple_tag_does():
    paths = []
    for scenario in ("simple_tag", "simple_facmac"):
        env = mpe.make(Config(scenario=scenario, opponent="flee"))
        state, _ = env.reset(jax.random.key(3))
        for action in ([1, 2, 3], [4, 0, 2]):
            state, _ = jax.jit(env.step)(jax.random.key(0), state, jnp.array(action))
        paths.append(state.world.p_pos)
    np.testing.assert_allclose(paths[0], paths[1], atol=1e-6)


def test_crypto_rewards_are_of_the_size_of_its_messages():
    env = mpe.make(Config(scenario="simple_crypto", team="adversaries", opponent="encrypt"))
    state, _ = env.reset(jax.random.key(1))
    assert set(np.asarray(state.world.goal_colour).tolist()) == {0.0, 1.0}
    goal = int(jnp.argmax(state.world.goal_colour))
    _, right = env.step(jax.random.key(0), state, jnp.array([goal]))
    _, wrong = env.step(jax.random.key(0), state, jnp.array([3 - goal]))
    assert float(right.reward[0]) == 0 and float(wrong.reward[0]) == -2


def test_alice_and_bob_beat_an_echoing_eve():
    """Bob decodes every message but the first, which he hears a step late; eve errs whenever the key is set."""
    env = mpe.make(Config(scenario="simple_crypto", opponent="echo", episode_limit=9))

    def encrypt(key, timestep):
        alice, bob = timestep.obs
        secret = jnp.argmax(alice[4:8])
        return jnp.stack([(jnp.argmax(alice[:4]) + secret) % 2, (jnp.argmax(bob[4:8]) - secret) % 2])

    shouted = episodes(env, lambda key, timestep: jnp.full(2, jnp.argmax(timestep.obs[0, :4])), 64)[0]
    encrypted = episodes(env, encrypt, 64)[0]
    assert encrypted.mean() > 5 and encrypted.min() >= -2
    assert abs(shouted.mean()) < 2.1


def test_scripted_pursuit_is_harder_to_play_against_than_random_play():
    def catches(team, opponent):
        env = mpe.make(Config(scenario="simple_tag", team=team, opponent=opponent))
        return episodes(env, randomly, 512)[1].metrics["catches"].mean()

    both_random = catches("adversaries", "random")  # the same game whichever side is called the team
    assert catches("adversaries", "flee") < 0.6 * both_random
    assert catches("agents", "chase") > 3 * both_random


def test_steer_follows_the_longer_axis():
    aims = jnp.array([[0.5, 0.1], [-0.5, 0.4], [0.1, -0.3], [0.0, 0.2], [0.01, -0.01]])
    np.testing.assert_array_equal(steer(aims), [2, 1, 3, 4, 0])


@pytest.mark.parametrize(
    ("scenario", "against_agents", "against_adversaries"),
    [
        ("simple_tag", "random chase", "random flee"),
        ("simple_world_comm", "random chase", "random flee"),
        ("simple_facmac", "random chase", "random flee builtin"),
        ("simple_push", "random goal guess", "random goal"),
        ("simple_adversary", "random goal guess", "random goal"),
        ("simple_crypto", "random echo", "random encrypt"),
    ],
)
def test_every_team_can_meet_every_opponent_that_suits_it(scenario, against_agents, against_adversaries):
    for team, opponents in (("agents", against_agents), ("adversaries", against_adversaries)):
        for opponent in opponents.split():
            env = mpe.make(Config(scenario=scenario, team=team, opponent=opponent))
            key = jax.random.key(0)
            state, _ = jax.eval_shape(env.reset, key)
            _, timestep = jax.eval_shape(env.step, key, state, jax.ShapeDtypeStruct((env.spec.num_agents,), jnp.int32))
            assert timestep.obs.shape == (env.spec.num_agents, env.spec.obs.size)
        with pytest.raises(ValueError, match=f"allowed: {', '.join(opponents.split())}$"):
            mpe.make(Config(scenario=scenario, team=team, opponent="nobody"))


@pytest.mark.parametrize("scenario", ["simple_spread", "MPE_simple_spread_v3", "simple_spread_v3", "MPE_simple_spread"])
def test_scenarios_may_be_written_as_jaxmarl_writes_them(scenario):
    assert mpe.make(Config(scenario=scenario)).spec == mpe.make(Config()).spec


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            Config(scenario="simple_spred"),
            "env_args.scenario: 'simple_spred' is not known; did you mean 'simple_spread'",
        ),
        (
            Config(scenario="simple_tag", team="adversary"),
            "team of simple_tag: 'adversary' .* did you mean 'adversaries'",
        ),
        (Config(team="adversaries"), "team of simple_spread: 'adversaries' .* allowed: agents"),
        (Config(scenario="simple_tag", opponent="fleee"), "did you mean 'flee'.* allowed: random, flee"),
        (Config(opponent="chase"), "which has no opponents.*allowed: random"),
        (
            Config(scenario="simple_push", num_agents=3),
            "num_agents: simple_push has a fixed number .* simple_spread, simple_tag",
        ),
        (Config(scenario="simple_tag", local_ratio=0.1), "local_ratio: simple_tag has none"),
    ],
)
def test_what_a_scenario_does_not_have_is_refused_with_what_it_has(config, message):
    with pytest.raises(ValueError, match=message):
        mpe.make(config)


def test_a_full_push_is_a_move_and_a_greater_one_is_clipped_to_it():
    moves, pushes = (mpe.make(Config(action_type=kind)) for kind in ("discrete", "continuous"))
    state, _ = moves.reset(jax.random.key(0))
    action = jnp.array([0, 2, 3])  # stay, right, down
    force = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, -4.0]])
    assert pushes.spec.actions.continuous and pushes.spec.actions.size == 2
    _, moved = quick_jit(moves.step)(jax.random.key(1), state, action)
    state, _ = pushes.reset(jax.random.key(0))  # the same but for the score, which pushes have none of
    _, pushed = quick_jit(pushes.step)(jax.random.key(1), state, force)
    np.testing.assert_allclose(pushed.obs, moved.obs, atol=1e-6)


@pytest.mark.parametrize("scenario", mpe.SPEAKING)
def test_scenarios_with_words_take_no_pushes(scenario):
    with pytest.raises(ValueError, match=f"agents of {scenario} speak"):
        mpe.make(Config(scenario=scenario, action_type="continuous"))


def test_observations_with_room_for_more_hold_zeros_for_those_who_are_not_there():
    plain, roomy = mpe.make(Config(num_agents=3)), mpe.make(Config(num_agents=3, room_for=5))
    assert roomy.spec.obs.size == mpe.make(Config(num_agents=5)).spec.obs.size and not roomy.spec.obs.entities
    _, timestep = jax.jit(plain.reset)(jax.random.key(1))
    _, wide = jax.jit(roomy.reset)(jax.random.key(1))
    obs, after = np.asarray(timestep.obs), np.asarray(wide.obs)
    for i in range(3):
        expected = [*obs[i, :10], *[0.0] * 4, *obs[i, 10:14], *[0.0] * 4, *obs[i, 14:18], *[0.0] * 4]
        np.testing.assert_array_equal(after[i], expected)
    np.testing.assert_array_equal(wide.state, after.reshape(-1))
    with pytest.raises(ValueError, match="room_for=2: the team has 3 agents"):
        mpe.make(Config(num_agents=3, room_for=2))
    with pytest.raises(ValueError, match="only simple_spread takes it, and not simple_tag"):
        mpe.make(Config(scenario="simple_tag", room_for=9))
