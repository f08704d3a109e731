"""A policy per agent and two Q-functions, for soft actor-critics with discrete actions; feed-forward.

Discrete soft actor-critic (Christodoulou 2019, "Soft actor-critic for discrete action settings"). Parameters are shared
by all agents. A critic sees its agent's observation (`own`), or the global state and the others' actions (`central`).
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array, EnvSpec, Key, Model, Params, SoftActorCritic, setting
from tandem.models.actor_critic_layers import ACTIVATIONS, Body
from tandem.models.dense import Dense, with_ids
from tandem.models.entities.config import EntityConfig, teams
from tandem.models.entities.team import TeamEncoder, TeamHead, most_things

NUM_CRITICS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(EntityConfig):
    hidden_size: int = setting(64, "width of every layer", low=2, high=4096)
    num_layers: int = setting(2, "number of layers before the head", low=1, high=16)
    activation: str = setting("relu", "nonlinearity of the layers", choices=tuple(ACTIVATIONS))
    layer_norm: bool = setting(False, "whether to normalise the input and every layer's output (LayerNorm)")
    critic_input: str = setting(
        "own", "what a critic sees: its agent's obs, or the global state (all obs where there is none) and what the "
        "others play", choices=("own", "central"),
    )  # fmt: skip
    agent_id: bool = setting(True, "whether to add a one-hot agent id, for encoder=flat and for central critics")
    head_gain: float = setting(0.01, "scale of the heads' initial weights", low=0.0)


def make(config: Config, spec: EnvSpec) -> Model:
    """Return the policy and the critics of a task.

    Raises:
      ValueError: entities are requested but there are none.
    """
    groups = teams(config, spec)
    reader = Reader(config, spec.actions.size, groups)
    critic = Reader(config, spec.actions.size, groups if config.critic_input == "own" else ())

    def with_id(x: Array, wanted: bool) -> Array:
        if not (wanted and config.agent_id):
            return x
        return with_ids(x)

    def seen(obs: Array, state: Array, action: Array) -> Array:
        """Return the critics' input [..., N, F]."""
        if config.critic_input == "own":
            return with_id(obs, not groups)
        obs = obs[..., : spec.obs.size]  # without what is hidden from the agents
        whole = state if spec.state.size else obs.reshape(*obs.shape[:-2], -1)
        whole = jnp.broadcast_to(whole[..., None, :], (*obs.shape[:-1], whole.shape[-1]))
        played = spec.actions.encode(action)[..., None, :, :]  # [..., 1, N, A]
        others = (1.0 - jnp.eye(spec.num_agents))[..., None].reshape(
            (1,) * (obs.ndim - 2) + (*[spec.num_agents] * 2, 1)
        )
        return with_id(jnp.concatenate([whole, (played * others).reshape(*obs.shape[:-1], -1)], axis=-1), True)

    def init(key: Key) -> Params:
        actor_key, critic_key = jax.random.split(key)
        obs, state = jnp.zeros((1, spec.num_agents, spec.obs.size)), jnp.zeros((1, spec.state.size))
        shown = seen(obs, state, jnp.zeros((1, spec.num_agents), jnp.int32))
        each = jax.vmap(lambda key: critic.init(key, shown)["params"])
        return {
            "actor": reader.init(actor_key, with_id(obs, not groups))["params"],
            "critics": each(jax.random.split(critic_key, NUM_CRITICS)),
        }

    def policy(params: Params, obs: Array) -> Array:
        return reader.apply({"params": params["actor"]}, with_id(obs, not groups))

    def critics(params: Params, obs: Array, state: Array, action: Array) -> Array:
        shown = seen(obs, state, action)
        return jax.vmap(lambda each: critic.apply({"params": each}, shown))(params["critics"])

    face = SoftActorCritic(policy=policy, critics=critics, central=config.critic_input == "central")
    things = most_things(groups)
    return Model(init=init, acting=lambda params: {"actor": params["actor"]}, soft_actor_critic=face, things=things)


class Reader(nn.Module):
    """Layers from each agent's input to a number for each of its actions."""

    config: Any
    num_actions: int
    groups: tuple = ()  # groups of agents whose x is read as entities; () = x is features

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map x [..., N, F] to [..., N, A]."""
        config, start = self.config, nn.initializers.orthogonal(self.config.head_gain)
        if self.groups:
            x, tokens = TeamEncoder(config, self.groups, config.hidden_size, name="entities")(x)
        _, features = Body(config, "none", name="body")((), x, None)
        if not self.groups:
            return Dense(self.num_actions, kernel_init=start, name="head")(features)
        return TeamHead(self.groups, self.num_actions, config.entity_size, start, name="head")(features, tokens)
