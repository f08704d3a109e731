"""Episodes that are held out of what is learned from: none of their rows is left there, and none is lost."""

import jax
import numpy as np
import pytest

from tandem.ops import held_out
from tandem.ops.streams import stream, whole
from tests.datasets import made

LENGTHS = (4, 1, 7, 3, 2)


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.4, 2), (0.99, 4)])
def test_an_episode_is_either_learned_from_or_held_out(share, count):
    rows = jax.tree.map(lambda x: x[None], made.rows(lengths=LENGTHS))
    begin = np.cumsum((0, *LENGTHS[:-1]))
    learned, episodes = held_out.divided(stream(rows), share)
    out = [int(np.flatnonzero((rows.obs[0, begin] == obs[0]).all((1, 2)))[0]) for obs in episodes.obs[0]]
    assert len(set(out)) == len(out) == count
    kept = np.concatenate([np.arange(begin[i], begin[i] + LENGTHS[i]) for i in range(5) if i not in out])
    jax.tree.map(np.testing.assert_array_equal, whole(learned), jax.tree.map(lambda x: x[:, kept], rows))
    for place, episode in enumerate(out):
        own = slice(begin[episode], begin[episode] + LENGTHS[episode])
        np.testing.assert_array_equal(episodes.action[0, place, : LENGTHS[episode]], rows.action[0, own])
        np.testing.assert_array_equal(episodes.alive[0, place, : LENGTHS[episode]], rows.alive[0, own])
        assert not episodes.alive[0, place, LENGTHS[episode] :].any()
    assert episodes.first[0, :, 0].all() and not episodes.first[0, :, 1:].any()


def test_many_episodes_come_in_groups_whose_last_is_filled_up_with_nobody():
    lengths = (2,) * 80
    rows = stream(jax.tree.map(lambda x: x[None], made.rows(lengths=lengths)))
    _, episodes = held_out.divided(rows, 0.5)
    assert episodes.obs.shape[:3] == (2, held_out.SIDE_BY_SIDE, 2)
    assert episodes.alive[1, :8].any() and not episodes.alive[1, 8:].any()


def test_one_episode_alone_cannot_be_both():
    rows = stream(jax.tree.map(lambda x: x[None], made.rows(lengths=(3,))))
    with pytest.raises(ValueError, match="there is one episode"):
        held_out.divided(rows, 0.5)
