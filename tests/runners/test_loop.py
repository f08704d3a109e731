"""What the loop of every runner says of an evaluation."""

import numpy as np
import pytest

from tandem.runners import loop


def test_the_standard_error_is_that_of_the_mean():
    scores = loop._summary("policy", {"return": np.array([1.0, 4.0, 7.0])})
    assert scores["eval/policy/return_stderr"] == pytest.approx(3.0 / 3**0.5) and scores["eval/policy/return"] == 4.0


def test_one_episode_has_no_standard_error_rather_than_one_of_zero():
    assert loop._summary("policy", {"return": np.array([4.0])}) == {"eval/policy/return": 4.0}
