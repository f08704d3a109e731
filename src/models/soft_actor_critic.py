"""A policy per agent and two Q-functions, for soft actor-critics; feed-forward.

Parameters are shared by all agents. A critic sees its agent's observation (`own`), or the global state and the others'
actions (`central`). It says what each action of a list is worth (Christodoulou 2019, "Soft actor-critic for discrete
action settings"), or reads the numbers that its agent plays (Haarnoja et al. 2018, "Soft actor-critic").
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
from tandem.ops.distributions import CATEGORICAL, SQUASHED, squashed_outputs

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
    groups, continuous = teams(config, spec), spec.actions.continuous
    reader = Reader(config, spec.actions.size, groups, ("head", "spread") if continuous else ("head",))
    critic = Reader(config, 1 if continuous else spec.actions.size, groups if config.critic_input == "own" else ())

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
        action = jnp.zeros((1, spec.num_agents, *spec.actions.shape), spec.actions.dtype)
        shown, own = seen(obs, state, action), action if continuous else None
        each = jax.vmap(lambda key: critic.init(key, shown, own)["params"])
        return {
            "actor": reader.init(actor_key, with_id(obs, not groups))["params"],
            "critics": each(jax.random.split(critic_key, NUM_CRITICS)),
        }

    def policy(params: Params, obs: Array) -> Array:
        outputs = reader.apply({"params": params["actor"]}, with_id(obs, not groups))
        return squashed_outputs(*jnp.split(outputs, 2, axis=-1)) if continuous else outputs

    def critics(params: Params, obs: Array, state: Array, action: Array, own: Array | None = None) -> Array:
        shown, own = seen(obs, state, action), spec.actions.encode(own) if continuous else None
        values = jax.vmap(lambda each: critic.apply({"params": each}, shown, own))(params["critics"])
        return values[..., 0] if continuous else values

    face = SoftActorCritic(
        policy=policy, critics=critics, distribution=SQUASHED if continuous else CATEGORICAL,
        central=config.critic_input == "central",
    )  # fmt: skip
    things = most_things(groups)
    return Model(init=init, acting=lambda params: {"actor": params["actor"]}, soft_actor_critic=face, things=things)


class Reader(nn.Module):
    """Layers from each agent's input to a number for each of its actions, or several (`heads`)."""

    config: Any
    num_actions: int
    groups: tuple = ()  # groups of agents whose x is read as entities; () = x is features
    heads: tuple[str, ...] = ("head",)

    @nn.compact
    def __call__(self, x: Array, own: Array | None = None) -> Array:
        """Map x [..., N, F], and the numbers [..., N, A] that agents play where a critic reads them, to [..., N, A]."""
        config, start = self.config, nn.initializers.orthogonal(self.config.head_gain)
        if self.groups:
            x, tokens = TeamEncoder(config, self.groups, config.hidden_size, name="entities")(x)
        x = x if own is None else jnp.concatenate([x, own], axis=-1)
        _, features = Body(config, "none", name="body")((), x, None)

        def outputs(name: str) -> Array:
            if not self.groups or own is not None:
                return Dense(self.num_actions, kernel_init=start, name=name)(features)
            return TeamHead(self.groups, self.num_actions, config.entity_size, start, name=name)(features, tokens)

        return jnp.concatenate([outputs(name) for name in self.heads], axis=-1)
