"""Q-learning from whole rollouts by lambda-returns, without a replay and without a target network.

PQN (Gallici et al. 2024, "Simplifying deep temporal difference learning", algorithm 1): normalised layers keep
the values bounded, many parallel environments replace the replay, and targets bootstrap from the network's
own values. With the mixer `sum` it is the PQN-VDN of JaxMARL. A rollout's targets are made once, by the
parameters that acted.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from tandem.core import (
    Array,
    Batch,
    Key,
    Learner,
    LearnerState,
    Model,
    Params,
    PyTree,
    QValues,
    RunPlan,
    Transition,
    pytree,
    setting,
)
from tandem.learners import value_targets
from tandem.learners.on_policy import chunk_problems
from tandem.learners.reward_scale import make_reward_scale, reward_scale_setting
from tandem.learners.rollout_updates import run_epochs
from tandem.learners.sgd import sgd_step
from tandem.ops.backups import greedy
from tandem.ops.clocks import update_problems
from tandem.ops.losses import error_loss, masked_mean
from tandem.ops.team import team_reward


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    epochs: int = setting(2, "passes over each rollout", low=1)
    num_minibatches: int = setting(8, "optimiser steps per pass; must divide the rollout's number of chunks", low=1)
    chunk_length: int = setting(
        0, "steps of a training sequence; must divide runner_args.rollout_length; 0 = all of it", low=0
    )
    td_lambda: float = setting(
        0.6, "lambda of the targets: 0 = one-step targets, 1 = rewards to the rollout's end", low=0.0, high=1.0
    )
    reward_scale: float = reward_scale_setting()
    loss: str = setting("squared", "loss function of value errors", choices=("squared", "huber"))
    huber_delta: float = setting(1.0, "huber: errors beyond it count linearly; in units of the value", low=1e-6)
    learning_rate: float = setting(1.0e-3, "at the start", low=0.0)
    final_rate_fraction: float = setting(
        0.0, "learning rate at t_max as a share of the initial one (linear schedule)", low=0.0, high=1.0
    )
    max_grad_norm: float = setting(1.0, "gradients are clipped to this global norm", low=1e-6)
    adam_epsilon: float = setting(1.0e-5, "adam", low=0.0)


METRICS = ("loss", "td_error", "q_data", "q_target", "reward_scale", "grad_norm", "learning_rate")


@pytree
class Chunks:
    """M chunks of a rollout with L steps each, and the targets of their values."""

    traj: Transition  # [M, L, ...]
    memory: PyTree  # [M, N, ...] before the first step
    target: Array  # [M, L, one or N]


def problems(config: Config, plan: RunPlan) -> list[str]:
    """Return a sentence for each size that does not divide rollouts, or that makes steps overflow."""
    found = update_problems(plan.total_steps, plan.total_updates, config.epochs * config.num_minibatches)
    return found + chunk_problems(config.chunk_length, plan, {"num_minibatches": config.num_minibatches})


def make(config: Config, model: Model, plan: RunPlan) -> Learner:
    """Return the learner, which updates once for each of the plan's rollouts.

    Raises:
      ValueError: a memory would be trained on single steps.
    """
    face, spec, discount = model.q_values, plan.spec, plan.discount
    if config.chunk_length == 1 and jax.tree.leaves(jax.eval_shape(lambda: face.memory(1))):
        raise ValueError(
            "learner_args.chunk_length=1: a memory is not learned from single steps; choose 16, say, or 0 for "
            "whole rollouts"
        )
    steps = config.epochs * config.num_minibatches
    rate, total = config.learning_rate, max(plan.total_updates * steps, 1)
    schedule = optax.linear_schedule(rate, rate * config.final_rate_fraction, total)
    clip = optax.clip_by_global_norm(config.max_grad_norm)
    optimiser = optax.chain(clip, optax.radam(schedule, eps=config.adam_epsilon))
    scaling = make_reward_scale(config.reward_scale, discount, plan.rollout_length, spec.episode_limit)

    def init(key: Key) -> LearnerState:
        params = model.init(key)
        step = jnp.zeros((), jnp.int32)
        return LearnerState(params=params, target=(), opt=optimiser.init(params), step=step, stats=scaling.init())

    def step(carry: tuple[Params, Any], batch: Chunks):
        params, opt, norm, metrics = sgd_step(lambda params: loss(config, face, params, batch), optimiser, *carry)
        return (params, opt), metrics | {"train/grad_norm": norm}

    def rates(step: Array) -> dict[str, Array]:
        return {"train/learning_rate": schedule(step)}

    def update(state: LearnerState, batch: Batch, key: Key):
        raw = team_reward(batch.traj.reward, spec.shared_reward)
        stats = scaling.add(state.stats, raw, batch.traj, batch.weight)
        reward, since = scaling.scale(stats) * raw, scaling.since_copy(stats)
        target = rollout_targets(config, face, discount, state.params, batch.traj, reward, since)
        chunks = cut(config.chunk_length, batch.traj, target)
        carry, metrics = run_epochs(step, (state.params, state.opt), chunks, key, config.epochs, config.num_minibatches)
        metrics |= {"train/reward_scale": jnp.asarray(scaling.scale(stats), jnp.float32), **rates(state.step)}
        # The values are bootstrapped from in the units that they were last fitted in.
        stats = scaling.copy(stats, jnp.array(True))
        state = state.replace(params=carry[0], opt=carry[1], step=state.step + steps, stats=stats)
        return state, metrics, jnp.ones_like(batch.weight)

    return Learner(
        init=init,
        update=update,
        sequence_length=0,
        metric_names=tuple(f"train/{name}" for name in METRICS),
        rates=rates,
        acting=lambda state: model.acting(state.params),
    )


def rollout_targets(
    config: Config,
    face: QValues,
    discount: float,
    params: Params,
    traj: Transition,
    reward: Array,
    since: Array | float,
) -> Array:
    """Return the lambda-returns [E, T, M] of a rollout by the network's own values.

    Args:
      reward: [E, T] the team's, scaled.
      since: [] their scale over that of the network's values.
    """
    own = (params, value_targets.read(face, params, value_targets.remembered(traj), traj).after)
    after = since * value_targets.next_values(face, greedy, own, own, traj)
    return value_targets.targets(reward, after, traj, discount, config.td_lambda)


def cut(chunk_length: int, traj: Transition, target: Array) -> Chunks:
    """Return the chunks of a rollout [E, T, ...] and of its targets [E, T, M]."""
    length = chunk_length or traj.first.shape[1]
    pieces = jax.tree.map(lambda x: x.reshape(-1, length, *x.shape[2:]), (traj, target))
    return Chunks(traj=pieces[0], memory=value_targets.remembered(pieces[0]), target=pieces[1])


def loss(config: Config, face: QValues, params: Params, batch: Chunks) -> tuple[Array, dict[str, Array]]:
    """Return the scalar loss and metrics of one minibatch."""
    fit = value_targets.fit(face, params, batch.memory, batch.traj, batch.target)
    total = masked_mean(error_loss(config.loss, config.huber_delta)(fit.error), fit.counts)
    return total, fit.metrics | {"train/loss": total}
