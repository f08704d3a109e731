"""When a run ends before its length, because what is measured of held-out episodes does not improve any more."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp

from tandem.core import Array, pytree


@pytree
class Waited:
    """The evaluations until now; part of a run's state, so that a resumed run ends where it would have ended."""

    least: Array  # [] float32, the measure at the best of them
    evaluations: Array  # [] int32, those after it


class Patience(NamedTuple):
    """How many evaluations may pass without a smaller measure."""

    measure: str  # the metric's name
    limit: int

    def begun(self) -> Waited:
        return Waited(least=jnp.float32(jnp.inf), evaluations=jnp.int32(0))

    def after(self, waited: Waited, metrics: Mapping[str, float]) -> Waited:
        """Return what was waited after an evaluation; a measure that is no number is no better."""
        value = metrics.get(self.measure, math.nan)
        better = value < float(waited.least)
        least = jnp.float32(value) if better else waited.least
        return Waited(least=least, evaluations=jnp.int32(0 if better else int(waited.evaluations) + 1))

    def ending(self, waited: Waited) -> str:
        """Return why the run ends now; "" if it goes on."""
        if int(waited.evaluations) < self.limit:
            return ""
        return (
            f"runner_args.patience={self.limit}: {self.measure} has not been below {float(waited.least):.4f} in the "
            f"last {int(waited.evaluations)} evaluations"
        )
