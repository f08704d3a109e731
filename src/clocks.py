"""The clocks of a run, which count on the device in 32 bits: one that wraps would never reach its end."""

import dataclasses
from typing import Any

MOST = 2**31 - 1  # what 32 bits can count to


def mistakes(t_max: int, runner: Any, learner: Any, total_updates: int) -> list[str]:
    """Return a sentence for each clock that 32 bits cannot count to the end of the run.

    Args:
      runner: its settings, as are the learner's.
      total_updates: of the learner in the run.
    """
    cycle = getattr(runner, "num_envs", 1) * getattr(runner, "rollout_length", 1)
    report = cycle * max(1, round(getattr(runner, "report_every", cycle) / cycle))  # a run ends with a whole one
    found = []
    if t_max > MOST - report:
        found.append(f"t_max={t_max}: steps are counted in 32 bits, and a report takes {report}; {MOST - report} is the most")
    per_update = _optimiser_steps(learner)
    if total_updates * per_update > MOST:
        found.append(
            f"t_max={t_max}: {total_updates * per_update} optimiser steps in all, of which 32 bits count {MOST}; choose a "
            "smaller t_max or fewer updates"
        )
    return found


def _optimiser_steps(learner: Any) -> int:
    """Return the optimiser steps of one update: epochs times minibatches, in all phases; 1 where a learner has no epochs."""
    names = [field.name for field in dataclasses.fields(learner) if field.name.endswith("epochs")]
    minibatches = {name: getattr(learner, f"{name.removesuffix('epochs') or 'num_'}minibatches", 1) for name in names}
    return sum(getattr(learner, name) * minibatches[name] for name in names) or 1
