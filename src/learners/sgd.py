"""The gradient step that all learners share."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from tandem.core import Array, Batch, Halves, Key, LearnerState, Params, PyTree
from tandem.ops.schedules import warmup_cosine


def make_optimiser(
    *,
    peak: float,
    warmup_updates: int,
    total_updates: int,
    final_fraction: float,
    weight_decay: float,
    max_grad_norm: float,
) -> tuple[optax.GradientTransformation, Callable[[Array], Array]]:
    """Return AdamW after global-norm clipping, and its schedule, both counted in optimiser steps."""
    schedule = warmup_cosine(peak, warmup_updates, total_updates, final_fraction)
    clip = optax.clip_by_global_norm(max_grad_norm)
    return optax.chain(clip, optax.adamw(schedule, weight_decay=weight_decay)), schedule


def apart(optimiser: optax.GradientTransformation, names: tuple[str, ...]) -> optax.GradientTransformation:
    """Return an optimiser that clips each of the named parameters separately, and all others together.

    Otherwise a large gradient of one would shorten the steps of the others.
    """
    rest = "values"
    return optax.partition(
        dict.fromkeys((*names, rest), optimiser),
        lambda params: {name: name if name in names else rest for name in params},
    )


def state_with_target(
    params: Params, optimiser: optax.GradientTransformation, stats: PyTree,
    learned: Callable[[Params], Params] = lambda params: params,
) -> LearnerState:  # fmt: skip
    """Return the initial state of a learner, whose target network equals its network; `learned` selects the parameters
    that are optimised.
    """
    target = jax.tree.map(jnp.copy, params)  # a copy, because donating one buffer twice is an error
    step = jnp.zeros((), jnp.int32)
    return LearnerState(params=params, target=target, opt=optimiser.init(learned(params)), step=step, stats=stats)


def sgd_step(
    objective: Callable[[Params], tuple[Array, Any]], optimiser, params: Params, opt
) -> tuple[Params, Any, Array, Any]:
    """Return (params, optimiser state, gradient norm before clipping, the objective's
    auxiliary output) after one step.
    """
    gradients, aux = jax.grad(objective, has_aux=True)(params)
    return *descend(optimiser, params, opt, gradients), aux


def descend(optimiser: optax.GradientTransformation, params: Params, opt: PyTree, gradients: Params) -> tuple:
    """Return (params, optimiser state, gradient norm before clipping) after one step down the gradients."""
    updates, opt = optimiser.update(gradients, opt, params)
    return optax.apply_updates(params, updates), opt, optax.tree.norm(gradients)


def in_one(halves: Halves) -> Callable:
    """Return the update that two halves make: state, batch, key -> state, metrics, priorities."""

    def update(state: LearnerState, batch: Batch, key: Key) -> tuple[LearnerState, dict[str, Array], Array]:
        slope = halves.slope(state, batch, key)
        state, metrics = halves.step(dataclasses.replace(state, stats=slope.stats), slope.gradients)
        return state, slope.metrics | metrics, slope.priorities

    return update
