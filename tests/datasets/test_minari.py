"""Datasets as Minari's: Minari itself reads whole episodes from them, in which the team is one agent."""

import sys

import numpy as np
import pytest

from tandem.commands import dataset as command
from tandem.config.commandline import UsageError
from tandem.datasets import minari, store
from tandem.datasets.dataset import successor
from tests.datasets import made

theirs = pytest.importorskip("minari")


def loaded(folder, monkeypatch):
    """Return what Minari reads, found by its name."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder.parent))
    return theirs.load_dataset(folder.name)


def test_minari_reads_each_episode_with_what_followed_its_end(tmp_path, monkeypatch):
    data = made.dataset()
    assert minari.write(tmp_path / "long-v0", data) == 17
    found = loaded(tmp_path / "long-v0", monkeypatch)
    assert (found.total_episodes, found.total_steps) == (5, 17) and found.spec.dataset_name == "long"
    assert found.storage.metadata["ref_max_score"] == made.REFERENCES["expert"]
    assert found.observation_space["agent_2"].shape == (made.OBS,) and found.action_space["agent_0"].n == made.ACTIONS
    begin = 0
    for episode, length in zip(found.iterate_episodes(), made.LENGTHS, strict=True):
        rows = slice(begin, begin + length)
        for i in range(made.AGENTS):
            seen = episode.observations[f"agent_{i}"]
            np.testing.assert_array_equal(seen[:-1], data.rows["obs"][rows, i])
            np.testing.assert_array_equal(seen[1:], successor(data, "next_obs")[rows, i])
            np.testing.assert_array_equal(episode.actions[f"agent_{i}"], data.rows["action"][rows, i])
        np.testing.assert_allclose(episode.rewards, data.rows["reward"][rows, 0], rtol=1e-6)  # what each agent gets
        np.testing.assert_array_equal(episode.terminations, data.rows["terminated"][rows])
        np.testing.assert_array_equal(episode.truncations, data.rows["truncated"][rows])
        np.testing.assert_array_equal(episode.infos["legal"][1:], successor(data, "next_legal")[rows])
        np.testing.assert_array_equal(episode.infos["policy"], data.rows["policy"][rows])
        assert episode.infos["state"].shape == (length + 1, made.STATE)
        begin += length


def test_a_teams_reward_is_the_sum_where_rewards_are_not_shared_and_actions_may_be_numbers(tmp_path, monkeypatch):
    data = made.dataset()
    data.card["spec"] |= {"shared_reward": False, "continuous": True, "actions": 2, "obs": [5, 1]}
    data.rows["action"] = np.random.default_rng(0).uniform(-1, 1, (17, made.AGENTS, 2)).astype(np.float32)
    data.rows["obs"], data.ends["next_obs"] = data.rows["obs"][..., None], data.ends["next_obs"][..., None]
    data.rows["state"], data.ends["next_state"] = data.rows["state"][:, :0], data.ends["next_state"][:, :0]
    minari.write(tmp_path / "long-v3", data)
    episode = loaded(tmp_path / "long-v3", monkeypatch)[2]
    rows = slice(5, 12)
    np.testing.assert_allclose(episode.rewards, data.rows["reward"][rows].sum(axis=-1), rtol=1e-6)
    np.testing.assert_array_equal(episode.infos["rewards"], data.rows["reward"][rows])
    np.testing.assert_array_equal(episode.actions["agent_1"], data.rows["action"][rows, 1])
    assert episode.observations["agent_0"].shape == (8, 5, 1) and "state" not in episode.infos


def test_the_command_writes_it_whole_or_says_what_is_missing(tmp_path, monkeypatch, capsys):
    store.write(tmp_path / "data", made.dataset())
    words = [str(tmp_path / "data"), "--to=minari"]
    assert command.main([*words, f"--out={tmp_path / 'long-v0'}"]) == 0
    assert "long-v0, 17 rows" in capsys.readouterr().out
    for name, told in (("long", "are called NAME-v0"), ("long-v0", "is there already")):
        with pytest.raises(UsageError, match=told):
            command.main([*words, f"--out={tmp_path / name}"])
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(UsageError, match=r"pip install 'tandem\[data\]'"):
        command.main([*words, f"--out={tmp_path / 'other-v0'}"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "long-v0"]
