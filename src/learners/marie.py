"""MARIE: a world model fitted to replayed sequences, and a team that learns by PPO in what it imagines.

Zhang et al. 2024, "Decentralized transformers with centralized aggregation are sample-efficient multi-agent world
models". An update is one step of the world model; every so many updates a round of dreams follows, from which actor and
critic learn as `ppo` does from a rollout. Ends of dreamt episodes are drawn, and nothing after them counts.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import optax

from tandem.core import (
    ActorCritic, Array, Batch, EnvSpec, Key, Learner, LearnerState, Model, Params, Pretraining, PyTree, RunPlan,
    SequenceModel, Transition, setting,
)  # fmt: skip
from tandem.learners import ppo
from tandem.learners.dreams import OPEN_LOOP, dream, night_metrics, open_loop_errors, starts
from tandem.learners.dream_model import Optimisers, fitted, model_steps
from tandem.learners.on_policy import Chunks, check, judge, value_returns
from tandem.learners.pretraining import PretrainConfig, pretrain_problems
from tandem.learners.rollout_updates import make_adam, run_epochs
from tandem.learners.sgd import make_optimiser, sgd_step
from tandem.ops.clocks import update_problems
from tandem.ops.normalise import no_moments


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ppo.Config, PretrainConfig):
    chunk_length: int = setting(1, "steps of a dream that are learned from as one; must divide horizon", low=0)
    value_normalisation: str = setting(
        "running", "scale of the values: as they are, by running mean and spread, or by those with PopArt",
        choices=("none", "running", "popart"),
    )  # fmt: skip
    reward_normalisation: bool = setting(False, "not to be had in dreams, which are no whole episodes")
    context: int = setting(4, "real steps before a dream; the last of them is acted on anew", low=1, high=256)
    horizon: int = setting(8, "steps of a dream", low=1, high=256)
    starts: int = setting(128, "dreams of a round", low=1)
    round_every: int = setting(2, "updates of the world model from one round of dreams to the next", low=1)
    warmup_updates: int = setting(500, "updates of the world model before the first round", low=0)
    sample_ends: bool = setting(True, "draw the ends of dreams; False: they end where an end is likelier than not")
    tokenizer_updates: int = setting(2000, "updates after which the tokenizer stays as it is", low=0)
    tokenizer_learning_rate: float = setting(3.0e-4, "of the tokenizer", low=0.0)
    model_minibatches: int = setting(
        1, "optimiser steps of the world model in an update, each on its share of the batch; must divide it", low=1
    )
    model_learning_rate: float = setting(1.0e-3, "of the world model, at its peak", low=0.0)
    model_rate_fraction: float = setting(0.1, "of the world model's rate that is left at the end", low=0.0, high=1.0)
    model_warmup: int = setting(100, "updates until the world model's rate is at its peak", low=0)
    weight_decay: float = setting(1.0e-4, "adamw, of the world model", low=0.0)
    model_grad_norm: float = setting(10.0, "gradients of the world model are clipped to this norm", low=1e-6)
    obs_weight: float = setting(10.0, "weight of the mean loss of an observation's token", low=0.0)
    reward_weight: float = setting(1.0, "weight of the reward's loss", low=0.0)
    end_weight: float = setting(1.0, "weight of the loss of ends", low=0.0)
    legal_weight: float = setting(1.0, "weight of the loss of legal actions", low=0.0)
    alive_weight: float = setting(1.0, "weight of the loss of who is alive", low=0.0)
    latent_weight: float = setting(
        0.1, "rssm: weight of what an agent's latent says beyond what was expected of it, in nats", low=0.0
    )
    check_every: int = setting(8, "rounds from one measurement of open-loop errors to the next", low=1)


ROUND = (
    *(f"train/{name}" for name in ppo.METRICS if name != "learning_rate"),
    "imagine/return", "imagine/length", "imagine/guard",
)  # fmt: skip
KEPT = 0.9  # of the moving averages of what rewards' errors and variance were, at each measurement
CHECKED = tuple(f"imagine/{name}" for name in OPEN_LOOP)


def problems(config: Config, plan: RunPlan) -> list[str]:
    """Return a sentence for each setting that cannot work in this run."""
    steps = config.epochs * config.num_minibatches
    found = update_problems(plan.total_steps, plan.total_updates, steps) + pretrain_problems(config, plan)
    length = config.chunk_length or config.horizon
    chunks = config.starts * config.horizon // length
    if config.horizon % length:
        found.append(f"learner_args.chunk_length={length}: does not divide learner_args.horizon={config.horizon}")
    elif chunks % config.num_minibatches:
        found.append(
            f"learner_args.num_minibatches={config.num_minibatches}: does not divide the {chunks} chunks of a round, "
            f"learner_args.starts={config.starts} times {config.horizon // length}"
        )
    if after_pretraining(config).warmup_updates >= plan.total_updates:
        found.append(
            f"learner_args.warmup_updates={config.warmup_updates}: the run has {plan.total_updates} updates in all, so "
            "the policy would never learn; raise t_max or runner_args.updates_per_step"
        )
    if config.reward_normalisation:
        found.append("learner_args.reward_normalisation: dreams are no whole episodes; use value_normalisation")
    return found


def after_pretraining(config: Config) -> Config:
    """Return the settings of what follows: updates of the model that were made before acting count."""
    done = config.pretrain_updates if config.pretrain else 0
    left = {name: max(0, getattr(config, name) - done) for name in ("warmup_updates", "tokenizer_updates")}
    return dataclasses.replace(config, **left)


def make(config: Config, model: Model, plan: RunPlan) -> Learner:
    """Return the learner, which updates the world model once for each batch, and now and then the team.

    Raises:
      ValueError: dreams are longer than the network's window, the critic has no network of its own, or a team's one
        value is to be fitted to rewards that differ.
    """
    world, spec = model.sequence_model, plan.spec
    if "critic" not in jax.eval_shape(model.init, jax.random.key(0)):
        raise ValueError("network_args.separate_critic=False: dreams are judged by a critic of its own; set it to True")
    if config.context + config.horizon > world.longest:
        raise ValueError(
            f"learner_args.context={config.context} and horizon={config.horizon} are more steps than the network has "
            f"positions for; set network_args.window={config.context + config.horizon} or more"
        )
    check(config, world.agent, spec)
    before = pretraining(config, world, plan) if config.pretrain else None
    config = after_pretraining(config)
    optimisers, rates = _optimisers(config, world.agent, plan)
    fit = _keep if config.frozen else partial(model_steps, config)

    def init(key: Key) -> LearnerState:
        params = model.init(key)
        opt = {"agent": optimisers.agent.init(_team(params))} | ({} if config.frozen else optimisers.of_model(params))
        last = {name: jnp.zeros(()) for name in (*ROUND, *CHECKED)}
        stats = {"reward": no_moments(), "value": no_moments(), "last": last, "reward_check": (jnp.zeros(()),) * 2}
        return LearnerState(params=params, target=(), opt=opt, step=jnp.zeros((), jnp.int32), stats=stats)

    def update(state: LearnerState, batch: Batch, key: Key):
        model_key, start_key, round_key, check_key = jax.random.split(key, 4)
        state, metrics = fit(world, optimisers, state, batch.traj, model_key)
        due = (state.step >= config.warmup_updates) & (state.step % config.round_every == 0)
        chosen = starts(batch.traj, config.context, config.starts, start_key)
        state = jax.lax.cond(
            due, lambda state: team_round(config, world, spec, plan.discount, optimisers, state, chosen, round_key),
            lambda state: state, state,
        )  # fmt: skip
        state = jax.lax.cond(
            state.step % (config.round_every * config.check_every) == 0,
            lambda state: _checked(config, world, spec, state, batch.traj, check_key), lambda state: state, state,
        )  # fmt: skip
        metrics |= state.stats["last"] | rates(state.step)
        return state.replace(step=state.step + 1), metrics, jnp.ones_like(batch.weight)

    own = (
        *(f"model/{name}_loss" for name in fitted(world)), "model/grad_norm", "tokenizer/loss", *world.metric_names,
        "train/model_learning_rate",
    )  # fmt: skip
    return Learner(
        init=init,
        update=update,
        sequence_length=config.context + config.horizon,
        metric_names=(*(() if config.frozen else own), *ROUND, *CHECKED, "train/learning_rate"),
        rates=rates,
        acting=lambda state: model.acting(state.params),
        returns=value_returns,
        pretraining=before,
    )


def pretraining(config: Config, world: SequenceModel, plan: RunPlan) -> Pretraining:
    """Return the updates of tokenizer and dynamics on recorded rows; actor and critic stay as they are."""
    optimisers, _ = _optimisers(config, world.agent, dataclasses.replace(plan, total_updates=config.pretrain_updates))

    def update(state: LearnerState, batch: Batch, key: Key):
        state, metrics = model_steps(config, world, optimisers, state, batch.traj, key)
        losses = {f"pretrain/{name}_loss": metrics[f"model/{name}_loss"] for name in fitted(world)}
        losses["pretrain/tokenizer_loss"] = metrics["tokenizer/loss"]
        return state.replace(step=state.step + 1), losses

    return Pretraining(
        rows=config.pretrain, updates=config.pretrain_updates, opt=optimisers.of_model, update=update
    )  # fmt: skip


def _keep(world: SequenceModel, optimisers: Optimisers, state: LearnerState, traj: Transition, key: Key):
    """Return the state as it is, and no metrics."""
    del world, optimisers, traj, key
    return state, {}


def _optimisers(config: Config, agent: ActorCritic, plan: RunPlan):
    """Return the optimisers, and their learning rates by the update."""
    steps = config.epochs * config.num_minibatches
    total = max(plan.total_updates - config.warmup_updates, 1) * steps // config.round_every
    actor, schedule = make_adam(config, agent, config.learning_rate, total)
    critic, _ = make_adam(config, agent, config.critic_learning_rate, total)
    world, world_schedule = make_optimiser(
        peak=config.model_learning_rate, warmup_updates=config.model_warmup * config.model_minibatches,
        total_updates=plan.total_updates * config.model_minibatches,
        final_fraction=config.model_rate_fraction, weight_decay=config.weight_decay,
        max_grad_norm=config.model_grad_norm,
    )  # fmt: skip
    tokenizer = optax.chain(
        optax.clip_by_global_norm(config.model_grad_norm), optax.adam(config.tokenizer_learning_rate)
    )
    team = optax.partition({"actor": actor, "critic": critic}, lambda params: {name: name for name in params})

    def rates(step: Array) -> dict[str, Array]:
        learned = jnp.maximum(step - config.warmup_updates, 0) // config.round_every * steps
        own = {"train/learning_rate": schedule(learned)}
        if config.frozen:
            return own
        return own | {"train/model_learning_rate": world_schedule(step * config.model_minibatches)}

    return Optimisers(team, world, tokenizer), rates


def team_round(
    config: Config, world: SequenceModel, spec: EnvSpec, discount: float, optimisers: Optimisers, state: LearnerState,
    chosen: PyTree, key: Key,
) -> LearnerState:  # fmt: skip
    """Return the state after actor and critic have learned from one round of dreams."""
    dream_key, epoch_key = jax.random.split(key)
    night = dream(world, spec, state.params, chosen, config.horizon, dream_key, config.sample_ends)
    lambdas = (config.gae_lambda, config.gae_lambda)
    last = state.stats["last"]
    state, chunks, judged = judge(config, world.agent, spec, discount, lambdas, state, night.rows, night.real)

    def step(carry, minibatch: Chunks):
        team, opt, norm, metrics = sgd_step(
            lambda team: ppo.loss(config, world.agent, team, minibatch), optimisers.agent, *carry
        )
        return (team, opt), metrics | {"train/grad_norm": norm}

    carry = (_team(state.params), state.opt["agent"])
    carry, metrics = run_epochs(step, carry, chunks, epoch_key, config.epochs, config.num_minibatches)
    last = last | metrics | judged | night_metrics(spec, night)
    return state.replace(
        params=state.params | carry[0], opt=state.opt | {"agent": carry[1]}, stats=state.stats | {"last": last}
    )


def _checked(
    config: Config, world: SequenceModel, spec: EnvSpec, state: LearnerState, traj: Transition, key: Key
) -> LearnerState:
    errors, *reward = open_loop_errors(world, spec, state.params, traj, config.context, config.horizon, key)
    # Victories are rare: few batches hold many, so that a batch's own variance says little.
    kept = tuple(KEPT * old + (1.0 - KEPT) * new for old, new in zip(state.stats["reward_check"], reward, strict=True))
    errors["imagine/reward_error"] = kept[0] / jnp.maximum(kept[1], 1e-8)
    return state.replace(stats=state.stats | {"last": state.stats["last"] | errors, "reward_check": kept})


def _team(params: Params) -> Params:
    return {name: params[name] for name in ("actor", "critic")}
