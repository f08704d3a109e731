"""PyMARL's HDF5 files: their last filled step is no row, and what they call the end may be the limit."""

import numpy as np
import pytest

from tandem.datasets import foreign, store

h5py = pytest.importorskip("h5py")
LENGTHS, LIMIT, AGENTS, ACTIONS = (3, 6, 2, 6), 6, 3, 5


@pytest.fixture(scope="module")
def told() -> dict[str, np.ndarray]:
    """Episodes as PyMARL stores them: padded to T + 1 steps, the last observation filled as well."""
    random, shape = np.random.default_rng(4), (len(LENGTHS), LIMIT + 1)
    acted = np.arange(shape[1])[None] < np.array(LENGTHS)[:, None]
    filled = np.arange(shape[1])[None] <= np.array(LENGTHS)[:, None]
    available = (random.random((*shape, AGENTS, ACTIONS)) < 0.6) & filled[..., None, None]
    available[..., 1] = filled[..., None]
    available[0, 1, 2] = [True, False, False, False, False]  # the dead may only do the first
    reward, terminated = random.normal(size=(*shape, 1)) * acted[..., None], np.zeros((*shape, 1), np.uint8)
    terminated[np.arange(len(LENGTHS)), np.array(LENGTHS) - 1] = 1
    return {
        "obs": random.normal(size=(*shape, AGENTS, 4)).astype(np.float32), "terminated": terminated,
        "state": random.normal(size=(*shape, 7)).astype(np.float32), "avail_actions": available.astype(np.int32),
        "actions": np.argmax(available, axis=-1)[..., None], "filled": filled[..., None].astype(np.int64),
        "reward": reward.astype(np.float32),
    }  # fmt: skip


@pytest.fixture
def file(tmp_path, told):
    def write(name: str = "3m-medium.h5", **changed):
        with h5py.File(tmp_path / name, "w") as opened:
            for key, array in (told | changed).items():
                if array is not None:
                    opened[key] = array
        return tmp_path / name

    return write


def test_every_action_is_a_row_and_the_last_observation_follows_the_last(file, told, tmp_path):
    card = store.write(tmp_path / "set", foreign.read(file(), LIMIT))
    data = store.read(tmp_path / "set")
    assert (card["episodes"], card["rows"], card["origins"][0]["source_rows"]) == (4, 17, 21)
    begin = 0
    for episode, length in enumerate(LENGTHS):
        here = slice(begin, begin + length)
        for ours, theirs in (("obs", "obs"), ("state", "state"), ("legal", "avail_actions")):
            np.testing.assert_array_equal(data.rows[ours][here], told[theirs][episode, :length])
            np.testing.assert_array_equal(data.ends[f"next_{ours}"][episode], told[theirs][episode, length])
        np.testing.assert_array_equal(data.rows["action"][here], told["actions"][episode, :length, :, 0])
        begin += length
    totals = [told["reward"][e, :length].sum() for e, length in enumerate(LENGTHS)]
    np.testing.assert_allclose(card["return"]["mean"], np.mean(totals), rtol=1e-5)
    assert not data.rows["alive"][1, 2] and data.rows["alive"][0].all()


def test_an_episode_as_long_as_the_limit_was_cut_off(file):
    data = foreign.read(file(), LIMIT)
    ends = data.ends["row"]
    assert data.rows["truncated"][ends].tolist() == [False, True, False, True]
    assert data.rows["terminated"].sum() == 2 and data.rows["first"].sum() == 4
    assert foreign.read(file(), None).rows["terminated"].sum() == 4


@pytest.mark.parametrize(
    ("changed", "limit", "said"),
    [
        ({"filled": None}, None, "has no filled; it is not of PyMARL's layout"),
        ({}, 5, "has an episode of 6 steps; --limit=5 is less"),
        ({"filled": np.zeros((4, 7, 1))}, None, "is not filled from its first step on"),
    ],
)
def test_a_file_of_another_layout_is_refused(file, changed, limit, said):
    with pytest.raises(store.DatasetError, match=said):
        foreign.read(file(**changed), limit)
    path = file()
    path.write_text("not HDF5")
    with pytest.raises(store.DatasetError, match="cannot be read"):
        foreign.read(path, None)
