"""Multi-agent MuZero: unroll the model along stored actions and fit policy, value, reward and the real next latents.

MAZero (Liu et al. 2024, section 4 and appendix B) with the masks of EfficientZero (Ye et al. 2021), corrected: value
and reward targets are zero after a true end and dropped after a cut-off, and the bootstrap reads the true last
observation. Policy and value are fitted both with and without the committed actions of a sequential plan as context,
so that one head serves the plies of the search and the decentralised policy.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from tandem.core import (
    Array, Batch, Key, Learner, LearnerState, Model, Params, Pretraining, RunPlan, SearchExtras, Transition, setting,
)  # fmt: skip
from tandem.learners.pretraining import ALL, PretrainConfig, Share, all_but, pretrain_problems, without_search
from tandem.learners.reward_scale import RewardScale, make_reward_scale, reward_scale_setting
from tandem.learners.sgd import make_optimiser, sgd_step, state_with_target
from tandem.ops.clocks import update_problems
from tandem.ops.losses import cosine_loss, cross_entropy, masked_mean, mean_of, scale_gradient
from tandem.ops.masking import entropy, kl_divergence
from tandem.ops.returns import bootstrap_index, n_step_targets, unroll_masks
from tandem.ops.team import team_reward
from tandem.ops.values import state_value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(PretrainConfig):
    unroll: int = setting(2, "U, steps the model is unrolled in training", low=1, high=64)
    n_step: int = setting(5, "number of rewards in a value target before it bootstraps", low=1, high=256)
    reward_scale: float = reward_scale_setting()
    policy_weight: float = setting(1.0, "weight of the policy loss, which is a mean over agents", low=0.0)
    value_weight: float = setting(0.5, "weight of the value loss", low=0.0)
    reward_weight: float = setting(1.0, "weight of the reward loss", low=0.0)
    consistency_weight: float = setting(2.0, "weight of the latent consistency loss", low=0.0)
    policy_loss: str = setting(
        "distillation",
        "distillation: the policy is fitted to the search's policy; advantage_weighted: to the candidates "
        "that the search compared, weighted by their advantages (AWPO; needs "
        "planner_args.keep_candidates)",
        choices=("distillation", "advantage_weighted"),
    )
    awpo_alpha: float = setting(
        1.0,
        "policy_loss=advantage_weighted: temperature of the advantages, which are standardised over the batch",
        low=1e-3,
    )
    awpo_clip: float = setting(3.0, "policy_loss=advantage_weighted: greatest weight of a candidate", low=1e-3)
    context_dropout: float = setting(
        0.5, "share of rows in which committed actions are hidden; 1.0 if the planner commits none", low=0.0, high=1.0
    )
    learning_rate: float = setting(1.5e-3, "highest step size of the schedule", low=0.0)
    final_rate_fraction: float = setting(
        0.1, "step size at t_max as a share of the highest (cosine schedule)", low=0.0, high=1.0
    )
    warmup_updates: int = setting(200, "optimiser steps of linear warm-up", low=0)
    weight_decay: float = setting(1.0e-4, "weight decay of AdamW", low=0.0)
    max_grad_norm: float = setting(5.0, "gradients are clipped to this global norm", low=1e-6)
    target_period_updates: int = setting(200, "optimiser steps between copies to the target network", low=1)


METRICS = (
    "loss",
    "policy_loss",
    "value_loss",
    "reward_loss",
    "consistency_loss",
    "value_clipped",
    "reward_clipped",
    "reward_scale",
    "grad_norm",
    "learning_rate",
)
PRETRAIN_METRICS = ("value_loss", "reward_loss", "consistency_loss")
SEARCH_METRICS = ("policy_entropy", "policy_kl", "target_entropy", "value_error", "value_mean", "target_mean")
TOLERABLE = 0.01  # share of targets that the bins cannot hold


def problems(config: Config, plan: RunPlan) -> list[str]:
    """Return a sentence for each setting that cannot work in this run."""
    found = update_problems(plan.total_steps, plan.total_updates) + pretrain_problems(config, plan)
    if config.unroll > plan.spec.episode_limit:
        found.append(
            f"learner_args.unroll={config.unroll}: longer than an episode of this environment, which ends after "
            f"{plan.spec.episode_limit}"
        )
    if config.policy_loss == "advantage_weighted" and plan.extras.candidates == ():
        found.append(
            "learner_args.policy_loss=advantage_weighted: weighs the joint actions that a search compared; "
            "choose planner=joint "
            "and planner_args.keep_candidates=True"
        )
    return found


def make(config: Config, model: Model, plan: RunPlan) -> Learner:
    """Return the learner; its learning rate's schedule spans the plan's updates.

    Raises:
      ValueError: the model remembers, though single rows are learned from; it cannot be frozen.
    """
    if jax.tree.leaves(jax.eval_shape(lambda: model.latents.memory(1))):
        raise ValueError("it learns from single rows, so it cannot train a network that has a memory over time")
    length = config.unroll + config.n_step
    scaling = make_reward_scale(config.reward_scale, plan.discount, length, plan.spec.episode_limit)
    optimiser, schedule = _optimiser(config, plan.total_updates)
    share = all_but(model.world) if config.frozen else ALL
    # What a frozen model says of rewards is in the units that it was fitted in.
    units = scaling._replace(add=lambda stats, *seen: stats) if config.frozen else scaling
    step = make_update(config, model, plan, units, optimiser, share)

    def init(key: Key) -> LearnerState:
        return state_with_target(model.init(key), optimiser, scaling.init(), share.of)

    def rates(step: Array) -> dict[str, Array]:
        return {"train/learning_rate": schedule(step)}

    def update(state: LearnerState, batch: Batch, key: Key):
        after, metrics, priorities = step(state, batch, key)
        return after, metrics | rates(state.step), priorities

    names = tuple(f"train/{name}" for name in METRICS) + tuple(f"search/{name}" for name in SEARCH_METRICS)
    return Learner(
        init=init,
        update=update,
        sequence_length=length,
        metric_names=names,
        remarks=remarks,
        rates=rates,
        acting=lambda state: model.acting(state.params),
        returns=lambda stats, values: values / scaling.scale(stats),
        pretraining=pretraining(config, model, plan, scaling) if config.pretrain else None,
    )


def _optimiser(config: Config, total_updates: int):
    return make_optimiser(
        peak=config.learning_rate,
        warmup_updates=config.warmup_updates,
        total_updates=total_updates,
        final_fraction=config.final_rate_fraction,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
    )


def make_update(
    config: Config, model: Model, plan: RunPlan, scaling: RewardScale, optimiser: optax.GradientTransformation,
    share: Share,
):  # fmt: skip
    """Return the update of a share of the parameters: state, batch, key -> state, metrics, priorities [B]."""
    spec, discount = plan.spec, plan.discount

    def update(state: LearnerState, batch: Batch, key: Key):
        raw = team_reward(batch.traj.reward, spec.shared_reward)  # [B, T]
        stats = scaling.add(state.stats, raw, batch.traj, batch.weight)
        reward = scaling.scale(stats) * raw
        values = value_targets(config, model, discount, state.target, batch.traj, reward, scaling.since_copy(stats))
        alive, known = jax.vmap(lambda t, c: unroll_masks(t, c, config.unroll))(
            batch.traj.terminated, batch.traj.truncated
        )
        targets = Targets(reward=reward, value=values, alive=alive, known=known)

        def objective(learned: Params):
            return loss(config, model, share.into(state.params, learned), batch, targets, key)

        learned, opt, grad_norm, (metrics, priorities) = sgd_step(
            objective, optimiser, share.of(state.params), state.opt
        )
        params = share.into(state.params, learned)
        step = state.step + 1
        target = optax.periodic_update(params, state.target, step, config.target_period_updates)
        metrics |= {
            "train/grad_norm": grad_norm,
            "train/reward_scale": jnp.asarray(scaling.scale(stats), jnp.float32),
        }
        stats = scaling.copy(stats, step % config.target_period_updates == 0)
        return LearnerState(params=params, target=target, opt=opt, step=step, stats=stats), metrics, priorities

    return update


def pretraining(config: Config, model: Model, plan: RunPlan, scaling: RewardScale) -> Pretraining:
    """Return what is learned from rows of which no search is known: all but the policy.

    The value is that of whoever acted, by n-step returns, which is sound for any policy. No search said in which order
    agents commit themselves, so each row gets an order by lot: what a value with some actions committed stands for does
    not depend on who chose them.
    """
    optimiser, _ = _optimiser(config, config.pretrain_updates)
    share = all_but(model.policy)
    config = dataclasses.replace(config, policy_weight=0.0, policy_loss="distillation")
    step = make_update(config, model, plan, scaling, optimiser, share)

    def update(state: LearnerState, batch: Batch, key: Key):
        order_key, key = jax.random.split(key)
        state, metrics, _ = step(state, batch.replace(traj=without_search(batch.traj, order_key)), key)
        return state, {f"pretrain/{name}": metrics[f"train/{name}"] for name in PRETRAIN_METRICS}

    return Pretraining(
        rows=config.pretrain, updates=config.pretrain_updates, opt=lambda params: optimiser.init(share.of(params)),
        update=update,
    )  # fmt: skip


def remarks(metrics: dict[str, float]) -> dict[str, str]:
    """Return what is wrong with values or rewards if too many of their targets lie beyond the bins: a search sees no
    difference there.
    """
    shares = {kind: metrics.get(f"train/{kind}_clipped", 0.0) for kind in ("value", "reward")}
    return {
        kind: f"{share:.0%} of the {kind} targets lie beyond the support, where all look alike: raise "
        f"network_args.{kind}_limit, or lower learner_args.reward_scale if it is not 0"
        for kind, share in shares.items()
        if share > TOLERABLE
    }


@dataclasses.dataclass(frozen=True)
class Targets:
    """What the unrolled model is fitted to, beside the policies in the batch."""

    reward: Array  # [B, T]
    value: Array  # [B, U + 1]
    alive: Array  # [B, U + 1] 1 until the episode ends
    known: Array  # [B, U + 1] 1 also after a true end, 0 after a cut-off


def value_targets(
    config: Config,
    model: Model,
    discount: float,
    target: Params,
    traj: Transition,
    reward: Array,
    since_copy: Array | float = 1.0,
) -> Array:
    """Return n-step value targets [B, U + 1], bootstrapped from the target network at the true successors.

    Args:
      reward: [B, T] the team's, scaled.
      since_copy: [] their scale over that of the target network's values.
    """
    done = traj.terminated | traj.truncated
    rows = jax.vmap(lambda d: bootstrap_index(d, config.n_step, config.unroll))(done)  # [B, U + 1]
    next_obs = jax.vmap(lambda obs, row: obs[row])(traj.next_obs, rows)  # [B, U + 1, N, O]
    bootstrap = since_copy * state_value(model.team_value, target, represent(model, target, next_obs))

    def one_stream(reward, terminated, truncated, bootstrap):
        return n_step_targets(reward, terminated, truncated, bootstrap, discount, config.n_step, config.unroll)

    return jax.lax.stop_gradient(jax.vmap(one_stream)(reward, traj.terminated, traj.truncated, bootstrap))


def represent(model: Model, params: Params, obs: Array) -> Array:
    """Return the latents [..., N, D] of single observations [..., N, O]."""
    return model.latents.represent(params, (), obs, jnp.ones(obs.shape[:-2], bool))[1]


def unroll(config: Config, model: Model, params: Params, obs: Array, action: Array, key: Key) -> tuple[Array, Array]:
    """Return latents [B, U + 1, N, D] and reward logits [B, U, V] along actions [B, U, N], from obs [B, N, O].

    The gradient into each step's latent is halved (Schrittwieser et al. 2020, appendix G).
    """

    def step(latent: Array, inputs: tuple[Array, Key]):
        after = model.latents.imagine(params, scale_gradient(latent, 0.5), *inputs)
        return after.latent, (after.latent, after.reward)

    first = represent(model, params, obs)
    # Unrolled: the loop of a scan costs a fifth of the gradient on CPU (measured: 14.7 against 12.4 ms).
    _, (latents, rewards) = jax.lax.scan(
        step, first, (action.swapaxes(0, 1), jax.random.split(key, action.shape[1])), unroll=True
    )
    latents = jnp.concatenate([first[None], latents], axis=0).swapaxes(0, 1)
    return latents, rewards.swapaxes(0, 1)


def contexts(rank: Array, key: Key, dropout: float) -> tuple[Array, Array]:
    """Return what the heads may see of ranks [..., N]: visible [..., N, N] for the policy, committed [..., N] for the
    value.

    Agent i sees those who committed before it; the value sees what a randomly drawn agent sees, so that it is fitted to
    every stage of a joint step. With probability `dropout` all context is hidden.
    """
    keep_key, agent_key = jax.random.split(key)
    keep = jax.random.bernoulli(keep_key, 1.0 - dropout, rank.shape[:-1])
    visible = (rank[..., None, :] < rank[..., :, None]) & keep[..., None, None]
    agent = jax.random.randint(agent_key, rank.shape[:-1], 0, rank.shape[-1])
    committed = jnp.take_along_axis(visible, agent[..., None, None], axis=-2)[..., 0, :]
    return visible, committed


def policy_targets(config: Config, extras: SearchExtras, alive: Array) -> Array:
    """Return what the agents' policies are fitted to [B, U + 1, N, A], by a cross-entropy; rows need not sum to one.

    AWPO (Liu et al. 2024, eq. 10) minimises - sum_a w(a) min(exp(A(a) / alpha), clip) log pi(a) over joint actions a,
    with the search's weights w and its advantages A, standardised over the batch as in MAZero's code. For a policy
    that is a product over agents that is each agent's cross-entropy to the weights of the joint actions in which it
    plays so.
    """
    if config.policy_loss == "distillation":
        return extras.policy
    kept = extras.candidates
    counts = (alive[..., None] * (kept.weights > 0)).astype(jnp.float32)
    mean = masked_mean(kept.advantages, counts)
    deviation = jnp.sqrt(masked_mean((kept.advantages - mean) ** 2, counts))
    standard = (kept.advantages - mean) / jnp.maximum(deviation, 1e-5)
    weights = kept.weights * jnp.minimum(jnp.exp(standard / config.awpo_alpha), config.awpo_clip)
    played = jax.nn.one_hot(kept.actions, extras.policy.shape[-1])  # [B, U + 1, K, N, A]
    return jnp.sum(weights[..., None, None] * played, axis=-3)


def loss(config: Config, model: Model, params: Params, batch: Batch, targets: Targets, key: Key):
    """Return the scalar loss and (metrics, priorities [B]).

    Means over agents are over those alive at the step, because the dead choose nothing and their targets are whatever a
    search made of them. An agent that dies at a step still counts in it, so that the model learns its death.
    """
    steps, traj = config.unroll, batch.traj
    value_codec, reward_codec = model.team_value.codec, model.latents.reward
    action = traj.action[:, : steps + 1]
    extras = jax.tree.map(lambda x: x[:, : steps + 1], traj.extras)
    latents, reward_logits = unroll(
        config, model, params, traj.obs[:, 0], traj.action[:, :steps], jax.random.fold_in(key, 1)
    )
    visible, committed = contexts(extras.rank, key, config.context_dropout)
    # A re-planned row's policy belongs to the actions committed then; its return to the actions played.
    policy_logits = model.team_policy.logits(params, latents, extras.committed, visible)  # [B, U + 1, N, A]
    value_logits = model.team_value.logits(params, latents, action, committed)  # [B, U + 1, V]
    real = jax.lax.stop_gradient(
        model.self_supervision.project(params, represent(model, params, traj.next_obs[:, :steps]))
    )

    alive, known = targets.alive, targets.known  # of episodes, of what is known
    living = traj.alive[:, : steps + 1]  # of agents
    value = alive * targets.value
    target = jnp.where(living[..., None], policy_targets(config, extras, alive), 0.0)
    policy_losses = alive * mean_of(cross_entropy(policy_logits, target), living, axis=-1)
    value_target = value_codec.target(value)
    value_losses = known * cross_entropy(value_logits, value_target)
    reward = alive[:, :-1] * targets.reward[:, :steps]
    reward_target = reward_codec.target(reward)
    reward_losses = known[:, :-1] * cross_entropy(reward_logits, reward_target)
    foreseen = model.self_supervision.foresee(params, latents[:, 1:])
    consistency_losses = alive[:, :-1] * mean_of(cosine_loss(foreseen, real), living[:, :-1], axis=-1)

    per_sequence = {
        "policy_loss": jnp.sum(policy_losses, axis=1) / steps,
        "value_loss": jnp.sum(value_losses, axis=1) / steps,
        "reward_loss": jnp.sum(reward_losses, axis=1) / steps,
        "consistency_loss": jnp.sum(consistency_losses, axis=1) / steps,
    }
    weights = {name: getattr(config, name.replace("_loss", "_weight")) for name in per_sequence}
    total = sum(weights[name] * losses for name, losses in per_sequence.items())
    objective = jnp.mean(batch.weight * total)

    predicted = value_codec.mean(value_logits[:, 0])
    priorities = jnp.abs(jax.lax.stop_gradient(predicted) - targets.value[:, 0])
    metrics = {f"train/{name}": jnp.mean(losses) for name, losses in per_sequence.items()}
    metrics |= {
        "train/loss": objective,
        "train/value_clipped": clipped(value, value_target, value_codec.mean),
        "train/reward_clipped": clipped(reward, reward_target, reward_codec.mean),
        "search/value_error": jnp.mean(priorities),
        "search/value_mean": jnp.mean(predicted),
        "search/target_mean": jnp.mean(targets.value[:, 0]),
    }
    metrics |= _disagreement(policy_logits[:, 0], extras.policy[:, 0], living[:, 0])
    return objective, (metrics, priorities)


def _disagreement(logits: Array, found: Array, living: Array) -> dict[str, Array]:
    """Return how certain policies [B, N, A] and what a search found [B, N, A] are, and how far they are apart."""
    policy = jax.nn.softmax(logits, axis=-1)
    return {
        "search/policy_entropy": mean_of(entropy(policy), living),
        "search/target_entropy": mean_of(entropy(found), living),
        "search/policy_kl": mean_of(kl_divergence(found, policy), living),
    }


def clipped(scalars: Array, target: Array, mean) -> Array:
    """Return the share [] of scalars [...] that their distributions [..., V] do not stand for, `mean` being the way
    back.
    """
    return jnp.mean(jnp.abs(mean(jnp.log(target + 1e-30)) - scalars) > 0.01 * (1.0 + jnp.abs(scalars)))
