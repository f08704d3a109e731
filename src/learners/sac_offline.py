"""Soft actor-critic from recorded data: the policy pays for its divergence from the data's policy.

Behaviour-regularised actor-critic (BRAC; Wu et al. 2019, "Behavior regularized offline reinforcement learning",
equations 5 to 7): a divergence (`ops/divergences.py`) times a weight is taken off the policy's gain, and off the values
as well or not. BEAR (Kumar et al. 2019) bounds the divergence instead: the weight is a dual variable, which rises while
the divergence exceeds its limit. The behaviour is a network like the policy's, fitted to the same batches.
"""

import dataclasses

import jax
import jax.numpy as jnp

from tandem.core import Array, Batch, Key, Learner, LearnerState, Model, Params, RunPlan, Transition, setting
from tandem.learners import cloning, sac
from tandem.learners.entity_dropout import entity_dropout_setting, make_hide
from tandem.learners.offline_metrics import named, of_actions, returns_to_go
from tandem.learners.sac import Regulariser
from tandem.ops.distributions import CATEGORICAL
from tandem.ops.divergences import DIVERGENCES, Options
from tandem.ops.losses import masked_mean
from tandem.ops.masking import masked_softmax
from tandem.ops.team import team_reward

LOWEST, HIGHEST = -5.0, 10.0  # of the logarithm of a dual weight; Kumar et al. 2019


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(sac.Config):
    penalty: str = setting(
        "kl", "penalty of the policy: a divergence from the data's policy, or actions outside the data (support)",
        choices=tuple(DIVERGENCES),
    )  # fmt: skip
    penalty_weight: float = setting(
        1.0, "weight of the penalty, in units of the values; the initial one if penalty_limit is set", low=0.0
    )
    penalty_limit: float = setting(
        0.0, "bound on the mean penalty, to which the weight is tuned; 0 = the weight is constant", low=0.0
    )
    penalised: str = setting("values", "what the penalty reduces: the policy's gain and the values, or only the gain",
                             choices=("values", "policy"))  # fmt: skip
    support_threshold: float = setting(
        0.3, "least probability of the data's actions, as a share of the likeliest's", low=0.0, high=0.999
    )
    kernel_width: float = setting(10.0, "penalty=mmd: width of the Laplacian kernel", low=1e-6)
    entity_dropout: float = entity_dropout_setting()


MEASURED = (
    "behaviour_loss", "offline/penalty", "offline/penalty_weight", "offline/q_bias", "offline/known_share",
    "offline/ood_share", "offline/behaviour_kl", "offline/agreement",
)  # fmt: skip
METRICS = (*sac.METRICS, *MEASURED)
WEIGHT = "log_penalty"
problems = sac.problems


def make(config: Config, model: Model, plan: RunPlan) -> Learner:
    """Return the learner.

    Raises:
      ValueError: the penalty is bounded and its weight begins at zero, where no step changes it; or things are to be
        hidden, and the network sees none.
    """
    if config.penalty_limit > 0 and config.penalty_weight == 0:
        raise ValueError(
            "learner_args.penalty_weight=0: a weight that is tuned to penalty_limit cannot begin at 0; set 1"
        )
    face = model.soft_actor_critic

    def held_out(state: LearnerState, rows: Transition) -> dict[str, Array]:
        logits = face.policy({"actor": state.params[cloning.BEHAVIOUR]}, rows.obs)
        policy = jnp.where(rows.legal, face.policy(state.params, rows.obs), -jnp.inf)
        log_prob = CATEGORICAL.log_prob(logits, rows.legal, rows.action)
        return cloning.held_out(log_prob, jnp.argmax(policy, axis=-1), rows)

    return sac.assemble(config, regulariser(config, model, plan), model, plan)._replace(held_out=held_out)


def regulariser(config: Config, model: Model, plan: RunPlan) -> Regulariser:
    """Return the regulariser that holds the policy near the data's."""
    divergence, bounded = DIVERGENCES[config.penalty], config.penalty_limit > 0
    options = Options(config.support_threshold, config.kernel_width)

    def init(key: Key, params: Params) -> Params:
        own = {cloning.BEHAVIOUR: model.init(key)["actor"]}
        return params | own | ({WEIGHT: jnp.log(jnp.float32(config.penalty_weight))} if bounded else {})

    def logits(params: Params, obs: Array) -> Array:
        return model.soft_actor_critic.policy({"actor": params[cloning.BEHAVIOUR]}, obs)

    def weight(params: Params) -> Array:
        return jnp.exp(params[WEIGHT]) if bounded else jnp.float32(config.penalty_weight)

    def behaviour(params: Params, obs: Array, legal: Array) -> Array:
        return jax.lax.stop_gradient(masked_softmax(logits(params, obs), legal))

    def cost(params: Params, policy: Array, obs: Array, legal: Array) -> Array:
        return jax.lax.stop_gradient(weight(params)) * divergence(policy, behaviour(params, obs, legal), options)

    def loss(params: Params, batch: Batch, policy: Array, played: Array) -> tuple[Array, dict[str, Array]]:
        rows = batch.traj
        of_behaviour = cloning.behaviour_loss(logits(params, rows.obs), rows, batch.weight)
        data = behaviour(params, rows.obs, rows.legal)
        apart = masked_mean(divergence(policy, data, options), cloning.choosing(rows))
        of_weight = params[WEIGHT] * (config.penalty_limit - apart) if bounded else jnp.zeros(())
        reward = config.reward_scale * team_reward(rows.reward, plan.spec.shared_reward)
        paid, known = returns_to_go(rows, reward, plan.discount, played.shape[-1])
        known = known & rows.alive
        metrics = {
            "train/behaviour_loss": of_behaviour,
            "offline/penalty": apart,
            "offline/penalty_weight": jax.lax.stop_gradient(weight(params)),
            "offline/q_bias": masked_mean(played - paid, known) / config.reward_scale,
            "offline/known_share": jnp.sum(known) / jnp.maximum(jnp.sum(rows.alive), 1.0),
        } | of_actions(jnp.argmax(policy, axis=-1), rows, data, config.support_threshold)
        return of_behaviour + of_weight, metrics

    def settle(params: Params) -> Params:
        return params | {WEIGHT: jnp.clip(params[WEIGHT], LOWEST, HIGHEST)} if bounded else params

    return Regulariser(
        names=(cloning.BEHAVIOUR, *([WEIGHT] if bounded else [])),
        init=init,
        cost=cost,
        in_values=config.penalised == "values",
        loss=loss,
        settle=settle,
        metric_names=named(MEASURED),
        hide=make_hide(config.entity_dropout, model),
    )
