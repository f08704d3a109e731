"""Q-values of each agent's actions from its observations and memory, and a mixer of the team's values.

The network of the value-decomposition family: IQL (Tampuu et al. 2017) mixes nothing, VDN sums, and QMIX mixes
with non-negative weights (`mixers.py`). Parameters are shared by all agents. The memory is a GRU (Hausknecht and
Stone 2015, "Deep recurrent Q-learning"). A dueling head (Wang et al. 2016, equation 9) takes the mean over legal
actions alone.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array, EnvSpec, Group, Key, Model, Params, PyTree, QValues, setting
from tandem.models import mixers, pictures
from tandem.models.actor_critic_layers import ACTIVATIONS, Body
from tandem.models.dense import Dense, with_ids
from tandem.models.entities.config import EntityConfig, teams
from tandem.models.entities.team import TeamEncoder, TeamHead, Tokens, most_things
from tandem.models.recurrent import GRU, blank


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(EntityConfig):
    hidden_size: int = setting(64, "width of every layer, and of the memory", low=2, high=4096)
    num_layers: int = setting(2, "number of layers before the memory, or before the head", low=1, high=16)
    activation: str = setting("relu", "nonlinearity of the layers", choices=tuple(ACTIVATIONS))
    layer_norm: bool = setting(False, "whether to normalise the input and every layer's output (LayerNorm)")
    memory: str = setting("none", "each agent's memory over time", choices=("none", "gru"))
    dueling: bool = setting(
        False, "whether the head is dueling: a state value plus the actions' advantages over their mean"
    )
    agent_id: bool = setting(True, "encoder=flat: whether to add a one-hot agent id to observations")
    head_gain: float = setting(
        0.01, "scale of the head's initial weights; if small, initial values are near zero", low=0.0
    )
    mixer: str = setting(
        "sum",
        "what the agents' values are together: nothing, each is fitted by itself (IQL); their sum (VDN); a function of "
        "the global state that rises with each of them (QMIX)",
        choices=("none", "sum", "monotone"),
    )
    mixer_size: int = setting(32, "mixer=monotone: number of the mixer's units", low=1, high=1024)
    hypernet_size: int = setting(
        64, "mixer=monotone: width of the hypernetworks that make its weights", low=1, high=4096
    )


def make(config: Config, spec: EnvSpec) -> Model:
    """Return the Q-values of a task.

    Raises:
      ValueError: entities are requested but there are none.
    """
    groups, shape = teams(config, spec), (1, 1, spec.num_agents)
    agents = Agents(config, spec.actions.size, groups, pictures.eyes(spec, config.hidden_size))
    mixer = mixers.Monotone(config, mixers.eyes(config, spec, groups))

    def own_view(obs: Array) -> Array:
        obs = pictures.flat(obs)
        if groups or not config.agent_id:
            return obs
        return with_ids(obs)

    def memory(batch: int) -> PyTree:
        return blank(config.memory, batch, spec.num_agents, config.hidden_size)

    def init(key: Key) -> Params:
        agents_key, mixer_key = jax.random.split(key)
        obs, legal = jnp.zeros((*shape, spec.obs.size)), jnp.ones((*shape, spec.actions.size), bool)
        first = jnp.zeros((1, 1), bool)
        params = {"agents": agents.init(agents_key, memory(1), own_view(obs), first, legal)["params"]}
        if config.mixer == "monotone":
            state = jnp.zeros((1, 1, spec.state.size))
            params["mixer"] = mixer.init(mixer_key, jnp.zeros(shape), obs, state)["params"]
        return params

    def values(params: Params, memory: PyTree, obs: Array, first: Array, legal: Array) -> tuple[PyTree, Array]:
        return agents.apply({"params": params["agents"]}, memory, own_view(obs), first, legal)

    def mix(params: Params, q: Array, obs: Array, state: Array, alive: Array) -> Array:
        living = jnp.where(alive, q, 0.0)
        if config.mixer == "none":
            return living
        if config.mixer == "sum":
            return jnp.sum(living, axis=-1, keepdims=True)
        return mixer.apply({"params": params["mixer"]}, living, pictures.flat(obs), state)[..., None]

    face = QValues(memory=memory, values=values, mix=mix, by_agent=config.mixer == "none")
    things = most_things(groups)
    return Model(init=init, acting=lambda params: {"agents": params["agents"]}, q_values=face, things=things)


class Agents(nn.Module):
    """The agents' Q-values, all by one set of parameters."""

    config: Any
    num_actions: int
    groups: tuple[Group, ...] = ()  # groups of agents whose x is read as entities; () = x is features
    eyes: nn.Module | None = None  # makes features of images; None = x is features

    @nn.compact
    def __call__(self, memory: PyTree, x: Array, first: Array, legal: Array) -> tuple[PyTree, Array]:
        """Map x [B, T, N, F] to memories after each step [B, T, N, H] (or ()) and values [B, T, N, A]."""
        config, tokens = self.config, dict[str, dict[str, Array]]()
        if self.groups:
            x, tokens = TeamEncoder(config, self.groups, config.hidden_size, name="entities")(x)
        elif self.eyes:
            x = self.eyes(x)
        _, features = Body(config, "none", name="body")((), x, first)
        after = ()
        if config.memory == "gru":
            after = features = GRU(config.hidden_size, name="gru")(memory, features, first)[1]
        return after, worth(config, self.num_actions, self.groups, features, tokens, legal)


def worth(
    config: Any, num_actions: int, groups: tuple[Group, ...], features: Array, tokens: Tokens, legal: Array
) -> Array:  # fmt: skip
    """Return values [B, T, N, A] of features [B, T, N, H] and of entities' tokens, by layers of the calling module."""
    start = nn.initializers.orthogonal(config.head_gain)
    if groups:
        values = TeamHead(groups, num_actions, config.entity_size, start, name="head")(features, tokens)
    else:
        values = Dense(num_actions, kernel_init=start, name="head")(features)
    if not config.dueling:
        return values
    shares = legal / jnp.sum(legal, axis=-1, keepdims=True)
    situation = Dense(1, kernel_init=start, name="situation")(features)
    return values - jnp.sum(shares * values, axis=-1, keepdims=True) + situation
