"""Curves on common points, and where they reach a threshold."""

import numpy as np
import pytest

from tandem.analysis import curves


def test_the_grid_is_all_points_in_the_range_that_every_curve_covers():
    grid = curves.common_grid([np.array([0.0, 10.0, 20.0]), np.array([5.0, 15.0, 40.0])])
    np.testing.assert_array_equal(grid, [5.0, 10.0, 15.0, 20.0])


def test_curves_that_share_no_range_have_no_grid():
    assert len(curves.common_grid([np.array([0.0, 1.0]), np.array([2.0, 3.0])])) == 0


def test_many_points_become_evenly_spaced_ones():
    grid = curves.common_grid([np.arange(0.0, 900.0), np.arange(100.0, 1000.0)])
    assert len(grid) == curves.MOST_POINTS and (grid[0], grid[-1]) == (100.0, 899.0)


def test_between_its_points_a_curve_is_straight():
    values = curves.on_grid(
        np.array([5.0]), [(np.array([0.0, 10.0]), np.array([1.0, 3.0])), (np.array([5.0]), np.array([7.0]))]
    )
    np.testing.assert_array_equal(values, [[2.0], [7.0]])


@pytest.mark.parametrize(("threshold", "where"), [(0.0, 2.0), (2.0, 6.0), (3.0, 8.0), (9.0, float("inf"))])
def test_a_threshold_is_reached_between_points(threshold, where):
    assert curves.first_reach(np.array([2.0, 4.0, 8.0]), np.array([0.0, 1.0, 3.0]), threshold) == where
