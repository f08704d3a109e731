"""The clocks of a run, which count on the device in 32 bits; one that overflows would never reach its end."""

MOST = 2**31 - 1  # the largest number in 32 bits


def step_problems(t_max: int, cycle: int, report_every: int) -> list[str]:
    """Return a sentence if 32 bits cannot count the steps of a run, which ends with a whole report.

    Args:
      cycle: steps of the run's clock per cycle.
      report_every: requested steps between reports.
    """
    report = cycle * max(1, round(report_every / cycle))
    if t_max <= MOST - report:
        return []
    return [f"t_max={t_max}: steps are counted in 32 bits, and a report takes {report}; {MOST - report} is the most"]


def update_problems(t_max: int, total_updates: int, per_update: int = 1) -> list[str]:
    """Return a sentence if 32 bits cannot count the optimiser steps of a run.

    Args:
      per_update: optimiser steps of one update, such as epochs times minibatches.
    """
    steps = total_updates * per_update
    if steps <= MOST:
        return []
    return [
        f"t_max={t_max}: {steps} optimiser steps in all, of which 32 bits count {MOST}; choose a smaller t_max or "
        "fewer updates"
    ]
