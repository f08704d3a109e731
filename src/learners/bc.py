"""Behaviour cloning: the policy is fitted to the actions of recorded data, whatever they earned.

It is what every other way to learn from recorded data has to be measured by (Formanek et al. 2024, "Dispelling the
mirage of progress in offline MARL"). On an expert's data it becomes the expert.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from tandem.core import (
    ActorCritic, Array, Batch, Halves, Key, Learner, LearnerState, Model, Params, RunPlan, Slope, Transition, setting,
)  # fmt: skip
from tandem.learners import cloning
from tandem.learners.entity_dropout import entity_dropout_setting, make_hide
from tandem.learners.offline_metrics import named
from tandem.learners.sgd import descend, in_one, make_optimiser
from tandem.learners.value_targets import cut
from tandem.ops.clocks import update_problems
from tandem.ops.losses import masked_mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    sequence: int = setting(4, "T, rows of a sequence that are imitated", low=1, high=1024)
    burn_in: int = setting(0, "rows before these that only bring the memory up to date", low=0, high=1024)
    learning_rate: float = setting(1.0e-3, "at the start", low=0.0)
    final_rate_fraction: float = setting(
        0.1, "learning rate at the end over that at the start (cosine)", low=0.0, high=1.0
    )
    weight_decay: float = setting(0.0, "pulls parameters to zero, as in adamw", low=0.0)
    max_grad_norm: float = setting(10.0, "gradients are clipped to this global norm", low=1e-6)
    entity_dropout: float = entity_dropout_setting()


METRICS = ("loss", "entropy", "grad_norm", "learning_rate", "offline/agreement")


def problems(config: Config, plan: RunPlan) -> list[str]:
    """Return a sentence for each setting that cannot work in this run."""
    return update_problems(plan.total_steps, plan.total_updates)


def make(config: Config, model: Model, plan: RunPlan) -> Learner:
    """Return the learner; its learning rate's schedule spans the plan's updates.

    Raises:
      ValueError: things are to be hidden, and the network sees none.
    """

    def of_batch(params: Params, batch: Batch) -> tuple[Array, dict[str, Array]]:
        return loss(config, model.actor_critic, params, batch)

    def held_out(state: LearnerState, rows: Transition) -> dict[str, Array]:
        known, outputs = model.actor_critic.distribution, imitated(model.actor_critic, state.params, rows)
        log_prob = known.log_prob(outputs, rows.legal, rows.action)
        return cloning.held_out(log_prob, known.mode(outputs, rows.legal), rows)

    return assemble(config, of_batch, METRICS, model, plan)._replace(held_out=held_out)


def assemble(
    config: Config, loss: Callable[[Params, Batch], tuple[Array, dict[str, Array]]], names: tuple[str, ...],
    model: Model, plan: RunPlan,
) -> Learner:  # fmt: skip
    """Return the learner that goes down a loss.

    Args:
      loss: parameters, batch -> loss [], metrics {name: []}.
      names: of these metrics, and of those of the step.
    """
    optimiser, schedule = make_optimiser(
        peak=config.learning_rate, warmup_updates=0, total_updates=plan.total_updates,
        final_fraction=config.final_rate_fraction, weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
    )  # fmt: skip
    hide = make_hide(config.entity_dropout, model)

    def init(key: Key) -> LearnerState:
        params = model.init(key)
        step = jnp.zeros((), jnp.int32)
        return LearnerState(params=params, target=(), opt=optimiser.init(params), step=step)

    def rates(step: Array) -> dict[str, Array]:
        return {"train/learning_rate": schedule(step)}

    def slope(state: LearnerState, batch: Batch, key: Key) -> Slope:
        if hide:
            batch = batch.replace(traj=hide(batch.traj, key))
        gradients, metrics = jax.grad(loss, has_aux=True)(state.params, batch)
        return Slope(gradients, state.stats, metrics, jnp.ones_like(batch.weight))

    def step(state: LearnerState, gradients: Params) -> tuple[LearnerState, dict[str, Array]]:
        params, opt, grad_norm = descend(optimiser, state.params, state.opt, gradients)
        metrics = {"train/grad_norm": grad_norm, **rates(state.step)}
        return state.replace(params=params, opt=opt, step=state.step + 1), metrics

    halves = Halves(slope, step)
    return Learner(
        init=init,
        update=in_one(halves),
        sequence_length=config.burn_in + config.sequence,
        metric_names=named(names),
        rates=rates,
        acting=lambda state: model.acting(state.params),
        halves=halves,
    )


def imitated(face: ActorCritic, params: Params, traj: Transition) -> Array:
    """Return the policy's outputs [B, T, N, ...] at rows that begin without memory."""
    return face.policy(params, face.memory(traj.first.shape[0]), traj.obs, traj.first)[1]


def loss(config: Config, face: ActorCritic, params: Params, batch: Batch) -> tuple[Array, dict[str, Array]]:
    """Return the negative log-likelihood [] of the data's actions, and metrics; a sequence begins without memory."""
    traj, known = batch.traj, face.distribution
    rows, outputs = cut((traj, imitated(face, params, traj)), config.burn_in)
    of_data = cloning.likelihood_loss(known.log_prob(outputs, rows.legal, rows.action), rows, batch.weight)
    free = cloning.choosing(rows)
    likeliest = known.mode(jax.lax.stop_gradient(outputs), rows.legal)
    agreed = likeliest == rows.action if likeliest.ndim == free.ndim else jnp.zeros_like(free)
    return of_data, {
        "train/loss": of_data,
        "train/entropy": masked_mean(known.entropy(outputs, rows.legal), free),
        "offline/agreement": masked_mean(agreed.astype(jnp.float32), free),
    }
