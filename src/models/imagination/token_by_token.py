"""The layout `tokens`: a block [x_1 .. x_K, a, e] of positions for each agent and step (Zhang et al. 2024, MARIE).

x are the observation's tokens, a is the action and e what the team adds. The first token of the next observation is
read at e, each further one at the one before it, so that tokens of one observation depend on one another.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array, Key, Params, PyTree
from tandem.models.dense import Dense
from tandem.models.imagination.parts import (
    Outcome, OutcomeHead, Predicted, Sizes, StepInput, Steps, as_rows, by_agent, same_episode, token_log_prob,
)  # fmt: skip
from tandem.models.imagination.transformer import Cache, Transformer, no_cache, with_room
from tandem.ops.distributions import draw as drawn


class TokenByToken(nn.Module):
    """The network; its methods are the functions of `Dynamics`."""

    config: Any
    sizes: Sizes

    def setup(self):
        config, start = self.config, nn.initializers.normal(0.02)
        self.step = StepInput(config, self.sizes)
        self.time = self.param("time", start, (config.window, config.width))
        self.place = self.param("place", start, (self.sizes.slots + 2, config.width))
        self.who = self.param("who", start, (self.sizes.agents, config.width))
        self.code = self.param("code", nn.initializers.normal(0.1), (self.sizes.codes, config.width))
        self.play = Dense(config.width, use_bias=False)
        self.transformer = Transformer(config.layers, config.heads, config.width, config.model_size)
        self.token = Dense(self.sizes.codes, kernel_init=nn.initializers.normal(0.01))
        self.outcomes = OutcomeHead(config, self.sizes)

    @property
    def _block(self) -> int:
        return self.sizes.slots + 2

    def __call__(self, steps: Steps, first: Array, after: Array) -> Outcome:
        hidden = self._read(steps, first)[0][..., -1, :]
        self.token(hidden)
        return self.outcomes(hidden, steps.features, after)

    def predict(self, steps: Steps, first: Array, after: Array, next_codes: Array, key: Key) -> Predicted:
        """Return the logits; those of x_2 .. x_K stand in the next row's block, if that is of the same episode."""
        del after, key
        read, _ = self._read(steps, first)  # [B, T, N, P, W]
        hidden, slots = read[..., -1, :], self.sizes.slots
        follows = jnp.concatenate([~first[:, 1:], jnp.zeros_like(first[:, :1])], axis=1)
        later = jnp.roll(read[..., : slots - 1, :], -1, axis=1)
        logits = self.token(jnp.concatenate([hidden[..., None, :], later], axis=-2))
        counted = follows[:, :, None, None] | (jnp.arange(slots) == 0)[None, None, None]
        return Predicted(
            log_prob=token_log_prob(logits, next_codes, self.sizes), right=jnp.argmax(logits, axis=-1) == next_codes,
            counted=jnp.broadcast_to(counted, next_codes.shape), hidden=hidden,
        )  # fmt: skip

    def outcome(self, hidden: Array, now: Array, after: Array) -> Outcome:
        return self.outcomes(hidden, now, after)

    def begin(self, steps: Steps, first: Array, room: int) -> PyTree:
        """Return the cache of all steps but the last, and of the last one's tokens."""
        config, (batch, length) = self.config, first.shape
        past, total = length - 1, (length + room) * self._block
        cache = no_cache(config.layers, batch * self.sizes.agents, total, config.heads, config.width)
        if past:
            cache = with_room(self._read(jax.tree.map(lambda x: x[:, :past], steps), first[:, :past])[1], total)
        visible = jnp.repeat(same_episode(first)[:, -1, :past], self._block, axis=1)
        visible = jnp.pad(visible, [(0, 0), (0, total - visible.shape[1])])
        carry = {"cache": cache, "visible": visible, "at": jnp.int32(past * self._block)}
        return self._extend(carry, self._tokens(steps.codes[:, -1]), jnp.int32(past))[0]

    def act(self, carry: PyTree, steps: Steps) -> tuple[PyTree, Array]:
        """Return the carry with action and team's part in it, and what is known then [B, N, W]."""
        carry, read = self._extend(carry, self._ends(steps), carry["at"] // self._block)
        return carry, read[..., -1, :]

    def logits(self, known: Array) -> Array:
        """Return the logits [..., V] of the next token."""
        return self.token(known)

    def add(self, carry: PyTree, code: Array, slot: Array) -> tuple[PyTree, Array]:
        """Return the carry with one token [B, N] of the next observation in it, and what is known then [B, N, W]."""
        x = jax.nn.one_hot(code, self.sizes.codes) @ self.code
        x = x + jnp.broadcast_to(self.place[slot][None] + self.who, x.shape)
        carry, read = self._extend(carry, x[..., None, :], carry["at"] // self._block)
        return carry, read[..., 0, :]

    def take_up(self, carry: PyTree, codes: Array, features: Array) -> PyTree:
        return self._extend(carry, self._tokens(codes), carry["at"] // self._block)[0]

    def _tokens(self, codes: Array) -> Array:
        """Return the positions [..., N, K, W] of an observation's codes [..., N, K], without the time."""
        x = jax.nn.one_hot(codes, self.sizes.codes) @ self.code
        return x + jnp.broadcast_to(self.place[None, :-2] + self.who[:, None], x.shape)

    def _ends(self, steps: Steps) -> Array:
        """Return the positions [..., N, 2, W] of actions and of the team's part, without the time."""
        _, team = self.step(steps)
        x = jnp.stack([self.play(self.sizes.actions.encode(steps.action)), team], axis=-2)
        return x + jnp.broadcast_to(self.place[None, -2:] + self.who[:, None], x.shape)

    def _extend(self, carry: PyTree, x: Array, time: Array) -> tuple[PyTree, Array]:
        """Return the carry and features [B, N, Q, W] of further positions x [B, N, Q, W] of step `time`."""
        at, count, total = carry["at"], x.shape[-2], carry["visible"].shape[1]
        places = jnp.arange(total)
        new = (places >= at) & (places < at + count)
        visible = carry["visible"] | jnp.broadcast_to(new, carry["visible"].shape)
        causal = places[None] <= at + jnp.arange(count)[:, None]  # [Q, L]
        seen = jnp.repeat(visible, self.sizes.agents, axis=0)[:, None] & causal[None]
        x = x + jnp.broadcast_to(self.time[time], x.shape)
        rows, cache = self.transformer.extend(x.reshape(-1, *x.shape[2:]), carry["cache"], at, seen)
        return {"cache": cache, "visible": visible, "at": at + count}, rows.reshape(x.shape)

    def _read(self, steps: Steps, first: Array) -> tuple[Array, Cache]:
        """Return what is known at each position [B, T, N, P, W], and the cache, of whole sequences."""
        length, width = first.shape[1], self.config.width
        x = jnp.concatenate([self._tokens(steps.codes), self._ends(steps)], axis=-2)  # [B, T, N, P, W]
        x = x + jnp.broadcast_to(self.time[:length, None, None], x.shape)
        rows = as_rows(x.reshape(*x.shape[:3], -1)).reshape(-1, length * self._block, width)
        seen = jnp.repeat(jnp.repeat(same_episode(first), self._block, axis=1), self._block, axis=2)
        seen = seen & jnp.tril(jnp.ones((1, *seen.shape[1:]), bool))
        rows, cache = self.transformer(rows, jnp.repeat(seen, self.sizes.agents, axis=0))
        rows = rows.reshape(-1, length, self._block * width)
        return by_agent(rows, self.sizes.agents).reshape(x.shape), cache


def draw(net: TokenByToken, params: Params, carry: PyTree, steps: Steps, key: Key) -> tuple[PyTree, Array, Array]:
    """Return what `Dynamics.draw` does: one pass for action and team, and one for each token but the last.

    The tokens that were drawn are written into the cache once more by `take_up`, as they were settled.
    """

    def ask(method: str, *inputs):
        return net.apply({"params": params}, *inputs, method=method)

    def token(loop, inputs: tuple[Array, Key]):
        carry, known = loop
        code = drawn(inputs[1], ask("logits", known))
        return ask("add", carry, code, inputs[0]), code

    carry, hidden = ask("act", carry, steps)
    keys = jax.random.split(key, net.sizes.slots)
    (later, known), codes = jax.lax.scan(token, (carry, hidden), (jnp.arange(net.sizes.slots - 1), keys[:-1]))
    last = drawn(keys[-1], ask("logits", known))
    codes = jnp.concatenate([jnp.moveaxis(codes, 0, -1), last[..., None]], axis=-1)
    return later | {"at": carry["at"]}, hidden, codes
