"""What all dynamics are made of: what they are asked for, how a step is put in, and what follows from a step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array, Discrete, Key, Numbers, Params, PyTree, pytree
from tandem.models.dense import Dense
from tandem.models.imagination import luck
from tandem.models.imagination.aggregate import Perceiver, TeamAttention
from tandem.ops import discretised
from tandem.ops.distributions import draw

BELLS = 2  # components of the distribution of a token that is a bin


class Sizes(NamedTuple):
    """Static sizes of a task and of its tokens."""

    agents: int  # N
    actions: Discrete | Numbers  # of an agent
    slots: int  # K
    codes: int  # V
    features: int  # F
    ordinal: bool
    ties: luck.Ties


@pytree
class Steps:
    """What agents saw, as tokens, and did."""

    codes: Array  # [..., N, K] int32
    features: Array  # [..., N, F] by which a network reads the codes
    action: Array  # [..., N] int32, or [..., N, A] float32


@pytree
class Predicted:
    """What dynamics say of the rows of real sequences."""

    log_prob: Array  # [B, T, N, K] of the next observation's tokens, in nats
    right: Array  # [B, T, N, K] bool: the likeliest token is the true one
    counted: Array  # [B, T, N, K] bool: the sequence holds what such a prediction may depend on
    hidden: Array  # [B, T, N, W] what is known after a step's actions
    latent: Array | None = None  # [B, T, N] how far what is expected is from what is seen, where latents are drawn


class Dynamics(NamedTuple):
    """Pure functions over the parameters of one kind of dynamics."""

    init: Callable[[Key], Params]
    # params, steps [B, T, ...], first [B, T], next features [B, T, N, F], next codes [B, T, N, K], key
    predict: Callable[[Params, Steps, Array, Array, Array, Key], Predicted]
    # params, hidden [..., N, W], features now and next [..., N, F]
    outcome: Callable[[Params, Array, Array, Array], "Outcome"]
    # params, steps [B, C, ...] whose last action is not read, first [B, C], room for so many further steps, key
    begin: Callable[[Params, Steps, Array, int], PyTree]
    # params, carry, steps [B, ...], key -> carry, hidden [B, N, W], next codes [B, N, K]
    draw: Callable[[Params, PyTree, Steps, Key], tuple[PyTree, Array, Array]]
    # params, carry, next features [B, N, F] -> carry, after the next codes are settled
    take_up: Callable[[Params, PyTree, Array, Array], PyTree]


@pytree
class Outcome:
    """Logits of what a step brings besides observations."""

    reward: Array  # [..., V] the team's
    end: Array  # [...]
    legal: Array  # [..., N, A]
    alive: Array  # [..., N]


class StepInput(nn.Module):
    """An agent's step in one vector, and what the team adds to it."""

    config: Any
    sizes: Sizes

    @nn.compact
    def __call__(self, steps: Steps) -> tuple[Array, Array]:
        """Return what agents see and do [..., N, W], and what they take up of one another [..., N, W]."""
        config, width = self.config, self.config.width
        played = self.sizes.actions.encode(steps.action)
        seen = jnp.concatenate([steps.features, played], axis=-1)
        own = Dense(width, name="see")(nn.relu(Dense(config.model_size, name="look")(seen)))
        own = own + Dense(width, use_bias=False, name="play")(played)
        who = self.param("agent", nn.initializers.normal(0.02), (self.sizes.agents, width))
        own = own + jnp.broadcast_to(who, own.shape)
        if config.aggregate == "none":
            return own, jnp.zeros_like(own)
        if config.aggregate == "attention":
            return own, TeamAttention(max(config.heads, 4), width, name="team")(own)
        codes = Dense(width, name="code")(jax.nn.one_hot(steps.codes, self.sizes.codes))
        pieces = jnp.concatenate([codes, Dense(width, name="played")(played)[..., None, :]], axis=-2)
        return own, Perceiver(config.heads, width, name="team")(pieces)


class TokenHead(nn.Module):
    """What is said of all tokens of the next observation, each independent of the others given what is known.

    Tokens that are bins are mixtures of bells, of which the first starts from the present bin: most numbers stay or
    move a little, and need not be remembered to be copied. The other starts from the middle, which stands for zero: a
    thing that is out of sight, say. Other tokens have a logit for every code.
    """

    sizes: Sizes

    @nn.compact
    def __call__(self, hidden: Array, codes: Array) -> PyTree:
        """Map hidden [..., W] and the present codes [..., K] to what is said of the next ones."""
        slots, number, start = self.sizes.slots, self.sizes.codes, nn.initializers.normal(0.01)
        if not self.sizes.ordinal:
            logits = Dense(slots * number, kernel_init=start, name="free")(hidden)
            return logits.reshape(*hidden.shape[:-1], slots, number)
        x = Dense(3 * BELLS * slots, kernel_init=start, name="bells")(hidden)
        x = x.reshape(*hidden.shape[:-1], slots, 3, BELLS)
        middle = jnp.full((*codes.shape, BELLS - 1), (number - 1) / 2)
        base = jnp.concatenate([codes.astype(jnp.float32)[..., None], middle], axis=-1)
        first = (jnp.arange(BELLS) == 0) * 2.0
        return discretised.Mixture(
            logits=x[..., 0, :] + jnp.broadcast_to(first, base.shape),
            centre=base + x[..., 1, :] * (jnp.arange(BELLS) * (number / 8) + 1.0).reshape((1,) * codes.ndim + (-1,)),
            scale=discretised.SHARPEST + nn.softplus(x[..., 2, :] - 1.0),
        )


def token_log_prob(said: PyTree, codes: Array, sizes: Sizes) -> Array:
    """Return the log-probability [..., K] of codes [..., K] in nats."""
    if isinstance(said, discretised.Mixture):
        return discretised.log_prob(said, codes, sizes.codes)
    return jnp.sum(jax.nn.log_softmax(said, axis=-1) * jax.nn.one_hot(codes, sizes.codes), axis=-1)


def draw_tokens(said: PyTree, key: Key, sizes: Sizes) -> Array:
    """Return codes [..., N, K] drawn from what is said of them."""
    if isinstance(said, discretised.Mixture):
        return discretised.sample(*luck.draw(key, sizes.ties, said.logits.shape[:-2]), said, sizes.codes)
    return draw(key, said)


def likeliest_tokens(said: PyTree, sizes: Sizes) -> Array:
    """Return the likeliest codes [..., K]."""
    return discretised.mode(said, sizes.codes) if isinstance(said, discretised.Mixture) else jnp.argmax(said, axis=-1)


class OutcomeHead(nn.Module):
    """Reward, end, legal actions and who is alive.

    The reward and the end, which are the team's, are read off what is known before the next observation is drawn. So no
    luck of a draw is in them, and a victory is paid and over at the same step. Their losses also teach the dynamics
    what damage is, of which the tokens tell little: most of them say where somebody is. The others read the observation
    that was drawn, so that it agrees with them: who sees itself dead is dead.
    """

    config: Any
    sizes: Sizes

    @nn.compact
    def __call__(self, hidden: Array, now: Array, after: Array) -> Outcome:
        config, zeros = self.config, nn.initializers.zeros
        before = nn.relu(Dense(config.model_size, name="before")(jnp.concatenate([hidden, now], axis=-1)))
        team = jnp.concatenate([before.mean(axis=-2), before.max(axis=-2)], axis=-1)
        team = nn.relu(Dense(config.model_size, name="team")(team))
        reward = Dense(config.reward_bins, kernel_init=zeros, name="reward")(team)
        end = Dense(1, kernel_init=zeros, name="end")(team)[..., 0]
        each = nn.relu(Dense(config.model_size, name="each")(jnp.concatenate([hidden, now, after], axis=-1)))
        legal = Dense(self.sizes.actions.size, kernel_init=zeros, name="legal")(each)
        alive = Dense(1, kernel_init=zeros, name="alive")(each)[..., 0]
        return Outcome(reward=reward, end=end, legal=legal, alive=alive)


def as_rows(x: Array) -> Array:
    """Return [B, T, N, W] as rows [B N, T, W]: every agent of every sequence is a row."""
    x = jnp.moveaxis(x, 2, 1)
    return x.reshape(-1, *x.shape[2:])


def by_agent(rows: Array, agents: int) -> Array:
    """Return rows [B N, T, W] as [B, T, N, W]."""
    return jnp.moveaxis(rows.reshape(-1, agents, *rows.shape[1:]), 1, 2)


def same_episode(first: Array) -> Array:
    """Return which rows of a sequence are of the episode of which others, [B, T, T] bool, of first [B, T]."""
    episode = jnp.cumsum(first, axis=1)
    return episode[:, :, None] == episode[:, None, :]
