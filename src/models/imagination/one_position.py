"""The layout `one`: a position for each agent and step, which holds the observation, the action and the team's part.

All K tokens of the next observation are read off that position at once, independently of one another. That takes a
K + 2-th of the positions of the reference's layout and one pass for a step where that takes K + 1.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array, Key, PyTree
from tandem.models.imagination.parts import (
    Outcome, OutcomeHead, Predicted, Sizes, StepInput, Steps, TokenHead, as_rows, by_agent, draw_tokens,
    likeliest_tokens, same_episode, token_log_prob,
)  # fmt: skip
from tandem.models.imagination.transformer import Cache, Transformer, no_cache, with_room


class OnePosition(nn.Module):
    """The network; its methods are the functions of `Dynamics`."""

    config: Any
    sizes: Sizes

    def setup(self):
        config = self.config
        self.step = StepInput(config, self.sizes)
        self.time = self.param("time", nn.initializers.normal(0.02), (config.window, config.width))
        self.transformer = Transformer(config.layers, config.heads, config.width, config.model_size)
        self.tokens = TokenHead(self.sizes)
        self.outcomes = OutcomeHead(config, self.sizes)

    def __call__(self, steps: Steps, first: Array, after: Array) -> Outcome:
        hidden, _ = self._read(steps, first)
        self.tokens(hidden, steps.codes)
        return self.outcomes(hidden, steps.features, after)

    def predict(self, steps: Steps, first: Array, after: Array, next_codes: Array, key: Key) -> Predicted:
        del after, key
        hidden, _ = self._read(steps, first)
        said, sizes = self.tokens(hidden, steps.codes), self.sizes
        return Predicted(
            log_prob=token_log_prob(said, next_codes, sizes), right=likeliest_tokens(said, sizes) == next_codes,
            counted=jnp.ones(next_codes.shape, bool), hidden=hidden,
        )  # fmt: skip

    def outcome(self, hidden: Array, now: Array, after: Array) -> Outcome:
        return self.outcomes(hidden, now, after)

    def begin(self, steps: Steps, first: Array, room: int) -> PyTree:
        """Return the cache of all steps but the last, whose action is still to come."""
        config, (batch, length) = self.config, first.shape
        past, total = length - 1, length - 1 + room
        cache = no_cache(config.layers, batch * self.sizes.agents, total, config.heads, config.width)
        if past:
            _, kept = self._read(jax.tree.map(lambda x: x[:, :past], steps), first[:, :past])
            cache = with_room(kept, total)
        visible = jnp.pad(same_episode(first)[:, -1, :past], [(0, 0), (0, room)])
        return {"cache": cache, "visible": visible, "at": jnp.int32(past)}

    def draw(self, carry: PyTree, steps: Steps, key: Key) -> tuple[PyTree, Array, Array]:
        at = carry["at"]
        here = jnp.arange(carry["visible"].shape[1]) == at
        visible = carry["visible"] | jnp.broadcast_to(here, carry["visible"].shape)
        own, team = self.step(steps)
        x = own + team + jnp.broadcast_to(self.time[at], own.shape)
        seen = jnp.repeat(visible, self.sizes.agents, axis=0)[:, None]
        rows, cache = self.transformer.extend(as_rows(x[:, None]), carry["cache"], at, seen)
        hidden = by_agent(rows, self.sizes.agents)[:, 0]
        codes = draw_tokens(self.tokens(hidden, steps.codes), key, self.sizes)
        return {"cache": cache, "visible": visible, "at": at + 1}, hidden, codes

    def take_up(self, carry: PyTree, codes: Array, features: Array) -> PyTree:
        return carry

    def _read(self, steps: Steps, first: Array) -> tuple[Array, Cache]:
        """Return what is known after each step [B, T, N, W] and the cache of whole sequences."""
        length = first.shape[1]
        own, team = self.step(steps)
        x = own + team + jnp.broadcast_to(self.time[:length, None], own.shape)
        seen = same_episode(first) & jnp.tril(jnp.ones((1, length, length), bool))
        rows, cache = self.transformer(as_rows(x), jnp.repeat(seen, self.sizes.agents, axis=0))
        return by_agent(rows, self.sizes.agents), cache
