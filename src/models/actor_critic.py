"""A policy per agent and a value function for the team, feed-forward or with a memory, with or without shared
parameters.

MAPPO (Yu et al. 2022): separate networks, orthogonal initialisation, a critic that may see the
global state. The actor carries a value head of its own, for learners that teach it values as well (DNA, Aitchison and
Sweetser 2022) and for the ablation in which it is the only one.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from src.core import ActorCritic, Array, EnvSpec, Key, Model, Params, PyTree, setting
from src.models.dense import Dense
from src.models.recurrent import GRU
from src.ops import distributions

ACTIVATIONS = {"relu": nn.relu, "tanh": nn.tanh}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    hidden_size: int = setting(128, "width of every layer, and of the memory", low=2, high=4096)
    num_layers: int = setting(2, "layers from the input to the memory, or to the heads", low=1, high=16)
    activation: str = setting("relu", "nonlinearity of the layers", choices=tuple(ACTIVATIONS))
    layer_norm: bool = setting(False, "normalise the input and every layer's output (LayerNorm)")
    actor_memory: str = setting("none", "what the policy remembers of its past", choices=("none", "gru"))
    critic_memory: str = setting(
        "none", "what the critic remembers; a global state needs none", choices=("none", "gru")
    )
    critic_input: str = setting(
        "state",
        "what the critic sees: each agent's own obs, the global state (all_obs where there is none), or all obs",
        choices=("obs", "state", "all_obs"),
    )
    value_per_agent: bool = setting(
        False, "state, all_obs: one value for each agent, where rewards differ; else the team's"
    )
    separate_critic: bool = setting(
        True, "a network of its own for the critic; False: the actor's value head is the critic"
    )
    share_parameters: bool = setting(True, "one set of parameters for all agents; False: one for each")
    agent_id: bool = setting(True, "append a one-hot agent id to what an agent sees, where parameters are shared")
    policy_gain: float = setting(
        0.01, "size of the policy head's first weights; small = nearly uniform at first", low=0.0
    )
    initial_std: float = setting(
        0.5, "continuous actions: standard deviation at first, where a range is [-1, 1]", low=1e-3
    )


class Body(nn.Module):
    """Layers and memory that the heads stand on."""

    config: Config
    memory: str

    @nn.compact
    def __call__(self, memory: PyTree, x: Array, first: Array) -> tuple[PyTree, Array]:
        """Map memory [B, ..., H] (or ()), x [B, T, ..., F] and first [B, T] to memory and features [B, T, ..., H]."""
        config, activation = self.config, ACTIVATIONS[self.config.activation]

        def layer(x: Array) -> Array:
            x = activation(Dense(config.hidden_size, kernel_init=nn.initializers.orthogonal(2**0.5))(x))
            return nn.LayerNorm()(x) if config.layer_norm else x

        x = nn.LayerNorm()(x) if config.layer_norm else x
        for _ in range(config.num_layers):
            x = layer(x)
        if self.memory == "none":
            return memory, x
        memory, x = GRU(config.hidden_size, name="gru")(memory, x, first)
        return memory, layer(x)


class Actor(nn.Module):
    """The policy's outputs, and the actor's own value.

    Outputs are logits, or means and log standard deviations; the latter are parameters that no input moves, one for
    each of an action's numbers (Schulman et al. 2017; Andrychowicz et al. 2021, "What matters in on-policy
    reinforcement learning").
    """

    config: Config
    num_actions: int
    continuous: bool

    @nn.compact
    def __call__(self, memory: PyTree, x: Array, first: Array) -> tuple[PyTree, Array, Array]:
        """Map x [B, T, ..., F] to (memory, outputs [B, T, ..., P], values [B, T, ...])."""
        memory, features = Body(self.config, self.config.actor_memory, name="body")(memory, x, first)
        head = Dense(
            self.num_actions, kernel_init=nn.initializers.orthogonal(self.config.policy_gain), name="policy_head"
        )
        outputs = head(features)
        if self.continuous:
            start = nn.initializers.constant(math.log(self.config.initial_std))
            outputs = distributions.gaussian_outputs(outputs, self.param("log_std", start, (self.num_actions,)))
        return memory, outputs, _value_head(1)(features)[..., 0]


class Critic(nn.Module):
    """One or several values."""

    config: Config
    num_values: int

    @nn.compact
    def __call__(self, memory: PyTree, x: Array, first: Array) -> tuple[PyTree, Array]:
        """Map x [B, T, ..., F] to (memory, values [B, T, ..., num_values])."""
        memory, features = Body(self.config, self.config.critic_memory, name="body")(memory, x, first)
        return memory, _value_head(self.num_values)(features)


def _value_head(num_values: int) -> Dense:
    return Dense(num_values, kernel_init=nn.initializers.orthogonal(1.0), name=VALUE_HEAD)


VALUE_HEAD = "value_head"


def make(config: Config, spec: EnvSpec) -> Model:
    """Return the actor and critic of a task."""
    actor = _apart(config, spec, Actor(config, spec.actions.size, spec.actions.continuous))
    critic = _apart(config, spec, Critic(config, 1)) if _by_agent(config) else _team_critic(config, spec)
    see = partial(_critic_view, config, spec)

    def init(key: Key) -> Params:
        actor_key, critic_key = jax.random.split(key)
        obs, state = jnp.zeros((1, 1, spec.num_agents, spec.obs.size)), jnp.zeros((1, 1, spec.state.size))
        start, first = memory(1), jnp.zeros((1, 1), bool)
        params = {"actor": actor.init(actor_key, start["actor"], _own_view(config, spec, obs), first)}
        if config.separate_critic:
            params["critic"] = critic.init(critic_key, start["critic"], see(obs, state), first)
        return params

    def memory(batch: int) -> PyTree:
        agents = (batch, spec.num_agents, config.hidden_size)
        critic_shape = agents if _by_agent(config) else (batch, config.hidden_size)
        return {
            "actor": _blank(config.actor_memory, agents),
            "critic": _blank(config.critic_memory if config.separate_critic else "none", critic_shape),
        }

    def policy(params: Params, memory: PyTree, obs: Array, first: Array):
        after, outputs, values = actor.apply(params["actor"], memory["actor"], _own_view(config, spec, obs), first)
        return memory | {"actor": after}, outputs, values

    def value(params: Params, memory: PyTree, obs: Array, state: Array, first: Array):
        if not config.separate_critic:
            memory, _, values = policy(params, memory, obs, first)
            return memory, values
        after, values = critic.apply(params["critic"], memory["critic"], see(obs, state), first)
        return memory | {"critic": after}, values

    face = ActorCritic(
        memory=memory,
        policy=policy,
        value=value,
        rescale_values=_rescale_values,
        distribution=distributions.of(spec.actions),
        separate_critic=config.separate_critic,
        params_by_agent=not config.share_parameters,
        values_by_agent=not config.separate_critic or _by_agent(config) or config.value_per_agent,
    )
    return Model(init=init, acting=partial(_acting, config), actor_critic=face)


def _acting(config: Config, params: Params) -> Params:
    """Return the actor alone, unless the critic has a memory that acting has to carry along."""
    return {name: params[name] for name in params if name == "actor" or config.critic_memory != "none"}


@dataclasses.dataclass(frozen=True)
class _Net:
    """A module's two functions, in the arrangement of agents that was chosen."""

    init: Callable  # key, memory, x, first -> params
    apply: Callable  # params, memory, x, first -> memory, outputs


def _apart(config: Config, spec: EnvSpec, module: nn.Module) -> _Net:
    """Return a module that maps each agent's x [B, T, N, F]: all by one set of parameters, or each by its own, [N,
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


def _team_critic(config: Config, spec: EnvSpec) -> _Net:
    """Return the critic that sees the team's x [B, T, F] once and values it for all agents, [B, T, N]."""
    module = Critic(config, spec.num_agents if config.value_per_agent else 1)

    def apply(params, memory, x, first):
        memory, values = module.apply({"params": params}, memory, x, first)
        return memory, jnp.broadcast_to(values, (*values.shape[:-1], spec.num_agents))

    return _Net(lambda *inputs: module.init(*inputs)["params"], apply)


def _by_agent(config: Config) -> bool:
    """Return whether the critic runs once for each agent."""
    return config.critic_input == "obs" or not config.share_parameters


def _own_view(config: Config, spec: EnvSpec, obs: Array) -> Array:
    """Return what each agent sees [B, T, N, F] of obs [B, T, N, O]."""
    if not (config.agent_id and config.share_parameters):
        return obs
    ids = jnp.broadcast_to(jnp.eye(spec.num_agents, dtype=obs.dtype), (*obs.shape[:-1], spec.num_agents))
    return jnp.concatenate([obs, ids], axis=-1)


def _critic_view(config: Config, spec: EnvSpec, obs: Array, state: Array) -> Array:
    """Return what the critic sees of obs [B, T, N, O] and state [B, T, S]: [B, T, F], by agent [B, T, N, F]."""
    if config.critic_input == "obs":
        return _own_view(config, spec, obs)
    whole = state if config.critic_input == "state" and spec.state.size else obs.reshape(*obs.shape[:2], -1)
    if not _by_agent(config):
        return whole
    return jnp.broadcast_to(whole[:, :, None], (*whole.shape[:2], spec.num_agents, whole.shape[-1]))


def _blank(memory: str, shape: tuple[int, ...]) -> PyTree:
    return () if memory == "none" else jnp.zeros(shape)


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
