"""A policy per agent and a value function for the team, feed-forward or with a memory, with or without shared
parameters.

MAPPO (Yu et al. 2022): separate networks, orthogonal initialisation, a critic that may see the
global state. The actor has its own value head, for learners that train it on values as well (DNA, Aitchison and
Sweetser 2022) and for the ablation in which it is the only one.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import ActorCritic, Array, Distribution, EnvSpec, Group, Key, Model, Params, PyTree, setting
from tandem.models import pictures
from tandem.models.dense import with_ids
from tandem.models.actor_critic_layers import ACTIVATIONS, VALUE_HEAD, Actor, Critic
from tandem.models.entities.config import EntityConfig, describes, teams
from tandem.models.entities.team import Alone, Whole, WholeTeam, most_things
from tandem.models.recurrent import blank
from tandem.ops.distributions import of
from tandem.ops.number_bins import binned


def bins_setting(default: int) -> Any:
    """Return the setting `action_bins`."""
    said = "continuous actions: numbers among which each number of an action is chosen, from -1 to 1; 0 = a Gaussian"
    return setting(default, said, low=0, high=4096)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(EntityConfig):
    hidden_size: int = setting(128, "width of every layer, and of the memory", low=2, high=4096)
    num_layers: int = setting(2, "number of layers before the memory, or before the heads", low=1, high=16)
    activation: str = setting("relu", "nonlinearity of the layers", choices=tuple(ACTIVATIONS))
    layer_norm: bool = setting(False, "whether to normalise the input and every layer's output (LayerNorm)")
    actor_memory: str = setting("none", "the policy's memory over time", choices=("none", "gru"))
    critic_memory: str = setting(
        "none", "the critic's memory over time; a critic of the global state needs none", choices=("none", "gru")
    )
    critic_input: str = setting(
        "state",
        "what the critic sees: each agent's own observation (obs), the global state, or all observations "
        "(all_obs); state falls back to all_obs where there is no state or entities do not describe it",
        choices=("obs", "state", "all_obs"),
    )
    value_per_agent: bool = setting(
        False,
        "for critic_input=state and all_obs: one value for each agent, which rewards that differ need; "
        "otherwise one for the team",
    )
    separate_critic: bool = setting(
        True, "whether the critic has its own network; False: the actor's value head is the critic"
    )
    share_parameters: bool = setting(True, "whether all agents share one set of parameters; False: each has its own")
    agent_id: bool = setting(
        True, "encoder=flat: whether to add a one-hot agent id to observations, if parameters are shared"
    )
    policy_gain: float = setting(
        0.01, "scale of the policy head's initial weights; if small, the initial policy is nearly uniform", low=0.0
    )
    initial_std: float = setting(
        0.5, "for continuous actions: the initial standard deviation, on a range of [-1, 1]", low=1e-3
    )
    action_bins: int = bins_setting(0)


def make(config: Config, spec: EnvSpec) -> Model:
    """Return the actor and critic of a task.

    Raises:
      ValueError: entities or images are requested but there are none, or entities are, and different agents have
        separate networks; or there is one bin of numbers.
    """
    if config.action_bins == 1:
        raise ValueError("network_args.action_bins=1: leaves nothing to choose; set 2 or more, or 0 for a Gaussian")
    groups = _groups(config, spec)
    seeing = pictures.eyes(spec, config.hidden_size)
    actor = _apart(config, spec, Actor(config, spec.actions.size, spec.actions.continuous, groups, seeing))
    critic, see = _critic(config, spec, groups), partial(_critic_view, config, spec, bool(groups))
    by_agent = _by_agent(config) or (bool(groups) and config.value_per_agent)
    own_view = partial(_own_view, config, spec) if not groups else lambda obs: obs

    def init(key: Key) -> Params:
        actor_key, critic_key = jax.random.split(key)
        obs, state = jnp.zeros((1, 1, spec.num_agents, spec.obs.size)), jnp.zeros((1, 1, spec.state.size))
        start, first = memory(1), jnp.zeros((1, 1), bool)
        params = {"actor": actor.init(actor_key, start["actor"], own_view(obs), first)}
        if config.separate_critic:
            params["critic"] = critic.init(critic_key, start["critic"], see(obs, state), first)
        return params

    def memory(batch: int) -> PyTree:
        agents = (batch, spec.num_agents, config.hidden_size)
        critic_shape = agents if by_agent else (batch, config.hidden_size)
        return {
            "actor": blank(config.actor_memory, *agents),
            "critic": blank(config.critic_memory if config.separate_critic else "none", *critic_shape),
        }

    def policy(params: Params, memory: PyTree, obs: Array, first: Array):
        after, outputs, values = actor.apply(params["actor"], memory["actor"], own_view(pictures.flat(obs)), first)
        return memory | {"actor": after}, outputs, values

    def value(params: Params, memory: PyTree, obs: Array, state: Array, first: Array):
        if not config.separate_critic:
            memory, _, values = policy(params, memory, obs, first)
            return memory, values
        after, values = critic.apply(params["critic"], memory["critic"], see(pictures.flat(obs), state), first)
        return memory | {"critic": after}, values

    face = ActorCritic(
        memory=memory,
        policy=policy,
        value=value,
        rescale_values=_rescale_values,
        distribution=_distribution(config, spec),
        separate_critic=config.separate_critic,
        params_by_agent=not config.share_parameters,
        values_by_agent=not config.separate_critic or by_agent or config.value_per_agent,
    )
    return Model(init=init, acting=partial(_acting, config), actor_critic=face, things=most_things(groups))


def _distribution(config: Config, spec: EnvSpec) -> Distribution:
    return binned(config.action_bins) if spec.actions.continuous and config.action_bins else of(spec.actions)


def _acting(config: Config, params: Params) -> Params:
    """Return the actor alone, unless the critic has a memory that acting must carry."""
    return {name: params[name] for name in params if name == "actor" or config.critic_memory != "none"}


@dataclasses.dataclass(frozen=True)
class _Net:
    """A module's two functions, for shared or separate parameters of the agents."""

    init: Callable  # key, memory, x, first -> params
    apply: Callable  # params, memory, x, first -> memory, outputs


def _apart(config: Config, spec: EnvSpec, module: nn.Module) -> _Net:
    """Return a module that maps each agent's x [B, T, N, F] with shared parameters, or with its own, [N,
    ...].
    """
    is_critic = isinstance(module, Critic)

    def init(key: Key, memory, x, first):
        return module.init(key, memory, x, first)["params"]

    def apply(params, memory, x, first):
        memory, *outputs = module.apply({"params": params}, memory, x, first)
        return memory, *((output[..., 0] for output in outputs) if is_critic else outputs)

    if config.share_parameters:
        return _Net(init, apply)
    axes = (0, 1, 2, None)
    num_outputs = 1 if is_critic else 2
    init_each = jax.vmap(init, in_axes=axes)
    return _Net(
        lambda key, *inputs: init_each(jax.random.split(key, spec.num_agents), *inputs),
        jax.vmap(apply, in_axes=axes, out_axes=(1, *(2,) * num_outputs)),
    )


def _critic(config: Config, spec: EnvSpec, groups: tuple[Group, ...]) -> _Net:
    """Return the critic: of each agent, of the team, or of each agent from the team's input."""
    if not groups:
        own = config.critic_input == "obs"
        seeing = pictures.eyes(spec, config.hidden_size, 1 if own else spec.num_agents)
        seeing = None if _sees_state(config, spec, entities=False) else seeing
        if _by_agent(config):
            return _apart(config, spec, Critic(config, 1, seeing))
        return _team_critic(spec, Critic(config, spec.num_agents if config.value_per_agent else 1, seeing))
    if config.critic_input == "obs":
        return _apart(config, spec, Critic(config, 1, Alone(config, groups, config.hidden_size)))
    if _values_agents(config):
        return _apart(config, spec, Critic(config, 1, WholeTeam(config, groups, config.hidden_size, per_agent=True)))
    if _sees_state(config, spec, entities=True):
        critic = Critic(config, 1, Whole(config, spec.state))
    else:
        critic = Critic(config, 1, WholeTeam(config, groups, config.hidden_size))
    return _apart(config, spec, critic) if _by_agent(config) else _team_critic(spec, critic)


def _team_critic(spec: EnvSpec, module: Critic) -> _Net:
    """Return the critic that sees the team's x [B, T, ...] once and values it for all agents, [B, T, N]."""

    def apply(params, memory, x, first):
        memory, values = module.apply({"params": params}, memory, x, first)
        return memory, jnp.broadcast_to(values, (*values.shape[:-1], spec.num_agents))

    return _Net(lambda *inputs: module.init(*inputs)["params"], apply)


def _by_agent(config: Config) -> bool:
    """Return whether the critic runs once for each agent."""
    return config.critic_input == "obs" or not config.share_parameters


def _groups(config: Config, spec: EnvSpec) -> tuple[Group, ...]:
    """Return the groups of agents whose observations are read as entities; () where they are read flat."""
    groups = teams(config, spec)
    if len(groups) <= 1 or config.share_parameters:
        return groups
    if config.encoder == "entities":
        raise ValueError(
            "network_args.encoder=entities: agents see different things here, which does not work with "
            "network_args.share_parameters=False; choose encoder=flat, or share parameters"
        )
    return ()


def _own_view(config: Config, spec: EnvSpec, obs: Array) -> Array:
    """Return each agent's input [B, T, N, F] from obs [B, T, N, O]."""
    if not (config.agent_id and config.share_parameters):
        return obs
    return with_ids(obs)


def _critic_view(config: Config, spec: EnvSpec, entities: bool, obs: Array, state: Array) -> Array:
    """Return the critic's input from obs [B, T, N, O] and state [B, T, S].

    It is [B, T, F], by agent [B, T, N, F]; all observations that are read as entities stay [B, T, N, O], and are
    [B, T, N, N, O] where every agent has a network of its own.
    """
    if config.critic_input == "obs":
        return obs if entities else _own_view(config, spec, obs)
    if _sees_state(config, spec, entities):
        whole = state
    elif entities:
        whole = obs
    else:
        whole = obs.reshape(*obs.shape[:2], -1)
    if not _by_agent(config):
        return whole
    return jnp.broadcast_to(whole[:, :, None], (*whole.shape[:2], spec.num_agents, *whole.shape[2:]))


def _sees_state(config: Config, spec: EnvSpec, entities: bool) -> bool:
    """Return whether the critic sees the global state.

    If the state is read as entities, the environment has to describe it. It cannot give a value for each agent, because
    it does not identify the agents.
    """
    useful = describes(spec.state) and not _values_agents(config) if entities else spec.state.size > 0
    return config.critic_input == "state" and useful


def _values_agents(config: Config) -> bool:
    """Return whether one critic has a value for each agent."""
    return config.value_per_agent and config.share_parameters


def _rescale_values(params: Params, old: tuple[Array, Array], new: tuple[Array, Array]) -> Params:
    """Return the parameters with every value head's outputs o turned into (std_old o + mean_old - mean_new) / std_new.

    PopArt: van Hasselt et al. 2016, "Learning values across many orders of magnitude", proposition 1.
    """
    scale, shift = old[1] / new[1], (old[0] - new[0]) / new[1]

    def rescale(path, x: Array) -> Array:
        names = [step.key for step in path]
        if VALUE_HEAD not in names:
            return x
        return x * scale + (shift if names[-1] == "bias" else 0.0)

    return jax.tree_util.tree_map_with_path(rescale, params)
