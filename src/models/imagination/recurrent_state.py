"""Recurrent dynamics with discrete latents for each agent: `dynamics=rssm`.

The recurrent state-space model of DreamerV3 (Hafner et al. 2023, "Mastering diverse domains through world models",
equations 3 to 5), with attention between agents in what moves the state, as in MAMBA (Egorov & Shpilman 2022, "Scalable
multi-agent model-based reinforcement learning"). An agent's state is a memory h and a latent z, which is drawn. What is
drawn where an observation is known (the posterior) sees that agent's own observation alone.

It keeps the contract of the transformers: it says what the next observation's tokens are, and the team acts on decoded
observations. So a comparison of the two compares dynamics and nothing else.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array, Key, PyTree
from tandem.models.dense import Dense
from tandem.models.imagination.aggregate import TeamAttention
from tandem.models.imagination.parts import (
    Outcome, OutcomeHead, Predicted, Sizes, Steps, TokenHead, draw_tokens, likeliest_tokens, token_log_prob,
)  # fmt: skip
from tandem.models.recurrent import GRU
from tandem.ops import latents

State = dict[str, Array]  # memory [B, N, W] and latent [B, N, G C] of each agent


class RecurrentState(nn.Module):
    """The network; its methods are the functions of `Dynamics`."""

    config: Any
    sizes: Sizes

    def setup(self):
        config = self.config
        latent = config.latent_groups * config.latent_classes
        self.look = Dense(config.model_size)
        self.prior_hidden, self.prior_logits = Dense(config.model_size), Dense(latent)
        self.posterior_hidden, self.posterior_logits = Dense(config.model_size), Dense(latent)
        self.who = self.param("agent", nn.initializers.normal(0.02), (self.sizes.agents, config.width))
        self.move = Dense(config.width)
        self.team = TeamAttention(max(config.heads, 4), config.width) if config.aggregate == "attention" else None
        self.memory = GRU(config.width)
        self.know, self.norm = Dense(config.width), nn.LayerNorm()
        self.tokens = TokenHead(self.sizes)
        self.outcomes = OutcomeHead(config, self.sizes)

    def __call__(self, steps: Steps, first: Array, after: Array) -> Outcome:
        hidden, _ = self._follow(steps, first, after, None)
        self.tokens(hidden, steps.codes)
        return self.outcomes(hidden, steps.features, after)

    def predict(self, steps: Steps, first: Array, after: Array, next_codes: Array, key: Key) -> Predicted:
        hidden, apart = self._follow(steps, first, after, key)
        said, sizes = self.tokens(hidden, steps.codes), self.sizes
        return Predicted(
            log_prob=token_log_prob(said, next_codes, sizes), right=likeliest_tokens(said, sizes) == next_codes,
            counted=jnp.ones(next_codes.shape, bool), hidden=hidden, latent=apart,
        )  # fmt: skip

    def outcome(self, hidden: Array, now: Array, after: Array) -> Outcome:
        return self.outcomes(hidden, now, after)

    def begin(self, steps: Steps, first: Array, room: int) -> State:
        """Return the state at the last step, before its action; latents on the way there are the likeliest ones."""
        del room
        past = jax.tree.map(lambda x: x[:, :-1], steps)
        state = self._nothing(steps.features[:, 0])
        if first.shape[1] > 1:
            state, _ = self._rows(state, past, self._begins(first[:, :-1]), steps.features[:, 1:], None)
        last = self._begins(first)[:, -1]
        return self._restart(state, last, self.look(steps.features[:, -1]), None)

    def draw(self, carry: State, steps: Steps, key: Key) -> tuple[State, Array, Array]:
        latent_key, token_key = jax.random.split(key)
        memory = self._move(carry, steps.action)
        prior = self._prior(memory)
        luck = jax.random.uniform(latent_key, prior.shape[:-1])
        state = {"memory": memory, "latent": self._drawn(prior, luck)}
        hidden = self._known(state)
        return state, hidden, draw_tokens(self.tokens(hidden, steps.codes), token_key, self.sizes)

    def take_up(self, carry: State, codes: Array, features: Array) -> State:
        return carry

    def _follow(self, steps: Steps, first: Array, after: Array, key: Key | None) -> tuple[Array, Array]:
        """Return what is known after each step [B, T, N, W], and how far prior and posterior are apart [B, T, N]."""
        _, found = self._rows(self._nothing(steps.features[:, 0]), steps, self._begins(first), after, key)
        memory, latent, prior, posterior = found
        return self._known({"memory": memory, "latent": latent}), latents.balanced_divergence(posterior, prior)

    def _rows(self, state: State, steps: Steps, first: Array, after: Array, key: Key | None) -> tuple[State, PyTree]:
        """Go through rows [B, T, ...] one by one; without a key every latent is the likeliest one."""
        shape = (*steps.codes.shape[:-1], 2, self.config.latent_groups)
        luck = None if key is None else jax.random.uniform(key, shape)
        rows = (self.look(steps.features), self.look(after), steps.action, first, luck)

        def row(net: "RecurrentState", state: State, row: PyTree):
            now, after, action, first, luck = row
            state = net._restart(state, first, now, None if luck is None else luck[..., 0, :])
            memory = net._move(state, action)
            prior, posterior = net._prior(memory), net._posterior(memory, after)
            latent = net._drawn(posterior, None if luck is None else luck[..., 1, :])
            return {"memory": memory, "latent": latent}, (memory, latent, prior, posterior)

        scan = nn.scan(row, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1)
        return scan(self, state, rows)

    def _restart(self, state: State, first: Array, seen: Array, luck: Array | None) -> State:
        """Return the state, which begins anew from what is seen [B, N, M] where an episode does, first [B]."""
        nothing = jnp.zeros_like(state["memory"])
        fresh = {"memory": nothing, "latent": self._drawn(self._posterior(nothing, seen), luck)}
        return jax.tree.map(lambda new, old: jnp.where(first[:, None, None], new, old), fresh, state)

    def _move(self, state: State, action: Array) -> Array:
        """Return the memories [B, N, W] after a step of all agents."""
        played = self.sizes.actions.encode(action)
        x = self.move(jnp.concatenate([state["memory"], state["latent"], played], axis=-1))
        x = nn.relu(x + jnp.broadcast_to(self.who, x.shape))
        if self.team is not None:
            x = x + self.team(x)
        memory, _ = self.memory(state["memory"], x[:, None], jnp.zeros((x.shape[0], 1), bool))
        return memory

    def _prior(self, memory: Array) -> Array:
        return self._by_group(self.prior_logits(nn.relu(self.prior_hidden(memory))))

    def _posterior(self, memory: Array, seen: Array) -> Array:
        """Return logits [B, N, G, C] of the latent of who remembers memory [B, N, W] and sees seen [B, N, M]."""
        x = nn.relu(self.posterior_hidden(jnp.concatenate([memory, nn.relu(seen)], axis=-1)))
        return self._by_group(self.posterior_logits(x))

    def _by_group(self, x: Array) -> Array:
        return latents.mixed_logits(x.reshape(*x.shape[:-1], self.config.latent_groups, self.config.latent_classes))

    def _drawn(self, logits: Array, luck: Array | None) -> Array:
        drawn = latents.straight_through(logits, luck)
        return drawn.reshape(*drawn.shape[:-2], -1)

    def _known(self, state: State) -> Array:
        return self.norm(self.know(jnp.concatenate([state["memory"], state["latent"]], axis=-1)))

    def _nothing(self, features: Array) -> State:
        """Return states [B, N, ...] of which nothing is used, since the first row begins anew."""
        batch, agents = features.shape[:2]
        latent = self.config.latent_groups * self.config.latent_classes
        return {"memory": jnp.zeros((batch, agents, self.config.width)), "latent": jnp.zeros((batch, agents, latent))}

    @staticmethod
    def _begins(first: Array) -> Array:
        """Return first [B, T] with every sequence's first row set: what came before is not known."""
        return first.at[:, 0].set(True)
