"""What dynamics and tokenizer are fitted to: the true outcome of every stored row, also at an episode's end."""

import jax
import jax.numpy as jnp
import optax

from tandem.core import Array, EnvSpec, Key, Params, Transition
from tandem.models.imagination import tokenizer as tokenizers
from tandem.models.imagination.config import DreamConfig
from tandem.models.imagination.parts import Dynamics, Outcome, Steps
from tandem.models.imagination.tokenizer import Tokenizer
from tandem.ops import symlog
from tandem.ops.losses import cross_entropy, masked_mean
from tandem.ops.team import team_reward

LOSSES = ("tokenizer", "obs", "reward", "end", "legal", "alive")
LATENT_LOSSES = (*LOSSES, "latent")  # of dynamics that draw latents
METRICS = ("model/token_accuracy", "tokenizer/reconstruction", "tokenizer/used_codes")


def sequence_losses(
    config: DreamConfig,
    spec: EnvSpec,
    tokens: Tokenizer,
    dynamics: Dynamics,
    params: Params,
    traj: Transition,
    key: Key,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the losses of LOSSES or LATENT_LOSSES and the metrics of METRICS on stored sequences [B, T, ...].

    The living count, and what a row's own outcome says: `next_obs`, `next_legal`, `reward` and `terminated`. An episode
    that was cut off has not ended.
    """
    coder = params["tokenizer"]
    codes, next_codes = (jax.lax.stop_gradient(tokens.encode(coder, x)) for x in (traj.obs, traj.next_obs))
    now, after = (jax.lax.stop_gradient(tokens.features(coder, x)) for x in (codes, next_codes))
    steps = Steps(codes=codes, features=now, action=traj.action)
    said = dynamics.predict(params["world"], steps, traj.first, after, next_codes, key)
    outcome = dynamics.outcome(params["world"], said.hidden, now, after)
    flat, weight = traj.obs.reshape(-1, traj.obs.shape[-1]), traj.alive.reshape(-1).astype(jnp.float32)
    counted = said.counted & traj.alive[..., None]
    obs_loss = masked_mean(-said.log_prob, counted)
    accuracy = masked_mean(said.right.astype(jnp.float32), counted)
    losses = {"tokenizer": tokens.loss(coder, flat, weight), "obs": obs_loss}
    losses |= outcome_losses(config, spec, outcome, traj)
    if said.latent is not None:
        losses["latent"] = masked_mean(said.latent, traj.alive)
    return losses, {"model/token_accuracy": accuracy} | tokenizers.metrics(tokens, coder, flat, weight)


def outcome_losses(config: DreamConfig, spec: EnvSpec, outcome: Outcome, traj: Transition) -> dict[str, Array]:
    """Return the losses of reward, end, legal actions and of who is alive next.

    What may be played after an end is not known.
    """
    bins = symlog.symexp_bins(config.reward_limit, config.reward_bins)
    target = symlog.two_hot(team_reward(traj.reward, spec.shared_reward), bins)
    legal = optax.sigmoid_binary_cross_entropy(outcome.legal, traj.next_legal.astype(jnp.float32))
    goes_on = traj.alive & ~traj.terminated[..., None]
    alive = optax.sigmoid_binary_cross_entropy(outcome.alive, traj.next_alive.astype(jnp.float32))
    end = optax.sigmoid_binary_cross_entropy(outcome.end, traj.terminated.astype(jnp.float32))
    return {
        "reward": jnp.mean(cross_entropy(outcome.reward, target)),
        "end": jnp.mean(end),
        "legal": masked_mean(jnp.mean(legal, axis=-1), goes_on),
        "alive": masked_mean(alive, traj.alive),
    }
