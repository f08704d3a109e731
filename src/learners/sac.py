"""Soft actor-critic: every agent maximises the team's reward and the entropy of its policy.

Haarnoja et al. 2018, and Christodoulou 2019 for discrete actions. `soft_expectations.py` has what differs between
them. With discrete actions the temperature's target is the entropy of a policy that plays one legal action, and another
one with a small probability (`exploration`). Christodoulou's target, .98 of the maximal entropy, is nearly uniform play
and drives the temperature up without end. With central critics the others play the stored actions, and at the successor
actions drawn from their policies. `assemble` takes a regulariser that holds the policy near recorded data
(`sac_offline.py`).
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from tandem.core import (
    Array, Batch, Halves, Key, Learner, LearnerState, Model, Params, RunPlan, Slope, Transition, setting,
)  # fmt: skip
from tandem.learners import soft_expectations
from tandem.learners.entity_dropout import Hide
from tandem.learners.sgd import descend, in_one, make_optimiser
from tandem.learners.soft_expectations import Expectations
from tandem.ops.clocks import update_problems
from tandem.ops.losses import masked_mean
from tandem.ops.team import team_reward


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    sequence: int = setting(4, "T, rows of a training sequence, each with a one-step target", low=1)
    initial_temperature: float = setting(0.1, "initial weight of the entropy, in units of the values", low=1e-6)
    exploration: float = setting(
        0.025,
        "discrete actions: probability of another than the best one in the policy whose entropy is the temperature's "
        "target",
        low=1e-4,
        high=0.5,
    )
    entropy_per_number: float = setting(
        -1.0,
        "continuous actions: the temperature's target entropy in nats, for each number that an agent plays; playing "
        "uniformly has 0.69",
        high=0.69,
    )
    tune_temperature: bool = setting(
        True, "whether the temperature is tuned towards the target entropy, or stays constant"
    )
    reward_scale: float = setting(1.0, "factor on the team's reward before learning", low=1e-9)
    learning_rate: float = setting(5.0e-4, "initial learning rate of all networks, and of the temperature", low=0.0)
    final_rate_fraction: float = setting(
        0.1, "learning rate at the end as a share of the initial one (cosine schedule)", low=0.0, high=1.0
    )
    max_grad_norm: float = setting(
        10.0, "gradients of policy, critics and temperature are each clipped to this norm", low=1e-6
    )
    target_rate: float = setting(
        0.005, "share of the critics that their targets take over per step", low=1e-6, high=1.0
    )


METRICS = (
    "loss", "critic_loss", "policy_loss", "entropy", "target_entropy", "temperature", "q_data", "grad_norm",
    "learning_rate",
)  # fmt: skip


def problems(config: Config, plan: RunPlan) -> list[str]:
    """Return a sentence for each setting that cannot work in this run."""
    return update_problems(plan.total_steps, plan.total_updates)


class Regulariser(NamedTuple):
    """A regulariser that holds a policy near that of the data, with its own parameters."""

    names: tuple[str, ...]  # of its parameters, beside the network's
    init: Callable[[Key, Params], Params]  # the network's parameters -> with its own
    # parameters, policy [..., N, A], obs [..., N, O], legal [..., N, A] -> penalty [..., N]
    cost: Callable[[Params, Array, Array, Array], Array]
    in_values: bool  # whether the successors' values pay it, too
    # parameters, batch, policy [B, T, N, A], values of the data's actions [B, T, N] -> loss [] of its own parameters,
    # metrics {name: []}; no gradient comes through policy and values
    loss: Callable[[Params, Batch, Array, Array], tuple[Array, dict[str, Array]]]
    settle: Callable[[Params], Params]  # after a step, such as to keep a weight within its bounds
    metric_names: tuple[str, ...]
    hide: Hide | None = None  # hides things from the agents in the sequences that are learned from


def make(config: Config, model: Model, plan: RunPlan) -> Learner:
    """Return the learner; its learning rate's schedule spans the plan's updates."""
    return assemble(config, None, model, plan)


def assemble(config: Config, regulariser: Regulariser | None, model: Model, plan: RunPlan) -> Learner:
    """Return the learner whose policy pays a regulariser's penalty."""
    spec, expectations = plan.spec, expected(config, model, plan)
    adam, schedule = make_optimiser(
        peak=config.learning_rate, warmup_updates=0, total_updates=plan.total_updates,
        final_fraction=config.final_rate_fraction, weight_decay=0.0, max_grad_norm=config.max_grad_norm,
    )  # fmt: skip
    # Clipped separately, because a large gradient of the critics must not shorten the policy's step.
    parts = PARTS + (regulariser.names if regulariser else ())
    optimiser = optax.partition(dict.fromkeys(parts, adam), lambda params: {name: name for name in params})

    def init(key: Key) -> LearnerState:
        params = model.init(key) | {"log_temperature": jnp.log(jnp.float32(config.initial_temperature))}
        if regulariser:
            params = regulariser.init(jax.random.fold_in(key, 1), params)
        target, step = jax.tree.map(jnp.copy, params["critics"]), jnp.zeros((), jnp.int32)
        return LearnerState(params=params, target=target, opt=optimiser.init(params), step=step)

    def rates(step: Array) -> dict[str, Array]:
        return {"train/learning_rate": schedule(step)}

    def slope(state: LearnerState, batch: Batch, key: Key) -> Slope:
        if regulariser and regulariser.hide:
            batch = batch.replace(traj=regulariser.hide(batch.traj, jax.random.fold_in(key, HIDING)))
        traj = batch.traj
        reward = config.reward_scale * team_reward(traj.reward, spec.shared_reward)
        after = soft_values(expectations, state.params, state.target, traj, key, regulariser)
        ended = traj.terminated[..., None]
        target = reward[..., None] + plan.discount * jnp.where(ended, 0.0, after)

        def objective(params: Params):
            draws, fixed = jax.random.fold_in(key, DRAWING), jax.lax.stop_gradient(target)
            return loss(config, expectations, params, batch, fixed, draws, regulariser)

        gradients, (metrics, priorities) = jax.grad(objective, has_aux=True)(state.params)
        return Slope(gradients, state.stats, metrics, priorities)

    def step(state: LearnerState, gradients: Params) -> tuple[LearnerState, dict[str, Array]]:
        params, opt, grad_norm = descend(optimiser, state.params, state.opt, gradients)
        params = regulariser.settle(params) if regulariser else params
        moved = optax.incremental_update(params["critics"], state.target, config.target_rate)
        metrics = {"train/grad_norm": grad_norm, **rates(state.step)}
        return state.replace(params=params, target=moved, opt=opt, step=state.step + 1), metrics

    halves = Halves(slope, step)
    return Learner(
        init=init,
        update=in_one(halves),
        sequence_length=config.sequence,
        metric_names=tuple(f"train/{name}" for name in METRICS) + (regulariser.metric_names if regulariser else ()),
        rates=rates,
        acting=lambda state: model.acting(state.params),
        halves=halves,
    )


DRAWING, HIDING = 1, 2  # their indices in an update's key
PARTS = ("actor", "critics", "log_temperature")


def expected(config: Config, model: Model, plan: RunPlan) -> Expectations:
    """Return how expectations over an agent's own actions are taken in a task."""
    face = model.soft_actor_critic
    if plan.spec.actions.continuous:
        return soft_expectations.drawn(face, config.entropy_per_number)
    return soft_expectations.exact(face, config.exploration)


def soft_values(
    expectations: Expectations, params: Params, target: Params, traj: Transition, key: Key,
    regulariser: Regulariser | None = None,
) -> Array:  # fmt: skip
    """Return each agent's value of the rows' true successors [B, T, N], with entropy; zero for the dead.

    The mean of the lesser target critic's value, and temperature times entropy: Haarnoja et al. 2018, equation 3;
    Christodoulou 2019, equations 12 and 13.
    """
    promise = expectations.after(params, target, traj, key)
    worth = promise.gain + jnp.exp(params["log_temperature"]) * promise.entropy
    if regulariser and regulariser.in_values:
        worth -= regulariser.cost(params, promise.policy, traj.next_obs, traj.next_legal)
    return jnp.where(traj.next_alive, worth, 0.0)


def loss(
    config: Config,
    expectations: Expectations,
    params: Params,
    batch: Batch,
    target: Array,
    key: Key,
    regulariser: Regulariser | None = None,
) -> tuple[Array, tuple[dict[str, Array], Array]]:
    """Return the scalar loss and (metrics, priorities [B]) of rows [B, T, ...] with targets [B, T, N].

    Its three parts train critics, policy and temperature, each alone. Rows of the dead count in none, rows without a
    choice neither for the policy nor for the temperature.
    """
    traj = batch.traj
    played, promise = expectations.now(params, traj, key)
    error = played - target[None]
    weight = jnp.broadcast_to(batch.weight[:, None, None], traj.alive.shape)
    of_critics = masked_mean(weight * 0.5 * jnp.sum(error**2, axis=0), traj.alive)

    choosing, wanted = traj.alive & expectations.choosing(traj.legal), expectations.wanted(traj.legal)
    temperature = jnp.exp(params["log_temperature"])
    lost = -promise.gain - jax.lax.stop_gradient(temperature) * promise.entropy
    if regulariser:
        lost += regulariser.cost(jax.lax.stop_gradient(params), promise.policy, traj.obs, traj.legal)
    of_policy = masked_mean(weight * lost, choosing)
    short = jax.lax.stop_gradient(promise.entropy - wanted)
    of_temperature = temperature * masked_mean(weight * short, choosing) if config.tune_temperature else 0.0

    size = jnp.where(traj.alive, jnp.abs(jax.lax.stop_gradient(error[0])), 0.0)
    total = of_critics + of_policy + of_temperature
    metrics = {
        "train/loss": total,
        "train/critic_loss": of_critics,
        "train/policy_loss": of_policy,
        "train/entropy": masked_mean(promise.entropy, choosing),
        "train/target_entropy": masked_mean(wanted, choosing),
        "train/temperature": temperature,
        "train/q_data": masked_mean(played[0], traj.alive),
    }
    if regulariser:
        more, own = regulariser.loss(params, batch, *jax.lax.stop_gradient((promise.policy, played[0])))
        metrics |= own | {"train/loss": total + more}
        total += more
    return total, (metrics, jnp.max(size, axis=(1, 2)))
