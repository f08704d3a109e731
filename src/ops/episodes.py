"""Episodes that were abandoned, because their environment failed or the process that ran it died."""

import jax.numpy as jnp

from tandem.core import Transition


def given_up(traj: Transition) -> Transition:
    """Return rows [B, T, ...] of which those that the next one does not go on from are
    truncated: bootstrap from `next_obs`.

    Where every episode came to its end nothing changes.
    """
    lost = traj.first[:, 1:] & ~traj.terminated[:, :-1]
    truncated = jnp.concatenate([traj.truncated[:, :-1] | lost, traj.truncated[:, -1:]], axis=1)
    return traj.replace(truncated=truncated)
