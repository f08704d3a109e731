"""The network `imagination`: a team's actor and critic, and a model of what the team sees, to dream whole episodes in.

MARIE (Zhang et al. 2024, "Decentralized transformers with centralized aggregation are sample-efficient multi-agent
world models"), with one position for each agent and step unless asked otherwise; or, in place of its transformer, the
recurrent dynamics of DreamerV3. The actor sees its own decoded
observation alone, at play and in dreams, so that at play it needs the tokenizer and never the dynamics.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp

from tandem.core import Array, Dreamt, EnvSpec, Key, Model, Params, PyTree, SequenceModel, Transition
from tandem.models import actor_critic
from tandem.models.imagination import luck, token_by_token, tokenizer as tokenizers
from tandem.models.imagination.config import DreamConfig, check
from tandem.models.imagination.losses import LATENT_LOSSES, LOSSES, METRICS, sequence_losses
from tandem.models.imagination.one_position import OnePosition
from tandem.models.imagination.parts import Dynamics, Sizes, Steps
from tandem.models.imagination.recurrent_state import RecurrentState
from tandem.models.imagination.tokenizer import Tokenizer
from tandem.ops import symlog


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(DreamConfig):
    """The settings of actor, critic, tokenizer and dynamics, which `config.py` declares."""


def make(config: Config, spec: EnvSpec) -> Model:
    """Return the network of a task.

    Raises:
      ValueError: settings that cannot work together.
    """
    check(config)
    team = actor_critic.make(config, spec)
    tokens = tokenizers.make(config, spec)
    dynamics = make_dynamics(config, spec, tokens)
    agent, see = team.actor_critic, partial(_see, tokens)

    def init(key: Key) -> Params:
        team_key, tokenizer_key, world_key = jax.random.split(key, 3)
        learned = {"tokenizer": tokens.init(tokenizer_key), "world": dynamics.init(world_key)}
        return team.init(team_key) | learned

    def policy(params: Params, memory: PyTree, obs: Array, first: Array):
        return agent.policy(params, memory, see(params, obs), first)

    def value(params: Params, memory: PyTree, obs: Array, state: Array, first: Array):
        return agent.value(params, memory, see(params, obs), state, first)

    sequence_model = SequenceModel(
        agent=agent,
        longest=config.window,
        see=see,
        losses=partial(sequence_losses, config, spec, tokens, dynamics),
        loss_names=LATENT_LOSSES if config.dynamics == "rssm" else LOSSES,
        metric_names=METRICS,
        settle=partial(_settle, tokens),
        begin=partial(_begin, tokens, dynamics),
        step=partial(_step, config, tokens, dynamics),
    )
    return Model(
        init=init,
        acting=lambda params: {name: params[name] for name in ("actor", "tokenizer")},
        actor_critic=agent._replace(policy=policy, value=value),
        sequence_model=sequence_model,
        world=("world", "tokenizer"),
        policy=("actor",),
    )


def make_dynamics(config: Config, spec: EnvSpec, tokens: Tokenizer) -> Dynamics:
    """Return what predicts, with its parameters apart from those of the tokenizer."""
    ties = luck.of_features(spec.obs) if tokens.ordinal else luck.no_ties(tokens.num_slots)
    sizes = Sizes(spec.num_agents, spec.actions, tokens.num_slots, tokens.num_codes, tokens.width, tokens.ordinal, ties)
    kinds = {"one": OnePosition, "tokens": token_by_token.TokenByToken, "rssm": RecurrentState}
    kind = "rssm" if config.dynamics == "rssm" else config.layout
    net = kinds[kind](config, sizes)
    shape = (1, 1, sizes.agents)
    nothing, action = jnp.zeros((*shape, sizes.features)), jnp.zeros((*shape, *spec.actions.shape), spec.actions.dtype)
    steps = Steps(codes=jnp.zeros((*shape, sizes.slots), jnp.int32), features=nothing, action=action)

    def init(key: Key) -> Params:
        return net.init(key, steps, jnp.zeros((1, 1), bool), nothing)["params"]

    def method(name: str):
        return lambda params, *inputs: net.apply({"params": params}, *inputs, method=name)

    methods = {name: method(name) for name in Dynamics._fields if name not in ("init", "draw")}
    draw = partial(token_by_token.draw, net) if kind == "tokens" else method("draw")
    return Dynamics(init=init, draw=draw, **methods)


def _see(tokens: Tokenizer, params: Params, obs: Array) -> Array:
    return tokens.decode(params["tokenizer"], tokens.encode(params["tokenizer"], obs))


def _settle(tokens: Tokenizer, params: Params, traj: Transition) -> Params:
    obs = traj.obs.reshape(-1, traj.obs.shape[-1])
    moved = tokens.settle(params["tokenizer"], obs, traj.alive.reshape(-1).astype(jnp.float32))
    return params | {"tokenizer": moved}


def _begin(
    tokens: Tokenizer, dynamics: Dynamics, params: Params, obs: Array, action: Array, first: Array, room: int
) -> tuple[PyTree, Array]:
    """Return the carry and the last observation [B, N, O] as it is seen."""
    codes = tokens.encode(params["tokenizer"], obs)
    unknown = jnp.zeros((action.shape[0], 1, *action.shape[2:]), action.dtype)
    features = tokens.features(params["tokenizer"], codes)
    steps = Steps(codes=codes, features=features, action=jnp.concatenate([action, unknown], axis=1))
    carry = {"codes": codes[:, -1], "dynamics": dynamics.begin(params["world"], steps, first, room)}
    return carry, tokens.decode(params["tokenizer"], codes[:, -1])


def _step(
    config: Config, tokens: Tokenizer, dynamics: Dynamics, params: Params, carry: PyTree, action: Array, alive: Array,
    key: Key,
) -> tuple[PyTree, Dreamt]:  # fmt: skip
    """Return the carry and what is drawn; who is dead sees what it saw."""
    world, codes = params["world"], carry["codes"]
    now = tokens.features(params["tokenizer"], codes)
    steps = Steps(codes=codes, features=now, action=action)
    inner, hidden, drawn = dynamics.draw(world, carry["dynamics"], steps, key)
    codes = jnp.where(alive[..., None], drawn, codes)
    after, obs = tokens.features(params["tokenizer"], codes), tokens.decode(params["tokenizer"], codes)
    outcome = dynamics.outcome(world, hidden, now, after)
    dreamt = Dreamt(
        obs=obs,
        reward=symlog.mean(outcome.reward, symlog.symexp_bins(config.reward_limit, config.reward_bins)),
        continues=1.0 - jax.nn.sigmoid(outcome.end),
        legal=jax.nn.sigmoid(outcome.legal),
        alive=jax.nn.sigmoid(outcome.alive),
    )
    return {"codes": codes, "dynamics": dynamics.take_up(world, inner, codes, after)}, dreamt
