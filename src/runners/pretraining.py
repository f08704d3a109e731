"""What comes before acting: a learner's updates on recorded rows, in which nothing but the world's model is at stake.

They have an optimiser of their own, and its count of steps ends with them, as with `init_from`. What is learned, the
target network and the units that values are in stay. A run that is stopped meanwhile begins anew, to the same end.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Array, Key, Learner, LearnerState, PyTree, Recorded
from tandem.runners.loop import PRETRAINING

LAST = 10  # losses are reported as means over the last of so many equal parts, and of the first update alone


def pretrained(learner: Learner, recorded: Recorded | None, state: Any, seed: int) -> tuple[Any, dict[str, float]]:
    """Return a run state with its learner pre-trained, and metrics; the same state where there is nothing to do."""
    plan = learner.pretraining
    if plan is None or recorded is None:
        return state, {}
    began = time.monotonic()
    source, data = recorded.replay.source, recorded.replay.store.hold(recorded.rows)

    def update(state: LearnerState, data: PyTree, key: Key) -> tuple[LearnerState, dict[str, Array]]:
        sample_key, update_key = jax.random.split(key)
        return plan.update(state, source.sample(data, sample_key, jnp.zeros(())), update_key)

    # One call each, for a run that is stopped does not wait for a compiled loop.
    step, key = jax.jit(update, donate_argnums=0), jax.random.fold_in(jax.random.key(seed), PRETRAINING)
    learned = jax.tree.map(jnp.copy, state.learner.replace(opt=jax.jit(plan.opt)(state.learner.params)))
    seen = []
    for i in range(plan.updates):
        learned, metrics = step(learned, data, jax.random.fold_in(key, i))
        if i == 0 or i >= plan.updates - max(plan.updates // LAST, 1):
            seen.append(metrics)
    own = {"params": learned.params, "target": learned.target, "stats": learned.stats}
    known = _summary(jax.device_get(seen)) | {
        "pretrain/updates": float(plan.updates), "pretrain/rows": float(recorded.rows.end.shape[0]),
        "pretrain/seconds": time.monotonic() - began,
    }  # fmt: skip
    return state.replace(learner=state.learner.replace(**own)), known


def _summary(seen: list[dict[str, Any]]) -> dict[str, float]:
    """Return what losses were at first, and what they were at last."""
    first, last = seen[0], seen[1:] or seen
    return {f"{name}_before": float(value) for name, value in first.items()} | {
        name: float(np.mean([metrics[name] for metrics in last])) for name in first
    }
