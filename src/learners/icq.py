"""Implicit constraint Q-learning with mixed critics: the policy imitates the data's actions, weighted by their values.

Yang et al. 2021, "Believe what you see: implicit constraint approach for offline multi-agent reinforcement learning",
section 4. Values are backed up under the data's policy, reweighted by exp(Q / alpha), so no unseen action is ever
valued. Each agent's policy maximises

    w log pi(a)        w = exp(k Q(a) / alpha) / sum_b beta(b) exp(k Q(b) / alpha)

of the data's actions, where k is the slope of the team's value in the agent's. The authors take a softmax over the
batch for the weights, which compares the values of unrelated states, so a good action in a bad state
gets no weight. These weights have mean one in every state. They need the data's policy, fitted to the same batches.
"""

import dataclasses

import jax
import jax.numpy as jnp

from tandem.core import Array, Key, Learner, Model, Params, RunPlan, Transition, setting
from tandem.learners import cloning, q, q_offline, value_targets
from tandem.learners.entity_dropout import entity_dropout_setting, make_hide
from tandem.learners.offline_metrics import METRICS as MEASURED, measured, named
from tandem.learners.q import Beside, Learned, Method, Opinion
from tandem.learners.value_targets import cut
from tandem.ops import backups
from tandem.ops.backups import chosen
from tandem.ops.distributions import CATEGORICAL
from tandem.ops.masking import TINY

POLICY = "policy"  # its parameters, of the kind that the network's "agents" are


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(q.Config):
    initial_memory: str = q_offline.initial_memory_setting()
    td_lambda: float = q_offline.td_lambda_setting()
    policy_temperature: float = setting(
        1.0, "temperature of the weights of the data's actions, in units of the scaled values", low=1e-6
    )
    critic_temperature: float = setting(
        10.0, "temperature of the policy whose values are backed up, in the same units", low=1e-6
    )
    largest_weight: float = setting(20.0, "upper limit of an action's weight", low=1.0)
    support_threshold: float = setting(
        0.3,
        "for metrics: least probability of an action of the data, as a share of the likeliest action's",
        low=0.0,
        high=0.999,
    )
    entity_dropout: float = entity_dropout_setting()


METRICS = (*q.METRICS, "behaviour_loss", "policy_loss", *MEASURED)
problems = q.problems


def make(config: Config, model: Model, plan: RunPlan) -> Learner:
    """Return the learner; the policy plays, as a network whose largest value is that of the likeliest action.

    Raises:
      ValueError: things are to be hidden, and the network sees none; or as `q.make`.
    """
    hide = make_hide(config.entity_dropout, model)
    method = Method(backups.reweighted(config.critic_temperature), beside(config, model, plan), hide)

    def policy(params: Params, rows: Transition, behaviour: Array) -> Array:
        del behaviour
        face = model.q_values
        return value_targets.read(face, {"agents": params[POLICY]}, face.memory(len(rows.first)), rows).values

    return q.assemble(config, method, model, plan)._replace(held_out=q_offline.held_out(model, policy))


def beside(config: Config, model: Model, plan: RunPlan) -> Beside:
    """Return what is learned beside the values, which is the behaviour and the policy."""
    face = model.q_values

    def init(key: Key, params: Params) -> Params:
        return params | {POLICY: model.init(key)["agents"]}

    def opinion(params: Params, traj: Transition) -> Opinion:
        logits = cloning.behaviour_logits(model.behaviour, params, traj, config.burn_in)
        return Opinion(*cloning.probabilities(logits, cut(traj, config.burn_in)), logits[0])

    def loss(params: Params, traj: Transition, learned: Learned, key: Key) -> tuple[Array, dict[str, Array]]:
        del key
        rows, nothing = learned.rows, face.memory(traj.first.shape[0])
        of_behaviour = cloning.behaviour_loss(learned.opinion.said, rows, learned.weight)
        policy = value_targets.read(face, {"agents": params[POLICY]}, nothing, traj).values[:, config.burn_in :]
        log_prob = CATEGORICAL.log_prob(policy, rows.legal, rows.action)
        worth = jax.lax.stop_gradient(weights(config, learned))
        of_policy = cloning.likelihood_loss(log_prob, rows, learned.weight[:, None, None] * worth)
        metrics = {"train/behaviour_loss": of_behaviour, "train/policy_loss": of_policy}
        metrics |= measured(jax.lax.stop_gradient(policy), learned, plan.discount, config.support_threshold)
        return of_behaviour + of_policy, metrics

    return Beside(
        names=(cloning.BEHAVIOUR, POLICY),
        opinion=opinion,
        loss=loss,
        metric_names=named(METRICS[len(q.METRICS) :]),
        init=init,
        acting=lambda params: params | {"agents": params[POLICY]},
    )


def weights(config: Config, learned: Learned) -> Array:
    """Return the weights [B, T, N] of the data's actions in the policy's loss; their mean under the behaviour is 1."""
    rows, behaviour = learned.rows, learned.opinion.now
    values = jnp.where(rows.legal, learned.values, 0.0)
    slope = jax.grad(lambda each: jnp.sum(learned.team(each)))(chosen(values, rows.action))
    scaled = slope[..., None] * values / config.policy_temperature
    often = jnp.where(behaviour > 0, jnp.log(jnp.maximum(behaviour, TINY)), -jnp.inf)
    log_weight = chosen(scaled, rows.action) - jax.nn.logsumexp(scaled + often, axis=-1)
    return jnp.minimum(jnp.exp(log_weight), config.largest_weight)
