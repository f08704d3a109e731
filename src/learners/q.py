"""Q-learning from stored sequences, with a target network: IQL, VDN and QMIX, which differ in the network's mixer.

Independent Q-learners (Tampuu et al. 2017), VDN (Sunehag et al. 2018), QMIX (Rashid et al. 2018, equation 6), with
double Q-learning and TD(lambda) as in PyMARL2 (Hu et al. 2021, "Rethinking the implementation tricks and monotonicity
constraint in cooperative multi-agent reinforcement learning"). Every value is fitted to the team's reward. A sequence
begins with the memory that its first row was acted with, or with none, and with rows that only warm up that memory
(Kapturowski et al. 2019, "Recurrent experience replay in distributed reinforcement learning").

`assemble` takes a `Method`: the backup, and what else is learned beside the values. An algorithm for recorded data is
another method (`q_offline.py`).
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from tandem.core import (
    Array,
    Batch,
    Halves,
    Key,
    Learner,
    LearnerState,
    Model,
    Params,
    PyTree,
    QValues,
    RunPlan,
    Slope,
    Transition,
    setting,
)
from tandem.learners import value_targets
from tandem.learners.entity_dropout import Hide
from tandem.learners.reward_scale import make_reward_scale, reward_scale_setting
from tandem.learners.sgd import apart, descend, in_one, make_optimiser, state_with_target
from tandem.ops import backups
from tandem.ops.backups import Backup
from tandem.ops.clocks import update_problems
from tandem.ops.losses import error_loss
from tandem.ops.team import team_reward


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    sequence: int = setting(8, "T, rows of a training sequence", low=1, high=1024)
    burn_in: int = setting(0, "rows before the training sequence that only warm up the memory", low=0, high=1024)
    initial_memory: str = setting(
        "stored", "memory before a sequence's first row: the one stored when acting, or zeros",
        choices=("stored", "zero"),
    )  # fmt: skip
    double_q: bool = setting(
        True, "whether the online network chooses the next action that the target network evaluates"
    )
    td_lambda: float = setting(
        0.6, "lambda of the targets: 0 = one-step targets, 1 = rewards to the sequence's end", low=0.0, high=1.0
    )
    reward_scale: float = reward_scale_setting()
    loss: str = setting("huber", "loss function of value errors", choices=("squared", "huber"))
    huber_delta: float = setting(1.0, "huber: errors beyond it count linearly; in units of the value", low=1e-6)
    learning_rate: float = setting(5.0e-4, "peak learning rate of the schedule", low=0.0)
    final_rate_fraction: float = setting(
        0.1, "learning rate at the end as a share of the peak (cosine schedule)", low=0.0, high=1.0
    )
    warmup_updates: int = setting(0, "optimiser steps of the linear warm-up", low=0)
    max_grad_norm: float = setting(10.0, "gradients are clipped to this global norm", low=1e-6)
    target_period_updates: int = setting(200, "optimiser steps between copies to the target network", low=1)
    target_rate: float = setting(
        0.0, "share of the network that the target takes over per step; 0 = copied at intervals", low=0.0, high=1.0
    )
    largest_error_weight: float = setting(
        0.9,
        "a sequence's priority is this share of its largest error plus the rest of its mean error",
        low=0.0,
        high=1.0,
    )


HIDING = 1  # its index in an update's key
METRICS = ("loss", "td_error", "q_data", "q_target", "reward_scale", "grad_norm", "learning_rate")


def problems(config: Config, plan: RunPlan) -> list[str]:
    """Return a sentence for each setting that cannot work in this run."""
    return update_problems(plan.total_steps, plan.total_updates)


class Opinion(NamedTuple):
    """Estimated policy of the data: probabilities [B, T, N, A], zero on illegal actions."""

    now: Array  # at the rows
    then: Array  # at their true successors
    said: PyTree = ()  # what it was made of, through which gradients come, for the loss


class Learned(NamedTuple):
    """A Q-learner's quantities for rows [B, T, ...] in an update."""

    rows: Transition  # without the burn-in rows
    weight: Array  # [B] importance weights
    values: Array  # [B, T, N, A] of the learning network
    predicted: Array  # [B, T, M] values of the data's actions, as they are fitted
    counts: Array  # [B, T, M] bool: which values are fitted
    team: Callable[[Array], Array]  # one value for each agent [B, T, N] -> [B, T, M], by the learning network
    reward: Array  # [B, T] the team's, scaled
    scale: Array | float  # factor on rewards
    opinion: Opinion


class Beside(NamedTuple):
    """A model that is learned beside the values from the same rows, and its estimate of the data's policy."""

    names: tuple[str, ...]  # names of its parameters in the network's; each is clipped and optimised separately
    opinion: Callable[[Params, Transition], Opinion]  # parameters, rows with those that are burned in
    # parameters, rows with those that are burned in, what is learned of the others, key -> loss [], metrics {name: []}
    loss: Callable[[Params, Transition, Learned, Key], tuple[Array, dict[str, Array]]]
    metric_names: tuple[str, ...]
    init: Callable[[Key, Params], Params] = lambda key, params: params  # -> the network's and those that it adds
    acting: Callable[[Params], Params] = lambda params: params  # -> those of a network of the same kind that plays


class Method(NamedTuple):
    """The variable parts of a Q-learner; algorithms for recorded data have other values of these."""

    backup: Backup = backups.greedy
    beside: Beside | None = None
    hide: Hide | None = None  # hides things from the agents in the sequences that are learned from


def make(config: Config, model: Model, plan: RunPlan) -> Learner:
    """Return the learner; its learning rate's schedule spans the plan's updates.

    Raises:
      ValueError: there are burn-in rows without a memory, or a reward scale with a target that moves at every step.
    """
    return assemble(config, Method(), model, plan)


def assemble(config: Config, method: Method, model: Model, plan: RunPlan) -> Learner:
    """Return the learner with a given method.

    Raises:
      ValueError: as `make`.
    """
    _check(config, model)
    face, length = model.q_values, config.burn_in + config.sequence
    scaling = make_reward_scale(config.reward_scale, plan.discount, length, plan.spec.episode_limit)
    optimiser, schedule = make_optimiser(
        peak=config.learning_rate, warmup_updates=config.warmup_updates, total_updates=plan.total_updates,
        final_fraction=config.final_rate_fraction, weight_decay=0.0, max_grad_norm=config.max_grad_norm,
    )  # fmt: skip
    beside = method.beside
    if beside:
        optimiser = apart(optimiser, beside.names)

    def init(key: Key) -> LearnerState:
        params = model.init(key)
        if beside:
            params = beside.init(jax.random.fold_in(key, 1), params)
        return state_with_target(params, optimiser, scaling.init())

    def rates(step: Array) -> dict[str, Array]:
        return {"train/learning_rate": schedule(step)}

    def slope(state: LearnerState, batch: Batch, key: Key) -> Slope:
        if method.hide:
            batch = batch.replace(traj=method.hide(batch.traj, jax.random.fold_in(key, HIDING)))
        raw = team_reward(batch.traj.reward, plan.spec.shared_reward)  # [B, T]
        stats = scaling.add(state.stats, raw, batch.traj, batch.weight)
        scale, networks = scaling.scale(stats), (state.params, state.target)
        memories = tuple(start(config, face, params, batch.traj) for params in networks)
        rows, reward = value_targets.cut((batch.traj, scale * raw), config.burn_in)

        def objective(params: Params):
            # Rows are read once, for their values and for what comes after them.
            known = value_targets.read(face, params, memories[0], rows)
            now = jax.lax.stop_gradient(known.after)
            opinion = beside.opinion(params, batch.traj) if beside else None
            then = opinion.then if opinion else None
            after = successors(config, method.backup, face, networks, memories, rows, then, now)
            target = value_targets.targets(
                reward, scaling.since_copy(stats) * after, rows, plan.discount, config.td_lambda
            )  # fmt: skip
            fit = value_targets.fit_values(face, params, known.values, rows, target)
            total, (metrics, priorities) = loss(config, fit, batch.weight)
            if beside:
                learned = Learned(
                    rows=rows, weight=batch.weight, values=fit.values, predicted=fit.predicted, counts=fit.counts,
                    team=lambda q: face.mix(params, q, rows.obs, rows.state, rows.alive), reward=reward, scale=scale,
                    opinion=opinion,
                )  # fmt: skip
                of_beside, more = beside.loss(params, batch.traj, learned, key)
                total, metrics = total + of_beside, metrics | more
            return total, (metrics | {"train/loss": total}, priorities)

        gradients, (metrics, priorities) = jax.grad(objective, has_aux=True)(state.params)
        metrics |= {"train/reward_scale": jnp.asarray(scale, jnp.float32)}
        stats = scaling.copy(stats, (state.step + 1) % config.target_period_updates == 0)
        return Slope(gradients, stats, metrics, priorities)

    def step(state: LearnerState, gradients: Params) -> tuple[LearnerState, dict[str, Array]]:
        params, opt, grad_norm = descend(optimiser, state.params, state.opt, gradients)
        target = follow(config, params, state.target, state.step + 1)
        metrics = {"train/grad_norm": grad_norm, **rates(state.step)}
        return state.replace(params=params, target=target, opt=opt, step=state.step + 1), metrics

    halves = Halves(slope, step)
    plays = beside.acting if beside else (lambda params: params)
    return Learner(
        init=init,
        update=in_one(halves),
        sequence_length=length,
        metric_names=tuple(f"train/{name}" for name in METRICS) + (beside.metric_names if beside else ()),
        rates=rates,
        acting=lambda state: model.acting(plays(state.params)),
        halves=halves,
    )


def _check(config: Config, model: Model) -> None:
    remembers = bool(jax.tree.leaves(jax.eval_shape(lambda: model.q_values.memory(1))))
    if config.burn_in and not remembers:
        raise ValueError(
            f"learner_args.burn_in={config.burn_in}: the network has no memory to bring up to date; set it to 0, or "
            "choose network_args.memory=gru"
        )
    if config.target_rate > 0 and config.reward_scale == 0:
        raise ValueError(
            f"learner_args.target_rate={config.target_rate}: a target that moves at every step has no scale of its "
            "own while that of the rewards is learned; set learner_args.reward_scale above 0, or target_rate to 0"
        )


def start(config: Config, face: QValues, params: Params, traj: Transition) -> PyTree:
    """Return the memory [B, N, ...] before the first row that is learned from, after those that are burned in."""
    if config.initial_memory == "stored":
        memory = value_targets.remembered(traj)
    else:
        memory = face.memory(traj.first.shape[0])
    if not config.burn_in:
        return memory
    before = jax.tree.map(lambda x: x[:, : config.burn_in], traj)
    after = value_targets.read(face, params, memory, before).after
    return jax.lax.stop_gradient(jax.tree.map(lambda x: x[:, -1], after))


def successors(
    config: Config, backup: Backup, face: QValues, networks: tuple[Params, Params], memories: tuple[PyTree, PyTree],
    rows: Transition, behaviour: Array | None = None, now: PyTree = None,
) -> Array:  # fmt: skip
    """Return the values of the rows' true successors [B, T, M].

    Args:
      networks: the online network, which chooses actions with double Q-learning, and the target network.
      memories: of each, before the first row.
      behaviour: [B, T, N, A] the data's policy there, for backups that use it.
      now: memories [B, T, N, ...] of the online network after each row, if they are known.
    """

    def reader(params: Params, memory: PyTree) -> tuple[Params, PyTree]:
        # Without a memory the rows need not be read; XLA removes unused results.
        return params, value_targets.read(face, params, memory, rows).after

    valuer = reader(networks[1], memories[1])
    if not config.double_q:
        judge = valuer
    else:
        judge = reader(networks[0], memories[0]) if now is None else (networks[0], now)
    return value_targets.next_values(face, backup, judge, valuer, rows, behaviour)


def loss(
    config: Config, fit: value_targets.Fit, weight: Array
) -> tuple[Array, tuple[dict[str, Array], Array]]:  # fmt: skip
    """Return the scalar loss of values' errors [B, T, M], and (metrics, priorities [B]); `weight` [B] is importance."""
    losses = error_loss(config.loss, config.huber_delta)(fit.error)
    total = jnp.sum(weight[:, None, None] * fit.counts * losses) / jnp.maximum(jnp.sum(fit.counts), 1.0)
    size = jnp.where(fit.counts, jnp.abs(jax.lax.stop_gradient(fit.error)), 0.0)
    return total, (fit.metrics, priorities(config, size, fit.counts))


def priorities(config: Config, size: Array, counts: Array) -> Array:
    """Return the sequences' priorities [B] of errors' sizes [B, T, M], zero where they do not count.

    Kapturowski et al. 2019, section 2.3.
    """
    mean = jnp.sum(size, axis=(1, 2)) / jnp.maximum(jnp.sum(counts, axis=(1, 2)), 1.0)
    return config.largest_error_weight * jnp.max(size, axis=(1, 2)) + (1.0 - config.largest_error_weight) * mean


def follow(config: Config, params: Params, target: Params, step: Array) -> Params:
    """Return the target network after an optimiser step: copied at intervals, or a little nearer."""
    if config.target_rate > 0:
        return optax.incremental_update(params, target, config.target_rate)
    return optax.periodic_update(params, target, step, config.target_period_updates)
