"""The environment that shows a dataset's episodes: its return is the share of choices that were made as recorded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem import contracts
from tandem.datasets import store
from tandem.datasets.dataset import lengths
from tandem.envs import recorded
from tandem.main import main
from tests.datasets import made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "set"
    store.write(path, made.dataset())
    return path


@pytest.fixture(scope="module")
def env(folder):
    return recorded.make(recorded.Config(rows=str(folder)))


def test_it_keeps_an_environments_promises(env):
    assert contracts.of_env("recorded", env) == [] and env.spec.episode_limit == 7


def test_an_episode_is_shown_as_recorded_and_agreement_is_counted(env, folder):
    data = store.read(folder)
    begin, reset, step = data.ends["row"] - lengths(data) + 1, jax.jit(env.reset), jax.jit(env.step)
    met = set()
    for number in range(12):
        state, seen = reset(jax.random.key(number))
        episode = int(state.episode)
        met.add(episode)
        rows = range(begin[episode], data.ends["row"][episode] + 1)
        total, alike, choices = 0.0, 0, 0
        for row in rows:
            np.testing.assert_array_equal(seen.obs, data.rows["obs"][row])
            np.testing.assert_array_equal(seen.legal, data.rows["legal"][row])
            assert bool(seen.first) == (row == rows[0]) and not seen.terminated and not seen.truncated
            action = jnp.full(made.AGENTS, (row + number) % made.ACTIONS, jnp.int32)
            for agent in range(made.AGENTS):
                if data.rows["alive"][row, agent] and data.rows["legal"][row, agent].sum() > 1:
                    choices, alike = choices + 1, alike + int(action[agent] == data.rows["action"][row, agent])
            state, seen = step(jax.random.key(0), state, action)
            total += float(seen.reward.mean())
        np.testing.assert_array_equal(seen.obs, data.ends["next_obs"][episode])
        assert (bool(seen.terminated), bool(seen.truncated)) == (made.LENGTHS[episode] < 7, made.LENGTHS[episode] == 7)
        np.testing.assert_allclose(total, alike / max(choices, 1), atol=1e-6)
    assert len(met) > 2


def test_what_it_cannot_show_is_refused(folder, tmp_path, capsys):
    with pytest.raises(ValueError, match="env_args.rows: not given"):
        recorded.make(recorded.Config())
    with pytest.raises(ValueError, match="holds no dataset"):
        recorded.make(recorded.Config(rows=str(tmp_path)))
    words = ["--config=vdn", "with", "env=recorded", f"env_args.rows={folder}", f"results_dir={tmp_path}"]
    assert main(words) == 2
    assert "env 'recorded' only replays recorded rows, but runner 'jax_sync'" in capsys.readouterr().err
