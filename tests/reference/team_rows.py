"""Random rows of teams of several sizes, whose observations are described as entities."""

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Batch, EnvSpec, PolicyExtras, Transition
from tests.models.entities.problem import observations


def random_rows(of: EnvSpec, batch: int, length: int, seed: int = 0) -> Transition:
    """Return rows [batch, length, ...] in which agents are dead here and there, and some actions illegal."""
    draw = np.random.default_rng(seed)
    shape, agents, actions = (batch, length), of.num_agents, of.actions.size
    obs, after = (
        observations(of, batch * length, seed + i).reshape(*shape, agents, of.obs.size) for i in (0, 1000)
    )  # fmt: skip
    legal, next_legal = (draw.random((*shape, agents, actions)) < 0.7 for _ in range(2))
    legal[..., 0], next_legal[..., 0] = True, True
    action = np.argmax(np.where(legal, draw.random(legal.shape), -1.0), axis=-1).astype(np.int32)
    alive, next_alive = (draw.random((*shape, agents)) < 0.8 for _ in range(2))
    nothing, over = np.zeros((*shape, agents), np.float32), draw.random(shape) < 0.2
    traj = Transition(
        obs=obs, state=obs.reshape(*shape, -1), legal=legal, present=np.ones_like(alive), alive=alive,
        first=draw.random(shape) < 0.2, action=action,
        reward=np.repeat(draw.normal(size=(*shape, 1)), agents, axis=-1).astype(np.float32),
        extras=PolicyExtras(log_prob=nothing, policy=np.zeros(legal.shape, np.float32), entropy=nothing),
        terminated=over, truncated=np.zeros(shape, bool), next_obs=after, next_state=after.reshape(*shape, -1),
        next_legal=next_legal, next_alive=next_alive, env_step=np.zeros(shape, np.int32),
    )  # fmt: skip
    return jax.tree.map(jnp.asarray, traj)


def batch_of(traj: Transition) -> Batch:
    """Return rows as a batch whose sequences weigh differently."""
    number = jnp.arange(traj.first.shape[0])
    return Batch(traj=traj, index=number, weight=1.0 + number, priority=jnp.ones(number.shape))
