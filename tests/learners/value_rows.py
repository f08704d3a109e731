"""Random sequences for learners of Q-values, with the memories that acting leaves, and targets made step by step."""

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Batch, Model, Params, PolicyExtras, QValues, Transition
from tandem.models import q_network
from tests.learners.rollouts import SPEC, A, E, N, T, batch_of, random_rows
from tests.reference import backups as slow

GRU = q_network.Config(hidden_size=6, num_layers=1, memory="gru", mixer="sum", head_gain=1.0)


def model_of(**changes) -> Model:
    return q_network.make(q_network.Config(**{"hidden_size": 6, "num_layers": 1, "head_gain": 1.0} | changes), SPEC)


def random_sequences(face: QValues, params: Params, seed: int, ends: float = 0.3) -> Batch:
    """Return sequences that begin in mid-episode, with the memories that `params` act with."""
    rows = random_rows(seed, ends)

    def step(memory, inputs):
        after, _ = face.values(params, memory, *(x[:, None] for x in inputs))
        return jax.tree.map(lambda x: x[:, 0], after), memory

    steps = tuple(rows[name].swapaxes(0, 1) for name in ("obs", "first", "legal"))
    begun = jax.tree.map(lambda x: x + 0.5, face.memory(E))
    memories = jax.tree.map(lambda x: x.swapaxes(0, 1), jax.lax.scan(step, begun, steps)[1])
    nothing = jnp.zeros((E, T, N))
    extras = PolicyExtras(log_prob=nothing, policy=jnp.zeros((E, T, N, A)), entropy=nothing, memory=memories)
    return batch_of(Transition(extras=extras, **rows))


def slow_reading(face: QValues, params: Params, traj: Transition, memory) -> tuple[np.ndarray, np.ndarray]:
    """Return values of rows and of true successors [E, T, N, A], one step after the other, the memory carried along."""
    values, next_values, value = [], [], jax.jit(face.values)
    for t in range(traj.first.shape[1]):
        row = jax.tree.map(lambda x: x[:, t : t + 1], traj)  # noqa: B023
        after, now = value(params, memory, row.obs, row.first, row.legal)
        memory = jax.tree.map(lambda x: x[:, 0], after)
        _, then = value(params, memory, row.next_obs, jnp.zeros_like(row.first), row.next_legal)
        values.append(now[:, 0])
        next_values.append(then[:, 0])
    return np.stack(values, axis=1), np.stack(next_values, axis=1)


def slow_vdn_targets(by_judge, by_valuer, traj: Transition, reward, discount: float, td_lambda: float) -> np.ndarray:
    """Return the targets [E, T] of a sum of values [E, T, N, A] of the successors, by the definitions."""
    worth, found = np.zeros(traj.first.shape), np.zeros(traj.first.shape)
    legal, alive = np.asarray(traj.next_legal), np.asarray(traj.next_alive)
    for e, t, i in np.ndindex(*alive.shape):
        if alive[e, t, i]:
            worth[e, t] += slow.greedy(by_valuer[e, t, i], by_judge[e, t, i], legal[e, t, i])
    ends = np.asarray(traj.terminated), np.asarray(traj.truncated)
    for e, t in np.ndindex(*found.shape):
        found[e, t] = slow.lambda_return(
            np.asarray(reward)[e], worth[e], ends[0][e], ends[1][e], discount, td_lambda, t
        )
    return found
