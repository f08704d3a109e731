"""One learner of several tasks: a step goes by the mean of the losses of one batch of each.

The parameters are the same for all tasks, and so are their optimiser and target network. Statistics of what was learned
from, such as a learned scale of rewards, are those of each task.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from tandem.core import Array, Batch, Halves, Key, Learner, LearnerState


def begun(learner: Learner, tasks: int) -> Learner:
    """Return a learner whose states hold the statistics of so many tasks; it cannot be updated."""

    def init(key: Key) -> LearnerState:
        state = learner.init(key)
        return state.replace(stats=(state.stats, *(jax.tree.map(jnp.copy, state.stats) for _ in range(tasks - 1))))

    return learner._replace(init=init, update=_unlearned, halves=None)


def _unlearned(*inputs):
    raise ValueError("what each task is learned by was not made")


def together(learner: Learner, halves: Sequence[Halves]) -> Learner:
    """Return a learner that is updated by a batch of each task, `update(state, batches, key)`.

    Its priorities are those of all batches. Metrics are means over the tasks.

    Args:
      learner: what `begun` returned.
      halves: of the learner of each task, whose shapes may differ in all but the parameters.
    """

    def update(state: LearnerState, batches: Sequence[Batch], key: Key) -> tuple[LearnerState, dict[str, Array], Array]:
        slopes = [
            each.slope(state.replace(stats=stats), batch, jax.random.fold_in(key, i))
            for i, (each, stats, batch) in enumerate(zip(halves, state.stats, batches, strict=True))
        ]
        gradients, measured = mean([slope.gradients for slope in slopes]), mean([slope.metrics for slope in slopes])
        state, metrics = halves[0].step(state.replace(stats=tuple(slope.stats for slope in slopes)), gradients)
        return state, measured | metrics, jnp.concatenate([slope.priorities for slope in slopes])

    return learner._replace(update=update)


def mean(trees: Sequence):
    """Return the mean of trees of the same structure, leaf by leaf."""
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *trees)
