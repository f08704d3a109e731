"""What learners from whole rollouts share: their settings, advantages and value targets, and the scales of these.

A rollout [E, T] is evaluated once, by the parameters that made it, then cut into chunks of consecutive steps. A chunk
starts from the memory at its first step. `rollout_updates.py` learns from the chunks.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp

from tandem.core import (
    ActorCritic, Array, EnvSpec, LearnerState, Params, PyTree, RunPlan, Transition, pytree, setting,
)  # fmt: skip
from tandem.ops.losses import masked_mean
from tandem.ops.normalise import add_moments, divisor, mean_and_std, no_moments, standardise
from tandem.ops.returns import generalised_advantages, running_returns
from tandem.ops.team import team_reward


@dataclasses.dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """The settings that all learners from rollouts have."""

    reward: str = setting("team", "which reward an agent maximises: the team's, or its own", choices=("team", "own"))
    clip: float = setting(0.2, "how far PPO lets the ratio of an action's probabilities move from 1", low=0.0)
    entropy_weight: float = setting(0.01, "weight of the entropy bonus", low=0.0)
    value_loss: str = setting("huber", "loss of the value error", choices=("squared", "huber"))
    huber_delta: float = setting(
        10.0, "value_loss=huber: error at which the loss becomes linear, in units of the value", low=1e-6
    )
    value_clip: float = setting(
        0.0, "how far a value may move in one update, in units of the value; 0 = no limit", low=0.0
    )
    value_normalisation: str = setting(
        "none", "normalisation of values: none, by running mean and deviation (running), or the same with "
        "PopArt (popart)",
        choices=("none", "running", "popart"),
    )  # fmt: skip
    reward_normalisation: bool = setting(
        False, "whether rewards are divided by the running deviation of discounted returns"
    )
    normalisation_decay: float = setting(
        0.99, "decay of the running means and deviations per rollout", low=0.0, high=0.999999
    )
    advantage_normalisation: bool = setting(
        True, "whether advantages of living agents are normalised to mean 0 and deviation 1 in each rollout"
    )
    mask_dead_values: bool = setting(
        False,
        "whether the value loss excludes dead agents; an agent's last step bootstraps from its value after death",
    )
    chunk_length: int = setting(
        0, "steps of a training sequence; must divide runner_args.rollout_length; 0 = the whole rollout", low=0
    )
    max_grad_norm: float = setting(
        0.5,
        "gradients of each network are clipped to this norm; for each agent if parameters are not shared",
        low=1e-6,
    )
    adam_epsilon: float = setting(1.0e-5, "epsilon of Adam", low=0.0)
    final_rate_fraction: float = setting(
        0.0, "learning rates at t_max as a share of the initial ones (linear schedule)", low=0.0, high=1.0
    )


@pytree
class Chunks:
    """M chunks of a rollout with L steps each, and the targets of their losses. Values are in the critic's units."""

    obs: Array  # [M, L, N, O]
    state: Array  # [M, L, S]
    legal: Array  # [M, L, N, A] bool
    alive: Array  # [M, L, N] bool
    first: Array  # [M, L] bool
    action: Array  # [M, L, N] int32, or [M, L, N, A] float32
    log_prob: Array  # [M, L, N] log-probability of the action when it was chosen
    memory: PyTree  # [M, ...] before the first step
    advantage: Array  # [M, L, N]
    value: Array  # [M, L, N] before the update
    value_target: Array  # [M, L, N]
    valued: Array  # [M, L, N] bool: agents whose values are fitted


def check(config: RolloutConfig, model: ActorCritic, spec: EnvSpec) -> None:
    """Raise if a memory would be trained on single steps, or a team's one value on different rewards.

    Raises:
      ValueError: the message says what to set instead.
    """
    if config.chunk_length == 1 and jax.tree.leaves(jax.eval_shape(lambda: model.memory(1))):
        raise ValueError(
            "learner_args.chunk_length=1: single steps cannot train a memory; choose 16, or 0 for whole rollouts"
        )
    if config.reward == "own" and not spec.shared_reward and not model.values_by_agent and spec.num_agents > 1:
        raise ValueError(
            "learner_args.reward=own: rewards differ between agents here, but the critic has one value for the whole "
            "team; set network_args.value_per_agent=True or network_args.critic_input=obs"
        )


def chunk_problems(chunk_length: int, plan: RunPlan, minibatches: Mapping[str, int]) -> list[str]:
    """Return a sentence for each size that does not divide a rollout into chunks and minibatches.

    Args:
      chunk_length: the setting; 0 is a whole rollout.
      minibatches: by the names of their settings.
    """
    length = chunk_length or plan.rollout_length
    if plan.rollout_length % length:
        return [f"learner_args.chunk_length={length}: does not divide runner_args.rollout_length={plan.rollout_length}"]
    chunks = plan.num_envs * plan.rollout_length // length
    return [
        f"learner_args.{name}={count}: does not divide the {chunks} chunks of a rollout, "
        f"runner_args.num_envs={plan.num_envs} times {plan.rollout_length // length}"
        for name, count in minibatches.items() if chunks % count
    ]  # fmt: skip


def init_state(
    config: RolloutConfig, params: Params, plan: RunPlan, make_opt: Callable[[Params], PyTree]
) -> LearnerState:
    """Return a fresh learner's state; `make_opt` makes its optimisers' from the parameters."""
    stats = {"reward": no_moments(), "value": no_moments()}
    if config.reward_normalisation:
        stats["returns"] = jnp.zeros(
            (plan.num_envs, plan.spec.num_agents)
        )  # discounted sums of the episodes that continue in the next rollout
    return LearnerState(params=params, target=(), opt=make_opt(params), step=jnp.zeros((), jnp.int32), stats=stats)


def judge(
    config: RolloutConfig, model: ActorCritic, spec: EnvSpec, discount: float, lambdas: tuple[float, float],
    state: LearnerState, traj: Transition, real: Array | None = None,
) -> tuple[LearnerState, Chunks, dict[str, Array]]:  # fmt: skip
    """Return the learner's state with updated statistics, the chunks of the rollout, and metrics.

    Args:
      lambdas: of the advantages, and of the value targets.
      traj: [E, T, ...].
      real: [E, T] bool, rows that count for the critic; None = all. A row without a living agent never counts for the
        policy.
    """
    reward, stats = _rewards(config, spec, discount, state.stats, traj)
    old_units = mean_and_std(stats["value"])
    raw, raw_next = critic_values(model, state.params, traj)
    value, next_value = (x * old_units[1] + old_units[0] for x in (raw, raw_next))
    advantage, target_advantage = (advantages(reward, value, next_value, traj, discount, each) for each in lambdas)
    target = value + target_advantage

    params, mask = state.params, value_mask(config, traj.alive)
    if real is not None:
        mask = mask & real[..., None]
    if config.value_normalisation != "none":
        stats = stats | {"value": add_moments(stats["value"], target, mask, config.normalisation_decay)}
    units = mean_and_std(stats["value"])
    if config.value_normalisation == "popart":
        params, raw = model.rescale_values(params, old_units, units), (value - units[0]) / units[1]
    if config.advantage_normalisation:
        advantage = standardise(advantage, traj.alive)
    metrics = {
        "train/value_mean": masked_mean(value, mask),
        "train/explained_variance": 1.0 - _variance(target - value, mask) / jnp.maximum(_variance(target, mask), 1e-8),
        "train/reward_scale": 1.0 / divisor(stats["reward"]),
    }
    target = (target - units[0]) / units[1]
    chunks = cut(config.chunk_length, traj, advantage=advantage, value=raw, value_target=target, valued=mask)
    return state.replace(params=params, stats=stats), chunks, metrics


def critic_values(model: ActorCritic, params: Params, traj: Transition) -> tuple[Array, Array]:
    """Return the critic's values [E, T, N] of each row's observation and of its true
    successor, with the memory at each.
    """
    num_envs, length = traj.first.shape
    stored = traj.extras.memory
    last, values = model.value(params, jax.tree.map(lambda x: x[:, 0], stored), traj.obs, traj.state, traj.first)
    # The memory after a step is that of the next row, before any reset.
    after = jax.tree.map(lambda x, end: jnp.concatenate([x[:, 1:], end[:, None]], axis=1), stored, last)
    after, next_obs, next_state = jax.tree.map(
        lambda x: x.reshape(num_envs * length, *x.shape[2:]), (after, traj.next_obs, traj.next_state)
    )
    never = jnp.zeros((num_envs * length, 1), bool)
    _, next_values = model.value(params, after, next_obs[:, None], next_state[:, None], never)
    return values, next_values.reshape(values.shape)


def advantages(
    reward: Array, value: Array, next_value: Array, traj: Transition, discount: float, gae_lambda: float
) -> Array:
    """Return generalised advantages [E, T, N] of rewards and values [E, T, N]."""

    def one_stream(reward, value, next_value, terminated, truncated):
        return generalised_advantages(reward, value, next_value, terminated, truncated, discount, gae_lambda)

    return jax.vmap(_over_agents(one_stream, 3))(reward, value, next_value, traj.terminated, traj.truncated)


def cut(chunk_length: int, traj: Transition, **targets: Array) -> Chunks:
    """Return the chunks of a rollout [E, T, ...] with the quantities computed for it."""
    length = chunk_length or traj.first.shape[1]

    def chunk(x: Array) -> Array:
        return x.reshape(-1, length, *x.shape[2:])

    kept = {name: getattr(traj, name) for name in ("obs", "state", "legal", "alive", "first", "action")}
    memory = jax.tree.map(lambda x: chunk(x)[:, 0], traj.extras.memory)
    return Chunks(memory=memory, **jax.tree.map(chunk, kept | {"log_prob": traj.extras.log_prob} | targets))


def value_mask(config: RolloutConfig, alive: Array) -> Array:
    """Return which agents' values are fitted, [...] bool."""
    return alive if config.mask_dead_values else jnp.ones_like(alive)


def value_returns(stats: dict, values: Array) -> Array:
    """Return the critic's values [...] in units of the environment's returns, by the learner's statistics."""
    mean, std = mean_and_std(stats["value"])
    return (values * std + mean) * divisor(stats["reward"])


def _rewards(
    config: RolloutConfig, spec: EnvSpec, discount: float, stats: dict, traj: Transition
) -> tuple[Array, dict]:
    """Return each agent's reward [E, T, N], and the statistics updated with this rollout's rewards."""
    reward = traj.reward
    if config.reward == "team":
        reward = jnp.broadcast_to(team_reward(reward, spec.shared_reward)[..., None], reward.shape)
    if not config.reward_normalisation:
        return reward, stats
    over_agents = jax.vmap(partial(running_returns, discount=discount), in_axes=(0, 1, None), out_axes=(0, 1))
    last, totals = jax.vmap(over_agents)(stats["returns"], reward, traj.first)
    moments = add_moments(stats["reward"], totals, jnp.ones_like(totals), config.normalisation_decay)
    stats = stats | {"reward": moments, "returns": last}
    return reward / divisor(moments), stats


def _over_agents(function: Callable, num_by_agent: int) -> Callable:
    """Return a function of streams [T] for arguments of which the first `num_by_agent` are [T, N]."""

    def over_agents(*streams: Array) -> Array:
        axes = tuple(1 if i < num_by_agent else None for i in range(len(streams)))
        return jax.vmap(function, in_axes=axes, out_axes=1)(*streams)

    return over_agents


def _variance(x: Array, mask: Array) -> Array:
    return masked_mean((x - masked_mean(x, mask)) ** 2, mask)
