"""Shared by Q-learners: values of a sequence of rows and of their true successors, and lambda-returns.

Values of agents are [B, T, N]; what is fitted is [B, T, M], as the network mixes them: one value of the team (M = 1),
or one of each agent (M = N). Rows are read with the memory that their sequence begins with. The successor of a row is
read with the memory after that row, in one step for all rows, so a target never depends on the stream's next row.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tandem.core import Array, Params, PyTree, QValues, Transition
from tandem.ops.backups import Backup, chosen
from tandem.ops.losses import masked_mean
from tandem.ops.returns import lambda_returns


class Read(NamedTuple):
    """A network's outputs for sequences."""

    after: PyTree  # memory after each row [B, T, N, ...]
    values: Array  # [B, T, N, A]


def read(face: QValues, params: Params, memory: PyTree, traj: Transition) -> Read:
    """Return the values of rows [B, T, ...], from the memory [B, N, ...] before the first of them."""
    return Read(*face.values(params, memory, traj.obs, traj.first, traj.legal))


def remembered(traj: Transition) -> PyTree:
    """Return the memory [B, N, ...] at the sequences' first rows when they were acted on."""
    return jax.tree.map(lambda x: x[:, 0], traj.extras.memory)


def successor_values(face: QValues, params: Params, after: PyTree, traj: Transition) -> Array:
    """Return the values [B, T, N, A] of the rows' true successors, with the memories after the rows."""
    shape = traj.first.shape
    memory, obs, legal = alone((after, traj.next_obs, traj.next_legal), shape)
    never = jnp.zeros((obs.shape[0], 1), bool)
    _, values = face.values(params, memory, obs[:, None], never, legal[:, None])
    return values.reshape(*shape, *values.shape[2:])


def alone(tree: PyTree, shape: tuple[int, ...]) -> PyTree:
    """Return leaves [B, T, ...] as [B * T, ...], so that each row stands alone."""
    return jax.tree.map(lambda x: x.reshape(shape[0] * shape[1], *x.shape[2:]), tree)


def cut(tree: PyTree, burn_in: int) -> PyTree:
    """Return leaves [B, L, ...] without the first rows, which only warm up a memory."""
    return jax.tree.map(lambda x: x[:, burn_in:], tree)


def mixed(face: QValues, params: Params, values: Array, traj: Transition) -> Array:
    """Return the fitted values [B, T, M] of values [B, T, N, A]: those of the played actions, mixed."""
    played = chosen(values, traj.action)
    return face.mix(params, played, traj.obs, traj.state, traj.alive)


def fitted(face: QValues, traj: Transition) -> Array:
    """Return which values [B, T, M] are fitted, bool: not those of dead agents or of a team with none alive."""
    return traj.alive if face.by_agent else jnp.any(traj.alive, axis=-1, keepdims=True)


class Fit(NamedTuple):
    """The errors of rows' values against their targets."""

    values: Array  # [B, T, N, A]
    predicted: Array  # [B, T, M] values of the data's actions, mixed
    counts: Array  # [B, T, M] bool: which errors count
    error: Array  # [B, T, M]
    metrics: dict[str, Array]


def fit(face: QValues, params: Params, memory: PyTree, traj: Transition, target: Array) -> Fit:
    """Return the errors of rows [B, T, ...] against targets [B, T, M], from the memory before the first row."""
    return fit_values(face, params, read(face, params, memory, traj).values, traj, target)


def fit_values(face: QValues, params: Params, values: Array, traj: Transition, target: Array) -> Fit:
    """Return the errors of rows whose values [B, T, N, A] are known."""
    predicted, counts = mixed(face, params, values, traj), fitted(face, traj)
    error = predicted - target
    metrics = {
        "train/td_error": masked_mean(jnp.abs(error), counts),
        "train/q_data": masked_mean(predicted, counts),
        "train/q_target": masked_mean(target, counts),
    }
    return Fit(values, predicted, counts, error, metrics)


def next_values(
    face: QValues, backup: Backup, judge: tuple[Params, PyTree], valuer: tuple[Params, PyTree], traj: Transition,
    behaviour: Array | None = None,
) -> Array:  # fmt: skip
    """Return the values of the rows' true successors [B, T, M]; agents that died in the step count as zero.

    Args:
      judge: parameters, and memories after each row, of the network by which an action is chosen.
      valuer: those of the network whose values count; the same object as `judge` where one network does both.
      behaviour: [B, T, N, A] the data's policy at the successors, for backups that use it.
    """
    by_judge = successor_values(face, *judge, traj)
    by_valuer = by_judge if valuer is judge else successor_values(face, *valuer, traj)
    each = backup(by_valuer, by_judge, traj.next_legal, behaviour)
    return face.mix(valuer[0], each, traj.next_obs, traj.next_state, traj.next_alive)


def targets(reward: Array, after: Array, traj: Transition, discount: float, td_lambda: float) -> Array:
    """Return the lambda-returns [B, T, M] of the team's rewards [B, T] and the successors' values [B, T, M]."""

    def one(reward, after, terminated, truncated):
        return lambda_returns(reward, after, terminated, truncated, discount, td_lambda)

    over_values = jax.vmap(one, in_axes=(None, 1, None, None), out_axes=1)
    return jax.lax.stop_gradient(jax.vmap(over_values)(reward, after, traj.terminated, traj.truncated))
