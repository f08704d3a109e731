"""What is said where a recorded run goes on with other settings than it began with."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tandem.commands.resuming import Again, jumps
from tandem.core import Discrete, EnvSpec, Vector
from tandem.learners import mazero
from tests.learners.test_mazero import MODEL
from tests.reference.run_plans import run_plan

SPEC = EnvSpec(num_agents=3, obs=Vector(4), state=Vector(2), actions=Discrete(5), episode_limit=9, shared_reward=False)


def resumed(before: int, now: int, step: int) -> Again:
    return Again(SimpleNamespace(config={"t_max": before}), {"t_max": now}, True, Path(str(step)))


def test_a_longer_run_says_how_far_progress_and_learning_rates_leap():
    config = mazero.Config(learning_rate=1e-3, warmup_updates=0, final_rate_fraction=0.1)
    rates = mazero.make(config, MODEL, run_plan(SPEC, 0.9, 200)).rates(np.int32(100))
    (line,) = jumps(resumed(1000, 2000, 1000), {"train/learning_rate": 1e-4, "train/loss": 3.0}, rates)
    assert "t_max was 1000 and is 2000" in line
    assert "progress from 1.00 to 0.50" in line and "train/learning_rate from 0.0001 to 0.00055" in line


@pytest.mark.parametrize(("before", "now", "step"), [(1000, 1000, 800), (None, 2000, 800), (1000, 2000, 0)])
def test_nothing_leaps_where_the_length_is_the_same_or_nothing_was_done(before, now, step):
    assert jumps(resumed(before, now, step), {"train/learning_rate": 1e-4}, {"train/learning_rate": 1e-3}) == []
