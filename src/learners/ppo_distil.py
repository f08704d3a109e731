"""PPO with two networks and distillation between them: policy, value and distillation are trained one after another.

DNA (Aitchison and Sweetser 2022, "DNA: Proximal policy optimization with a dual network architecture"), with
Phasic Policy Gradient (Cobbe et al. 2021) as its forerunner. Each rollout is learned from in three phases, each with
epochs, minibatches, a learning rate and an optimiser of its own:

  policy   the policy network by PPO's clipped loss; advantages with a low lambda, for less noise
  value    the value network towards lambda-returns with a high lambda, for less bias
  distil   the policy network's own value head towards the value network, held to the policy it had by a KL term

A phase of no epochs is left out. With `network_args.separate_critic=False` the value phase trains the policy
network's own value head and body, and there is nothing to distil.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from tandem.core import ActorCritic, Array, Batch, Key, Learner, LearnerState, Model, Params, RunPlan, pytree, setting
from tandem.learners.on_policy import (
    Chunks, RolloutConfig, check, chunk_problems, init_state, judge, value_returns,
)  # fmt: skip
from tandem.learners.rollout_updates import make_adam, policy_loss, run_epochs, value_loss
from tandem.learners.sgd import sgd_step
from tandem.ops.clocks import update_problems
from tandem.ops.losses import error_loss, masked_mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RolloutConfig):
    policy_epochs: int = setting(2, "passes of the policy phase over each rollout; 0 = no such phase", low=0)
    policy_minibatches: int = setting(4, "optimiser steps per pass of the policy phase", low=1)
    policy_learning_rate: float = setting(5.0e-4, "initial learning rate of the policy phase", low=0.0)
    policy_gae_lambda: float = setting(0.8, "lambda of the advantages", low=0.0, high=1.0)
    value_epochs: int = setting(1, "passes of the value phase over each rollout; 0 = no such phase", low=0)
    value_minibatches: int = setting(4, "optimiser steps per pass of the value phase", low=1)
    value_learning_rate: float = setting(5.0e-4, "initial learning rate of the value phase", low=0.0)
    value_gae_lambda: float = setting(0.95, "lambda of the value targets", low=0.0, high=1.0)
    distil_epochs: int = setting(2, "passes of the distillation phase over each rollout; 0 = no such phase", low=0)
    distil_minibatches: int = setting(4, "optimiser steps per pass of the distillation phase", low=1)
    distil_learning_rate: float = setting(5.0e-4, "initial learning rate of the distillation phase", low=0.0)
    distil_kl_weight: float = setting(
        1.0, "weight of KL(policy before the phase || policy), which keeps the policy unchanged", low=0.0
    )
    distil_target: str = setting(
        "value", "what is distilled: the value network's values, or its targets", choices=("value", "returns")
    )


@pytree
class Lesson:
    """What the distillation phase learns from."""

    chunks: Chunks
    outputs: Array  # [M, L, N, P] of the policy before the phase
    value: Array  # [M, L, N] targets of the policy network's own value


class Phase(NamedTuple):
    """One phase: `loss` of one network over minibatches of what `prepare` makes of the chunks."""

    name: str  # also the prefix of its settings
    network: str  # "actor" or "critic"
    prepare: Callable[[Params, Chunks], Any]
    loss: Callable[[Params, Any], tuple[Array, dict[str, Array]]]
    metric_names: tuple[str, ...]


METRICS = ("value_mean", "explained_variance", "reward_scale")


def problems(config: Config, plan: RunPlan) -> list[str]:
    """Return a sentence for each size that does not divide this run's rollouts, or that makes
    its steps overflow.
    """
    steps = config.policy_epochs * config.policy_minibatches + config.value_epochs * config.value_minibatches
    steps += config.distil_epochs * config.distil_minibatches
    counts = {
        "policy_minibatches": config.policy_minibatches,
        "value_minibatches": config.value_minibatches,
        "distil_minibatches": config.distil_minibatches,
    }
    return update_problems(plan.total_steps, plan.total_updates, steps) + chunk_problems(
        config.chunk_length, plan, counts
    )


def make(config: Config, model: Model, plan: RunPlan) -> Learner:
    """Return the learner, which updates once for each of the plan's rollouts.

    Raises:
      ValueError: every phase is off, one network is to teach itself, a memory is to be trained on single steps, or a
        team's one value on rewards that differ.
    """
    begin, acting, model = model.init, model.acting, model.actor_critic
    spec, discount, total_updates = plan.spec, plan.discount, plan.total_updates
    check(config, model, spec)
    phases = make_phases(config, model)
    steps = {phase.name: _of(config, phase, "epochs") * _of(config, phase, "minibatches") for phase in phases}
    peaks = {phase.name: _of(config, phase, "learning_rate") for phase in phases}
    adams = {
        name: make_adam(config, model, peaks[name], total_updates * steps[name]) for name in steps
    }  # with schedules

    def init(key: Key) -> LearnerState:
        def make_opt(params: Params) -> dict:
            return {phase.name: adams[phase.name][0].init(params[phase.network]) for phase in phases}

        return init_state(config, begin(key), plan, make_opt)

    def rates(step: Array) -> dict[str, Array]:
        rollouts = step // sum(steps.values())  # a phase's schedule counts the phase's own steps
        return {f"train/{name}_learning_rate": adams[name][1](rollouts * own) for name, own in steps.items()}

    def update(state: LearnerState, batch: Batch, key: Key):
        lambdas = (config.policy_gae_lambda, config.value_gae_lambda)
        state, chunks, metrics = judge(config, model, spec, discount, lambdas, state, batch.traj)
        for phase, phase_key in zip(phases, jax.random.split(key, len(phases)), strict=True):
            state, learned = run_phase(config, phase, adams[phase.name][0], state, chunks, phase_key)
            metrics |= learned
        return (
            state.replace(step=state.step + sum(steps.values())),
            metrics | rates(state.step),
            jnp.ones_like(batch.weight),
        )

    own = ("grad_norm", "learning_rate")
    names = METRICS + tuple(
        name for phase in phases for name in (*phase.metric_names, *(f"{phase.name}_{ending}" for ending in own))
    )
    names = tuple(f"train/{name}" for name in names)
    return Learner(
        init=init,
        update=update,
        sequence_length=0,
        metric_names=names,
        rates=rates,
        acting=lambda state: acting(state.params),
        returns=value_returns,
    )


def make_phases(config: Config, model: ActorCritic) -> tuple[Phase, ...]:
    """Return the phases that have epochs, in their order.

    Raises:
      ValueError: there is none, or one network is to teach itself.
    """
    if config.distil_epochs and not model.separate_critic:
        raise ValueError(
            f"learner_args.distil_epochs={config.distil_epochs}: with network_args.separate_critic=False there is "
            "only one "
            "network, and nothing to distil; choose distil_epochs=0 or separate_critic=True"
        )
    phases = (
        Phase(
            "policy", "actor", lambda params, chunks: chunks,
            lambda params, batch: policy_phase_loss(config, model, params, batch),
            ("policy_loss", "entropy", "approx_kl", "clip_fraction"),
        ),
        Phase(
            "value", "critic" if model.separate_critic else "actor", lambda params, chunks: chunks,
            lambda params, batch: value_phase_loss(config, model, params, batch), ("value_loss",),
        ),
        Phase(
            "distil", "actor", lambda params, chunks: prepare_lesson(config, model, params, chunks),
            lambda params, lesson: distil_phase_loss(config, model, params, lesson), ("distil_loss", "distil_kl"),
        ),
    )  # fmt: skip
    chosen = tuple(phase for phase in phases if _of(config, phase, "epochs"))
    if not chosen:
        raise ValueError(
            "nothing would be learned: learner_args.policy_epochs, value_epochs and distil_epochs are all 0"
        )
    return chosen


def run_phase(
    config: Config, phase: Phase, optimiser: optax.GradientTransformation, state: LearnerState, chunks: Chunks, key: Key
) -> tuple[LearnerState, dict[str, Array]]:
    """Return the state after all epochs of a phase, and metrics. Only the phase's network and optimiser change."""
    fixed = state.params

    def step(carry, batch):
        network, opt, grad_norm, metrics = sgd_step(
            lambda network: phase.loss(fixed | {phase.network: network}, batch), optimiser, *carry
        )
        return (network, opt), metrics | {f"train/{phase.name}_grad_norm": grad_norm}

    carry = (fixed[phase.network], state.opt[phase.name])
    epochs, minibatches = _of(config, phase, "epochs"), _of(config, phase, "minibatches")
    (network, opt), metrics = run_epochs(step, carry, phase.prepare(fixed, chunks), key, epochs, minibatches)
    return state.replace(params=fixed | {phase.network: network}, opt=state.opt | {phase.name: opt}), metrics


def policy_phase_loss(config: Config, model: ActorCritic, params: Params, batch: Chunks):
    """Return PPO's policy loss and metrics."""
    _, outputs, _ = model.policy(params, batch.memory, batch.obs, batch.first)
    return policy_loss(config, model.distribution, outputs, batch)


def value_phase_loss(config: Config, model: ActorCritic, params: Params, batch: Chunks):
    """Return the value loss and metrics."""
    loss = value_loss(config, model.value(params, batch.memory, batch.obs, batch.state, batch.first)[1], batch)
    return loss, {"train/value_loss": loss}


def prepare_lesson(config: Config, model: ActorCritic, params: Params, chunks: Chunks) -> Lesson:
    """Return the chunks with the policy as it is and the values to distil."""
    _, outputs, _ = model.policy(params, chunks.memory, chunks.obs, chunks.first)
    value = chunks.value_target
    if config.distil_target == "value":
        _, value = model.value(params, chunks.memory, chunks.obs, chunks.state, chunks.first)
    return Lesson(chunks=chunks, outputs=outputs, value=value)


def distil_phase_loss(config: Config, model: ActorCritic, params: Params, lesson: Lesson):
    """Return the loss of the own values, plus the weighted divergence from the policy before the phase, and metrics."""
    batch = lesson.chunks
    _, outputs, own_value = model.policy(params, batch.memory, batch.obs, batch.first)
    error = masked_mean(error_loss(config.value_loss, config.huber_delta)(own_value - lesson.value), batch.valued)
    divergence = masked_mean(model.distribution.kl_divergence(lesson.outputs, outputs, batch.legal), batch.alive)
    return error + config.distil_kl_weight * divergence, {"train/distil_loss": error, "train/distil_kl": divergence}


def _of(config: Config, phase: Phase, name: str) -> Any:
    """Return a phase's own setting."""
    return getattr(config, f"{phase.name}_{name}")
