"""The modules of an actor and a critic: layers, memory and heads."""

import math
from typing import Any

import flax.linen as nn

from tandem.core import Array, Group, PyTree
from tandem.models.dense import Dense
from tandem.models.entities.team import TeamEncoder, TeamHead
from tandem.models.recurrent import GRU
from tandem.ops import distributions

ACTIVATIONS = {"relu": nn.relu, "tanh": nn.tanh}
VALUE_HEAD = "value_head"


class Body(nn.Module):
    """Layers and memory below the heads."""

    config: Any  # of models.actor_critic
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

    Outputs are logits, of each number's choices where actions are numbers in bins; or means and log standard
    deviations. The latter are parameters that do not depend on the input, one for each of an action's numbers
    (Schulman et al. 2017; Andrychowicz et al. 2021, "What matters in on-policy reinforcement learning").
    """

    config: Any
    num_actions: int
    continuous: bool
    groups: tuple[Group, ...] = ()  # groups of agents whose x is read as entities; () = x is features
    eyes: nn.Module | None = None  # makes features of images; None = x is features

    @nn.compact
    def __call__(self, memory: PyTree, x: Array, first: Array) -> tuple[PyTree, Array, Array]:
        """Map x [B, T, ..., F] to (memory, outputs [B, T, ..., P], values [B, T, ...])."""
        config, start = self.config, nn.initializers.orthogonal(self.config.policy_gain)
        if self.groups:
            x, tokens = TeamEncoder(config, self.groups, config.hidden_size, name="entities")(x)
        elif self.eyes:
            x = self.eyes(x)
        memory, features = Body(config, config.actor_memory, name="body")(memory, x, first)
        bins = config.action_bins if self.continuous else 0
        if self.groups and not bins:  # numbers have no targets
            head = TeamHead(self.groups, self.num_actions, config.entity_size, start, name="policy_head")
            outputs = head(features, tokens)
        else:
            outputs = Dense(self.num_actions * max(bins, 1), kernel_init=start, name="policy_head")(features)
        if self.continuous and not bins:
            start = nn.initializers.constant(math.log(self.config.initial_std))
            outputs = distributions.gaussian_outputs(outputs, self.param("log_std", start, (self.num_actions,)))
        return memory, outputs, _value_head(1)(features)[..., 0]


class Critic(nn.Module):
    """One or several values."""

    config: Any
    num_values: int
    eyes: nn.Module | None = None  # encoder of x; None = x is features

    @nn.compact
    def __call__(self, memory: PyTree, x: Array, first: Array) -> tuple[PyTree, Array]:
        """Map x [B, T, ..., F] to (memory, values [B, T, ..., num_values])."""
        x = x if self.eyes is None else self.eyes(x)
        memory, features = Body(self.config, self.config.critic_memory, name="body")(memory, x, first)
        return memory, _value_head(self.num_values)(features)


def _value_head(num_values: int) -> Dense:
    return Dense(num_values, kernel_init=nn.initializers.orthogonal(1.0), name=VALUE_HEAD)
