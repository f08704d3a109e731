"""The switch riddle's rules, and how often anybody can solve it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.envs import switch_riddle
from tandem.envs.switch_riddle import NOTHING, SWITCH, TELL, Config, upper_bound

N, DAYS, B = 3, 6, 4000
pytestmark = pytest.mark.jaxmarl


@pytest.fixture(scope="module")
def played():
    """Episodes [B, DAYS] in which the bulb is switched every day and told by who enters last: who knows all, wins."""
    env = switch_riddle.make(Config(num_agents=N))

    def play(key):
        state, timestep = env.reset(key)

        def day(carry, key):
            state, timestep = carry
            been = state.has_been.at[state.agent_in_room].set(1)
            action = jnp.where(been.all(), TELL, SWITCH)
            joint = jnp.full(N, NOTHING).at[state.agent_in_room].set(action)
            state, outcome = env.step(key, state, joint.astype(jnp.int32))
            return (state, outcome), (timestep, outcome)

        return jax.lax.scan(day, (state, timestep), jax.random.split(key, DAYS))[1]

    with jax.numpy_rank_promotion("allow"):
        return jax.tree.map(np.array, jax.jit(jax.vmap(play))(jax.random.split(jax.random.key(0), B)))


def until_told(outcome) -> np.ndarray:
    """Return [B, DAYS] bool: the days before anybody has told."""
    return np.cumsum(outcome.terminated, axis=1) - outcome.terminated == 0


def test_who_knows_everything_gets_the_upper_bound(played):
    _, outcome = played
    gains = (outcome.reward[..., 0] * until_told(outcome)).sum(axis=1)
    assert set(gains) == {0.0, 1.0}
    assert upper_bound(N) == pytest.approx(1 - 3 * (2 / 3) ** 6 + 3 * (1 / 3) ** 6)
    assert abs(gains.mean() - upper_bound(N)) < 0.036  # 5.2 standard deviations


def test_only_the_one_in_the_room_sees_the_bulb_and_has_a_choice(played):
    seen, _ = played
    inside = seen.obs[..., 0] > 0
    np.testing.assert_array_equal(inside.sum(axis=-1), 1)
    np.testing.assert_array_equal(seen.legal[..., SWITCH], inside)
    np.testing.assert_array_equal(seen.legal[..., TELL], inside)
    assert seen.legal[..., NOTHING].all()
    assert not seen.obs[..., 1][~inside].any()
    early = seen.obs[:, :3][until_told(played[1])[:, :3]]
    assert early[..., 1].any()  # somebody found it switched on


def test_the_last_day_cuts_off_and_a_word_ends(played):
    _, outcome = played
    np.testing.assert_array_equal(outcome.terminated, outcome.reward[..., 0] != 0)
    silent = until_told(outcome)[:, -1] & ~outcome.terminated[:, -1]
    assert outcome.truncated[silent, -1].all() and not outcome.truncated[:, :-1].any()


def test_without_memory_the_room_is_all_there_is_to_see():
    assert switch_riddle.make(Config(num_agents=N, remember=False)).spec.obs.size == 2
