"""Schedules counted in optimiser steps."""

from collections.abc import Callable

import optax

from tandem.core import Array


def warmup_cosine(peak: float, warmup_steps: int, total_steps: int, final_fraction: float) -> Callable[[Array], Array]:
    """Return step -> rate: linear up to `peak` at `warmup_steps`, then a cosine down to
    `final_fraction` of it, then flat.

    Args:
      peak: the highest rate.
      warmup_steps: optimiser steps of warm-up; the first already moves, by peak / warmup_steps.
      total_steps: optimiser steps of warm-up and cosine together; at least one is left to the cosine.
      final_fraction: rate from `total_steps` on, over `peak`.
    """
    cosine = optax.cosine_decay_schedule(peak, max(total_steps - warmup_steps, 1), alpha=final_fraction)
    if warmup_steps == 0:
        return cosine
    warmup = optax.linear_schedule(peak / warmup_steps, peak, warmup_steps)
    return optax.join_schedules([warmup, cosine], [warmup_steps])
