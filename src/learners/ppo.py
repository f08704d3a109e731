"""Multi-agent PPO: independent (ippo), with a centralised critic (mappo), with separate
parameters for each agent (mappo_ns).

Schulman et al. 2017, "Proximal policy optimization"; Yu et al. 2022, "The surprising effectiveness of PPO in
cooperative multi-agent games". The three differ in the network's settings alone.
"""

import dataclasses

import jax.numpy as jnp
import optax

from tandem.core import ActorCritic, Array, Batch, Key, Learner, LearnerState, Model, Params, RunPlan, setting
from tandem.learners.on_policy import Chunks, RolloutConfig, check, chunk_problems, init_state, judge, value_returns
from tandem.learners.rollout_updates import make_adam, policy_loss, run_epochs, value_loss
from tandem.learners.sgd import sgd_step
from tandem.ops.clocks import update_problems


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RolloutConfig):
    epochs: int = setting(4, "passes over each rollout", low=1)
    num_minibatches: int = setting(4, "optimiser steps per pass; must divide the number of chunks in a rollout", low=1)
    learning_rate: float = setting(5.0e-4, "the policy's initial learning rate", low=0.0)
    critic_learning_rate: float = setting(5.0e-4, "the critic's initial learning rate", low=0.0)
    value_weight: float = setting(
        1.0, "weight of the value loss; it only matters if policy and critic share a network", low=0.0
    )
    gae_lambda: float = setting(0.95, "lambda of advantages and value targets", low=0.0, high=1.0)


METRICS = (
    "loss", "policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction", "value_mean", "explained_variance",
    "reward_scale", "grad_norm", "learning_rate",
)  # fmt: skip


def problems(config: Config, plan: RunPlan) -> list[str]:
    """Return a sentence for each size that does not divide this run's rollouts, or that makes
    its steps overflow.
    """
    steps = update_problems(plan.total_steps, plan.total_updates, config.epochs * config.num_minibatches)
    return steps + chunk_problems(config.chunk_length, plan, {"num_minibatches": config.num_minibatches})


def make(config: Config, model: Model, plan: RunPlan) -> Learner:
    """Return the learner, which updates once for each of the plan's rollouts.

    Raises:
      ValueError: a memory would be trained on single steps, or a team's one value on different rewards.
    """
    begin, acting, model = model.init, model.acting, model.actor_critic
    spec, discount, total_updates = plan.spec, plan.discount, plan.total_updates
    check(config, model, spec)
    steps = config.epochs * config.num_minibatches
    actor_adam, schedule = make_adam(config, model, config.learning_rate, total_updates * steps)
    critic_adam, _ = make_adam(config, model, config.critic_learning_rate, total_updates * steps)
    optimiser = optax.partition(
        {"actor": actor_adam, "critic": critic_adam}, lambda params: {name: name for name in params}
    )

    def init(key: Key) -> LearnerState:
        return init_state(config, begin(key), plan, optimiser.init)

    def step(carry, batch: Chunks):
        params, opt, grad_norm, metrics = sgd_step(lambda params: loss(config, model, params, batch), optimiser, *carry)
        return (params, opt), metrics | {"train/grad_norm": grad_norm}

    def rates(step: Array) -> dict[str, Array]:
        return {"train/learning_rate": schedule(step)}

    def update(state: LearnerState, batch: Batch, key: Key):
        lambdas = (config.gae_lambda, config.gae_lambda)
        state, chunks, judged = judge(config, model, spec, discount, lambdas, state, batch.traj)
        carry, metrics = run_epochs(step, (state.params, state.opt), chunks, key, config.epochs, config.num_minibatches)
        metrics |= judged | rates(state.step)
        state = state.replace(params=carry[0], opt=carry[1], step=state.step + steps)
        return state, metrics, jnp.ones_like(batch.weight)

    names = tuple(f"train/{name}" for name in METRICS)
    return Learner(
        init=init,
        update=update,
        sequence_length=0,
        metric_names=names,
        rates=rates,
        acting=lambda state: acting(state.params),
        returns=value_returns,
    )


def loss(config: Config, model: ActorCritic, params: Params, batch: Chunks) -> tuple[Array, dict[str, Array]]:
    """Return the scalar loss and metrics of one minibatch."""
    _, outputs, _ = model.policy(params, batch.memory, batch.obs, batch.first)
    _, value = model.value(params, batch.memory, batch.obs, batch.state, batch.first)
    of_policy, metrics = policy_loss(config, model.distribution, outputs, batch)
    of_value = value_loss(config, value, batch)
    total = of_policy + config.value_weight * of_value
    return total, metrics | {"train/loss": total, "train/value_loss": of_value}
