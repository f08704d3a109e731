"""Behaviour cloning with coordination information: what teammates do now is predicted, and what all do has a name.

The rung is the network's (`network_args.coordination`), and so each is an ablation of the next. One loss serves all:

    L = E_q[-log beta(a_i | h_i, c_i, z)] + w_z KL(q(z | s, a) || p(z | h_i)) - w_g mean_j log g(a_j | h_i, e_j)

Without skills there is one z, the first term is that of `bc`, and the second is zero. A skill is one for the whole
team, so its cost belongs to all agents together. That is why `skill_weight` is below 1: at 1 every agent would pay for
it alone, and a skill that tells no more than an agent's own action would not be worth it.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from tandem.core import Array, Batch, Coordination, Learner, Model, Params, RunPlan, Transition, setting
from tandem.learners import bc, cloning
from tandem.learners.value_targets import cut
from tandem.ops import skills
from tandem.ops.backups import chosen
from tandem.ops.losses import masked_mean
from tandem.ops.masking import entropy, masked_logits


def neighbours_weight_setting() -> Any:
    return setting(0.5, "of the likelihood of teammates' actions in the loss", low=0.0)


def skill_weight_setting() -> Any:
    return setting(0.1, "of the divergence of the skill that was used from the prior", low=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(bc.Config):
    neighbours_weight: float = neighbours_weight_setting()
    skill_weight: float = skill_weight_setting()


KNOWN = (
    "coordination/neighbours_nll", "coordination/skill_kl", "coordination/skill_information",
    "coordination/skill_entropy",
)  # fmt: skip
METRICS = (*bc.METRICS, *KNOWN)
problems = bc.problems


def make(config: Config, model: Model, plan: RunPlan) -> Learner:
    """Return the learner; its learning rate's schedule spans the plan's updates."""

    def of_batch(params: Params, batch: Batch) -> tuple[Array, dict[str, Array]]:
        return loss(config, model.coordination, params, batch)

    return bc.assemble(config, of_batch, METRICS, model, plan)


def loss(config: Any, face: Coordination, params: Params, batch: Batch) -> tuple[Array, dict[str, Array]]:
    """Return the loss [] of the data's actions, and metrics; a sequence begins without memory.

    Args:
      config: has `burn_in` and the two weights.
    """
    traj = batch.traj
    _, known = face.see(params, face.memory(traj.first.shape[0]), traj.obs, traj.first)
    rows, known = cut((traj, known), config.burn_in)
    free, agents = cloning.choosing(rows), rows.alive.shape[-1]
    before = jnp.tril(jnp.ones((agents, agents), bool), -1) if face.turns else jnp.zeros((agents, agents), bool)
    legal = rows.legal[..., None, :]
    logits = masked_logits(face.logits(params, known, rows.action, before), legal)  # [B, T, N, K, A]
    policy, log_prob = jax.nn.softmax(logits, axis=-1), log_likelihood(logits, rows.action[..., None])
    prior, posterior = face.prior(params, known), face.posterior(params, known, rows.action, rows.alive)
    posterior = jnp.broadcast_to(posterior[..., None, :], prior.shape)
    missed, apart = skills.bound(posterior, prior, log_prob)
    weight = batch.weight[:, None, None]
    of_data = masked_mean(weight * missed, free)
    of_skills = masked_mean(weight * apart, free)
    of_neighbours = neighbours_loss(face, known, rows, batch.weight) if face.predicts else jnp.zeros(())
    total = of_data + config.skill_weight * of_skills + config.neighbours_weight * of_neighbours
    own = jax.nn.softmax(prior, axis=-1)
    played = jnp.take_along_axis(policy, jnp.argmax(prior, axis=-1)[..., None, None], axis=-2)[..., 0, :]
    agreed = (jnp.argmax(played, axis=-1) == rows.action).astype(jnp.float32)
    return total, jax.lax.stop_gradient({
        "train/loss": total,
        "train/entropy": masked_mean(entropy(jnp.sum(own[..., None] * policy, axis=-2)), free),
        "offline/agreement": masked_mean(agreed, free),
        "coordination/neighbours_nll": of_neighbours,
        "coordination/skill_kl": of_skills,
        "coordination/skill_information": masked_mean(skills.information(own, policy), free),
        "coordination/skill_entropy": skills.mean_entropy(jax.nn.softmax(posterior, axis=-1), free.astype(jnp.float32)),
    })  # fmt: skip


def neighbours_loss(face: Coordination, known: dict[str, Array], rows: Transition, weight: Array) -> Array:
    """Return -mean_j log g(a_j) [] over the teammates that an agent sees and that have a choice.

    What is legal for a teammate is not known to an agent, so g is over all actions.
    """
    free = cloning.choosing(rows)
    counts = rows.alive[..., None] & free[..., face.others]  # [B, T, N, N - 1]
    if "shown" in known:
        counts = counts & known["shown"]
    log_prob = log_likelihood(known["guesses"], rows.action[..., face.others])
    return masked_mean(-weight[:, None, None, None] * log_prob, counts)


def log_likelihood(logits: Array, action: Array) -> Array:
    """Return the log-probabilities [..., K] of actions [..., K] or [..., 1] by logits [..., K, A]."""
    return chosen(jax.nn.log_softmax(logits, axis=-1), action)
