"""Observations as a few tokens and back: fixed bins, finite scalar quantisation, or a learned codebook."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array, EnvSpec, Key, Params
from tandem.models.dense import Dense
from tandem.models.imagination.config import FSQ_LEVELS, DreamConfig
from tandem.ops import quantise
from tandem.ops.losses import masked_mean


ROWS = 128  # whose codes are counted


class Tokenizer(NamedTuple):
    """Pure functions; codes are [..., K] int32 below V."""

    num_slots: int  # K, codes of one observation
    num_codes: int  # V
    width: int  # F, numbers by which a network reads an observation's codes
    ordinal: bool  # neighbouring codes of a slot mean neighbouring numbers
    init: Callable[[Key], Params]
    encode: Callable[[Params, Array], Array]  # params, obs [..., O] -> codes
    features: Callable[[Params, Array], Array]  # params, codes -> [..., F], about one in size
    decode: Callable[[Params, Array], Array]  # params, codes -> obs [..., O]
    loss: Callable[[Params, Array, Array], Array]  # params, obs [M, O], weight [M] -> []
    settle: Callable[[Params, Array, Array], Params]  # the same -> params, what is learned without a gradient


def make(config: DreamConfig, spec: EnvSpec) -> Tokenizer:
    """Return the tokenizer that the settings name."""
    return {"bins": _bins, "fsq": _fsq, "vq": _vq}[config.tokenizer](config, spec.obs.size)


def metrics(tokenizer: Tokenizer, params: Params, obs: Array, weight: Array) -> dict[str, Array]:
    """Return how far decoded observations are from obs [M, O] in the mean, and which share of the codes is in use."""
    codes = tokenizer.encode(params, obs)
    error = jnp.mean(jnp.abs(tokenizer.decode(params, codes) - obs), axis=-1)
    used = jax.nn.one_hot(codes[:ROWS], tokenizer.num_codes).max(axis=(0, 1))
    return {"tokenizer/reconstruction": masked_mean(error, weight), "tokenizer/used_codes": jnp.mean(used)}


def _bins(config: DreamConfig, obs_size: int) -> Tokenizer:
    """Return the tokenizer without anything learned: bins as wide as the settings say, or as what was seen."""
    num_bins = config.codes

    def limits(params: Params, x: Array) -> Array:
        return jnp.broadcast_to(jax.lax.stop_gradient(params["limit"]), x.shape)

    def decode(params: Params, codes: Array) -> Array:
        return quantise.from_bins(codes, limits(params, codes), num_bins)

    def settle(params: Params, obs: Array, weight: Array) -> Params:
        if config.bin_limit:
            return params
        seen = jnp.max(jnp.abs(obs) * weight[:, None], axis=0)
        return {"limit": jnp.maximum(params["limit"], seen)}

    return Tokenizer(
        num_slots=obs_size, num_codes=num_bins, width=obs_size, ordinal=True,
        init=lambda key: {"limit": jnp.full(obs_size, config.bin_limit or 1.0, jnp.float32)},
        encode=lambda params, obs: quantise.to_bins(obs, limits(params, obs), num_bins),
        features=decode, decode=decode, loss=lambda params, obs, weight: jnp.zeros(()), settle=settle,
    )  # fmt: skip


class Autoencoder(nn.Module):
    """Two perceptrons: observations to K vectors of E numbers, and back (MARIE's, with layers of another width)."""

    num_slots: int
    code_size: int
    hidden: int
    obs_size: int

    def setup(self):
        self.down = [Dense(size) for size in (self.hidden, self.hidden, self.num_slots * self.code_size)]
        self.up = [Dense(size) for size in (self.hidden, self.hidden, self.obs_size)]

    def encode(self, obs: Array) -> Array:
        """Map obs [..., O] to vectors [..., K, E]."""
        return _perceptron(self.down, obs).reshape(*obs.shape[:-1], self.num_slots, self.code_size)

    def decode(self, vectors: Array) -> Array:
        """Map vectors [..., K, E] to obs [..., O]."""
        return _perceptron(self.up, vectors.reshape(*vectors.shape[:-2], -1))

    def __call__(self, obs: Array) -> Array:
        return self.decode(self.encode(obs))


def _perceptron(layers: list[Dense], x: Array) -> Array:
    for layer in layers[:-1]:
        x = nn.gelu(layer(x))
    return layers[-1](x)


def _fsq(config: DreamConfig, obs_size: int) -> Tokenizer:
    levels = FSQ_LEVELS[config.codes]
    net = Autoencoder(config.tokens, len(levels), config.tokenizer_size, obs_size)

    def quantised(params: Params, obs: Array) -> Array:
        return quantise.fsq(_run(net, params, Autoencoder.encode, obs), levels)

    def features(params: Params, codes: Array) -> Array:
        return quantise.fsq_numbers(codes, levels).reshape(*codes.shape[:-1], -1)

    def loss(params: Params, obs: Array, weight: Array) -> Array:
        back = _run(net, params, Autoencoder.decode, quantised(params, obs))
        return masked_mean(jnp.mean(jnp.abs(back - obs), axis=-1), weight)

    return Tokenizer(
        num_slots=config.tokens, num_codes=config.codes, width=config.tokens * len(levels), ordinal=False,
        init=lambda key: net.init(key, jnp.zeros((1, obs_size)))["params"],
        encode=lambda params, obs: quantise.fsq_code(quantised(params, obs), levels),
        features=features,
        decode=lambda params, codes: _run(net, params, Autoencoder.decode, quantise.fsq_numbers(codes, levels)),
        loss=loss, settle=lambda params, obs, weight: params,
    )  # fmt: skip


def _vq(config: DreamConfig, obs_size: int) -> Tokenizer:
    """Return a tokenizer with one codebook for all slots, moved by running averages (van den Oord et al. 2017)."""
    net = Autoencoder(config.tokens, config.code_size, config.tokenizer_size, obs_size)

    def init(key: Key) -> Params:
        net_key, book_key = jax.random.split(key)
        book = jax.random.normal(book_key, (config.codes, config.code_size)) * 0.1
        codebook = {"counts": jnp.ones(config.codes), "sums": book, "vectors": jnp.copy(book)}
        return {"net": net.init(net_key, jnp.zeros((1, obs_size)))["params"], "codebook": codebook}

    def vectors(params: Params, codes: Array) -> Array:
        return jax.lax.stop_gradient(params["codebook"]["vectors"])[codes]

    def looked_up(params: Params, obs: Array) -> tuple[Array, Array]:
        z = _run(net, params["net"], Autoencoder.encode, obs)
        return z, quantise.nearest(jax.lax.stop_gradient(z), jax.lax.stop_gradient(params["codebook"]["vectors"]))

    def loss(params: Params, obs: Array, weight: Array) -> Array:
        z, codes = looked_up(params, obs)
        near = vectors(params, codes)
        back = _run(net, params["net"], Autoencoder.decode, z + jax.lax.stop_gradient(near - z))
        away = jnp.mean((z - near) ** 2, axis=(-2, -1))
        return masked_mean(jnp.mean(jnp.abs(back - obs), axis=-1) + config.commitment * away, weight)

    def settle(params: Params, obs: Array, weight: Array) -> Params:
        z, codes = looked_up(params, obs)
        flat = (z.reshape(-1, config.code_size), codes.reshape(-1), jnp.repeat(weight, config.tokens))
        book = params["codebook"]
        moved = quantise.moved_codebook(book["counts"], book["sums"], *flat, config.codebook_decay)
        return params | {"codebook": dict(zip(("counts", "sums", "vectors"), moved, strict=True))}

    return Tokenizer(
        num_slots=config.tokens, num_codes=config.codes, width=config.tokens * config.code_size, ordinal=False,
        init=init, encode=lambda params, obs: looked_up(params, obs)[1],
        features=lambda params, codes: vectors(params, codes).reshape(*codes.shape[:-1], -1),
        decode=lambda params, codes: _run(net, params["net"], Autoencoder.decode, vectors(params, codes)),
        loss=loss, settle=settle,
    )  # fmt: skip


def _run(net: Autoencoder, params: Params, method, x: Array) -> Array:
    return net.apply({"params": params}, x, method=method)
