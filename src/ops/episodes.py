"""Episodes that were abandoned, because their environment failed or the process that ran it died."""

import jax.numpy as jnp

from tandem.core import Transition


def given_up(traj: Transition) -> Transition:
    """Return rows [B, T, ...] in which a row is truncated if the next row does not continue it.
    Learners then bootstrap from `next_obs`.

    If every episode is complete, nothing changes.
    """
    lost = traj.first[:, 1:] & ~traj.terminated[:, :-1]
    truncated = jnp.concatenate([traj.truncated[:, :-1] | lost, traj.truncated[:, -1:]], axis=1)
    return traj.replace(truncated=truncated)
