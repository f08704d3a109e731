"""Policies of a team that may see what some agents have committed to: `sum`, `attention` and `gru`.

All three are one function in two forms. `__call__` is the causal pass over a whole joint action, for learning. A mask
says which agent sees whose action. `begin`, `commit` and `reply` are the same ply by ply, for planning. They encode the
latents once. A commitment adds one token to the plan, and a reply costs only the rows that are asked for. With nothing
visible, the logits of agent i are a function of latent i alone, which is the decentralised policy.

A token says who did what: it is made of the latent and the action of the agent that committed.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array, PyTree
from tandem.models.dense import Dense
from tandem.models.entities.latent import LatentSpace
from tandem.models.recurrent import GRU

Own = PyTree  # [..., N, ...] what each agent knows by itself


class Head(nn.Module):
    """What the heads share; `token` is the layer that makes tokens."""

    hidden: int
    space: LatentSpace
    dtype: Any

    def said(self, latent: Array, action: Array) -> Array:
        """Return the tokens [..., H] of who has latents [..., D] and commits to actions [...]."""
        played = self.space.played(latent, action, self.dtype)
        return nn.relu(self.token(jnp.concatenate([self.space.whole(latent).astype(self.dtype), played], axis=-1)))


class SumHead(Head):
    """The tokens that an agent sees are summed: the order of the commitments is forgotten."""

    def setup(self):
        self.token = Dense(self.hidden, dtype=self.dtype)
        self.own = Dense(self.hidden, dtype=self.dtype)
        self.seen = Dense(self.hidden, use_bias=False, dtype=self.dtype)
        self.Dense_0 = zero_dense(self.space.num_actions)  # so it is called in the checkpoints of older runs

    def __call__(self, latent: Array, action: Array, visible: Array) -> Array:
        """Map latent [..., N, D], action [..., N], visible [..., N, N] to float32 logits [..., N, A]."""
        own, _ = self.begin(latent)
        tokens = self.said(latent, action)
        seen = jnp.sum(visible[..., None].astype(self.dtype) * tokens[..., None, :, :], axis=-2)  # [..., N, H]
        return self._logits(own, self.seen(seen))

    def begin(self, latent: Array) -> tuple[Own, PyTree]:
        """Return what each agent knows by itself [..., N, H] and the plan to which nobody has committed yet."""
        own = self.own(self.space.whole(latent).astype(self.dtype))
        return own, jnp.zeros((*own.shape[:-2], self.hidden), own.dtype)

    def commit(self, plan: PyTree, latent: Array, agent: Array, action: Array) -> PyTree:
        """Return the plan after agent [...] of latent [..., N, D] has committed to action [...]."""
        return plan + self.said(row(latent, agent), action)

    def reply(self, own: Own, plan: PyTree) -> Array:
        """Return logits [..., R, A] of the agents in some rows of `own` [..., R, H], given the plan."""
        return self._logits(own, self.seen(plan)[..., None, :])

    def _logits(self, own: Array, seen: Array) -> Array:
        return self.Dense_0(nn.relu(own + seen).astype(jnp.float32))


class AimingHead(Head):
    """As SumHead, where actions aim at things: such an action is judged by what the agent knows of its target.

    Of those who have committed an agent also sees how many aim at each thing; all number the things alike.
    """

    def setup(self):
        self.token = Dense(self.hidden, dtype=self.dtype)
        self.own = Dense(self.hidden, dtype=self.dtype)
        self.seen = Dense(self.hidden, use_bias=False, dtype=self.dtype)
        self.target = Dense(self.hidden, dtype=self.dtype)
        self.aims = Dense(self.hidden, use_bias=False, dtype=self.dtype)
        self.plain, self.at_target = zero_dense(self.space.num_plain), zero_dense(1)

    def __call__(self, latent: Array, action: Array, visible: Array) -> Array:
        """Map latent [..., N, D], action [..., N], visible [..., N, N] to float32 logits [..., N, A]."""
        own, _ = self.begin(latent)
        seen = visible.astype(self.dtype)
        said = jnp.sum(seen[..., None] * self.said(latent, action)[..., None, :, :], axis=-2)
        aims = jnp.sum(seen[..., None] * self.space.aimed(action, self.dtype)[..., None, :, :], axis=-2)
        return self._logits(own, said, aims)

    def begin(self, latent: Array) -> tuple[Own, PyTree]:
        """Return what each agent knows [..., N, ...] and the plan to which nobody has committed yet."""
        targets = self.target(self.space.tokens(latent)[self.space.target].astype(self.dtype))
        own = {"whole": self.own(self.space.whole(latent).astype(self.dtype)), "targets": targets}
        team = latent.shape[:-2]
        widths = {"said": self.hidden, "aims": self.space.num_targets}
        return own, {name: jnp.zeros((*team, width), self.dtype) for name, width in widths.items()}

    def commit(self, plan: PyTree, latent: Array, agent: Array, action: Array) -> PyTree:
        """Return the plan after agent [...] of latent [..., N, D] has committed to action [...]."""
        said = plan["said"] + self.said(row(latent, agent), action)
        return {"said": said, "aims": plan["aims"] + self.space.aimed(action, self.dtype)}

    def reply(self, own: Own, plan: PyTree) -> Array:
        """Return logits [..., R, A] of the agents in some rows of `own` [..., R, ...], given the plan."""
        return self._logits(own, plan["said"][..., None, :], plan["aims"][..., None, :])

    def _logits(self, own: Own, said: Array, aims: Array) -> Array:
        known = own["whole"] + self.seen(said)
        at = nn.relu(own["targets"] + known[..., None, :] + self.aims(aims[..., None]))
        plain = self.plain(nn.relu(known).astype(jnp.float32))
        return self.space.outputs(plain, self.at_target(at.astype(jnp.float32))[..., 0])


class GRUHead(Head):
    """A recurrent plan state reads the tokens in the order of the commitments."""

    def setup(self):
        self.token = Dense(self.hidden, dtype=self.dtype)
        self.own = Dense(self.hidden, dtype=self.dtype)
        self.memory = GRU(self.hidden)
        self.seen = Dense(self.hidden, use_bias=False, dtype=self.dtype)
        self.last = zero_dense(self.space.num_actions)

    def __call__(self, latent: Array, action: Array, visible: Array) -> Array:
        """Map latent [..., N, D], action [..., N], visible [..., N, N] to float32 logits [..., N, A].

        `visible` has to come from an order of commitments: an agent's ply is the number of actions it sees.
        """
        own, start = self.begin(latent)
        ply = jnp.sum(visible, axis=-1)  # [..., N]
        spoke = jnp.any(visible, axis=-2)
        at = jax.nn.one_hot(ply, action.shape[-1], dtype=bool) & spoke[..., None]  # [..., agent, ply]
        tokens = self.said(latent, action)
        in_order = jnp.sum(at[..., None] * tokens[..., None, :], axis=-3)  # [..., ply, H]
        after = self._read(start, in_order)
        before = jnp.concatenate([start[..., None, :], after[..., :-1, :]], axis=-2)
        return self._logits(own, jnp.take_along_axis(before, ply[..., None], axis=-2))

    def begin(self, latent: Array) -> tuple[Own, PyTree]:
        """Return what each agent knows by itself [..., N, H] and the plan to which nobody has committed yet."""
        own = self.own(self.space.whole(latent).astype(self.dtype))
        return own, jnp.zeros((*own.shape[:-2], self.hidden), jnp.float32)

    def commit(self, plan: PyTree, latent: Array, agent: Array, action: Array) -> PyTree:
        """Return the plan after agent [...] of latent [..., N, D] has committed to action [...]."""
        token = self.said(row(latent, agent), action)
        return self._read(plan, token[..., None, :])[..., 0, :]

    def reply(self, own: Own, plan: PyTree) -> Array:
        """Return logits [..., R, A] of the agents in some rows of `own` [..., R, H], given the plan."""
        return self._logits(own, plan[..., None, :])

    def _read(self, plan: Array, tokens: Array) -> Array:
        """Return the plan states [..., T, H] after each of the tokens [..., T, H]."""
        steps = tokens.reshape(-1, *tokens.shape[-2:]).astype(jnp.float32)
        _, every = self.memory(plan.reshape(-1, self.hidden), steps, jnp.zeros(steps.shape[:2], bool))
        return every.reshape(tokens.shape)

    def _logits(self, own: Array, plan: Array) -> Array:
        return self.last(nn.relu(own + self.seen(plan.astype(self.dtype))).astype(jnp.float32))


class AttentionHead(Head):
    """A causal decoder over agents, in the style of the Multi-Agent Transformer (Wen et al. 2022, section 3.3).

    The query is the agent's own latent, keys and values are the tokens of those who have committed and of a start.
    Tokens do not attend to one another, so their keys and values are made once, when an agent commits.
    """

    num_heads: int
    num_layers: int

    def setup(self):
        self.token = Dense(self.hidden, dtype=self.dtype)
        self.own = Dense(self.hidden, dtype=self.dtype)
        self.start = self.param("start", nn.initializers.normal(1.0), (self.hidden,))
        self.blocks = [DecoderBlock(self.num_heads, self.hidden, self.dtype) for _ in range(self.num_layers)]
        self.norm = nn.LayerNorm(dtype=self.dtype)
        self.last = zero_dense(self.space.num_actions)

    def __call__(self, latent: Array, action: Array, visible: Array) -> Array:
        """Map latent [..., N, D], action [..., N], visible [..., N, N] to float32 logits [..., N, A]."""
        own, plan = self.begin(latent)
        told = self._keys_values(self.said(latent, action))
        keys_values = jnp.concatenate([plan["keys_values"][..., :1, :], told], axis=-2)
        start = jnp.ones((*visible.shape[:-1], 1), bool)
        return self._decode(own, keys_values, jnp.concatenate([start, visible], axis=-1))

    def begin(self, latent: Array) -> tuple[Own, PyTree]:
        """Return what each agent knows by itself [..., N, H] and the plan to which nobody has committed yet."""
        own = self.own(self.space.whole(latent).astype(self.dtype))
        token = jnp.broadcast_to(self.start.astype(self.dtype), (*own.shape[:-2], 1, self.hidden))
        room = [(0, 0)] * (own.ndim - 1) + [(0, own.shape[-2]), (0, 0)]
        seen = jnp.broadcast_to(jnp.arange(own.shape[-2] + 1) == 0, (*own.shape[:-2], own.shape[-2] + 1))
        return own, {"keys_values": jnp.pad(self._keys_values(token), room), "seen": seen}

    def commit(self, plan: PyTree, latent: Array, agent: Array, action: Array) -> PyTree:
        """Return the plan after agent [...] of latent [..., N, D] has committed to action [...]."""
        token = self.said(row(latent, agent), action)
        told = self._keys_values(token[..., None, :])  # [..., layers, 1, 2 H]
        own = jax.nn.one_hot(1 + agent, plan["seen"].shape[-1], dtype=bool)
        keys_values = jnp.where(own[..., None, :, None], told, plan["keys_values"])
        return {"keys_values": keys_values, "seen": plan["seen"] | own}

    def reply(self, own: Own, plan: PyTree) -> Array:
        """Return logits [..., R, A] of the agents in some rows of `own` [..., R, H], given the plan."""
        seen = jnp.broadcast_to(plan["seen"][..., None, :], (*own.shape[:-1], plan["seen"].shape[-1]))
        return self._decode(own, plan["keys_values"], seen)

    def _keys_values(self, tokens: Array) -> Array:
        """Return what the blocks read of tokens [..., T, H]: [..., layers, T, 2 H]."""
        return jnp.stack([block.keys_values(tokens) for block in self.blocks], axis=-3)

    def _decode(self, own: Array, keys_values: Array, seen: Array) -> Array:
        for layer, block in enumerate(self.blocks):
            own = block(own, keys_values[..., layer, :, :], seen)
        return self.last(nn.relu(self.norm(own)).astype(jnp.float32))


class DecoderBlock(nn.Module):
    """Pre-norm cross-attention from agents to tokens, and a feed-forward layer."""

    num_heads: int
    hidden: int
    dtype: Any

    def setup(self):
        self.query, self.out = (Dense(self.hidden, dtype=self.dtype) for _ in range(2))
        self.read = Dense(2 * self.hidden, dtype=self.dtype)
        self.inner, self.outer = (Dense(self.hidden, dtype=self.dtype) for _ in range(2))
        self.norm, self.norm_inner = (nn.LayerNorm(dtype=self.dtype) for _ in range(2))

    def keys_values(self, tokens: Array) -> Array:
        """Return keys and values [..., T, 2 H] of tokens [..., T, H]."""
        return self.read(tokens)

    def __call__(self, x: Array, keys_values: Array, seen: Array) -> Array:
        """Map x [..., R, H], keys and values [..., T, 2 H], seen [..., R, T] to [..., R, H]."""
        query = self._split(self.query(self.norm(x)))  # [..., R, heads, d]
        key, value = (self._split(part) for part in jnp.split(keys_values, 2, axis=-1))  # [..., T, heads, d]
        # Broadcast products, as in models/attention.py: for few agents quicker than tiny matrix products.
        scores = jnp.sum(query[..., :, None, :, :] * key[..., None, :, :, :], axis=-1) / query.shape[-1] ** 0.5
        weights = jax.nn.softmax(jnp.where(seen[..., None], scores.astype(jnp.float32), -1e9), axis=-2)
        mixed = jnp.sum(weights[..., None].astype(self.dtype) * value[..., None, :, :, :], axis=-3)
        x = x + self.out(mixed.reshape(x.shape))
        return x + self.outer(nn.relu(self.inner(self.norm_inner(x))))

    def _split(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], self.num_heads, self.hidden // self.num_heads)


def zero_dense(size: int) -> Dense:
    """Return a last layer that starts at zero: an untrained search then plays at random, not by an arbitrary habit."""
    return Dense(size, dtype=jnp.float32, kernel_init=nn.initializers.zeros)


def row(x: Array, agent: Array) -> Array:
    """Return the entry [..., F] of agent [...] out of everybody's [..., N, F]."""
    return jnp.take_along_axis(x, agent[..., None, None], axis=-2)[..., 0, :]
