"""Telling the task's end from the time limit's."""

import jax.numpy as jnp
import pytest

from tandem.envs.time_limit import ending


@pytest.mark.parametrize(
    ("over", "num_steps", "expected"),
    [(False, 4, (False, False)), (True, 4, (True, False)), (False, 5, (False, True)), (True, 5, (True, False))],
)
def test_an_end_by_itself_wins_over_the_time_limit(over, num_steps, expected):
    terminated, truncated = ending(jnp.array(over), jnp.int32(num_steps), 5)
    assert (bool(terminated), bool(truncated)) == expected
