"""Tokens of one thing share their luck, whoever sees it; tokens of an agent's own features are the agent's."""

import jax
import numpy as np

from tandem.core import Entities, Vector
from tandem.models.imagination import luck

# Two enemies of three features each, of which the last lie apart; the own feature; one that describes nothing.
ENEMY = Entities(kind="enemy", count=2, parts=((0, 2), (5, 1)))
SEEN = Vector(8, (ENEMY, Entities(kind="own", count=1, parts=((4, 1),))))
TIES = luck.of_features(SEEN)


def test_features_are_tied_by_the_thing_that_they_describe():
    first, second = (0, 1, 5), (2, 3, 6)
    things = np.array(TIES.things)
    assert len(set(things[list(first)])) == len(set(things[list(second)])) == 1
    assert len(set(things)) == 4  # two enemies, the agent itself, and the feature 7
    np.testing.assert_array_equal(np.flatnonzero(TIES.by_all), [0, 1, 2, 3, 5, 6])


def test_who_shares_which_luck():
    which, where = (np.asarray(x) for x in luck.draw(jax.random.key(1), TIES, (5, 3)))
    assert which.shape == where.shape == (5, 3, 8) and 0 < which.min() and which.max() < 1
    np.testing.assert_array_equal(which[..., 0], which[..., 5])
    np.testing.assert_array_equal(which[:, 0, :4], which[:, 2, :4])
    np.testing.assert_array_equal(where[:, 0, 5:7], where[:, 1, 5:7])
    for x in (which, where):
        assert len(np.unique(x[..., 4])) == len(np.unique(x[..., 7])) == 15  # of each agent and draw alone
    assert len(np.unique(where[:, 0])) == 40 and len(np.unique(which[:, 0])) == 20


def test_without_ties_all_luck_is_apart():
    which, where = luck.draw(jax.random.key(1), luck.no_ties(4), (5, 3))
    assert len(np.unique(np.stack([which, where]))) == 120
