"""Mixers of the agents' values into the team's value, which never falls when an agent's value rises.

VDN (Sunehag et al. 2018, "Value-decomposition networks") sums the values. QMIX (Rashid et al. 2018, "QMIX: Monotonic
value function factorisation", section 4.1 and figure 2) puts them through a layer whose weights are not negative and
come from hypernetworks over the global state.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array, EnvSpec, Group
from tandem.models.dense import Dense
from tandem.models.entities.encoder import Encoder
from tandem.models.entities.team import WholeTeam
from tandem.models.entities.view import ALLY, view

GAIN = 0.1  # scale of a hypernetwork's last layer: the weights start near their bias, but differ from one another


class Monotone(nn.Module):
    """QMIX's mixer. At the start it is nearly a sum, so values near zero give a value near zero."""

    config: Any  # of models.q_network
    eyes: nn.Module  # obs, state -> features of the team [..., F], and of each agent [..., N, F] or None

    @nn.compact
    def __call__(self, q: Array, obs: Array, state: Array) -> Array:
        """Map q [..., N], obs [..., N, O] and state [..., S] to the team's value [...]."""
        size, hidden = self.config.mixer_size, self.config.hypernet_size
        share = size**-0.5  # scale of both layers' weights: their product, summed over the units, is one
        team, each = self.eyes(obs, state)
        if each is None:
            weights = Hypernet(hidden, q.shape[-1] * size, share, name="first")(team)
            weights = weights.reshape(*q.shape, size)
        else:
            spread = jnp.broadcast_to(team[..., None, :], (*each.shape[:-1], team.shape[-1]))
            weights = Hypernet(hidden, size, share, name="first")(jnp.concatenate([each, spread], axis=-1))
        bias = Dense(size, kernel_init=nn.initializers.orthogonal(GAIN), name="first_bias")(team)
        units = nn.elu(product("...n,...nu->...u", q, jnp.abs(weights)) + bias)
        outer = jnp.abs(Hypernet(hidden, size, share, name="second")(team))
        return product("...u,...u->...", units, outer) + Hypernet(size, 1, 0.0, name="value")(team)[..., 0]


def product(axes: str, x: Array, weights: Array) -> Array:
    """Return the sums of products along axes, in full precision.

    Sums written out are as fast alone. But where one state has many joint actions, as in a penalty on values, they took
    18 ms with their gradients, and products of matrices 4 (20 joint actions, 640 states, 3 agents, 32 units).
    """
    return jnp.einsum(axes, x, weights, precision=jax.lax.Precision.HIGHEST)


class Hypernet(nn.Module):
    """A layer and outputs, whose bias begins where the outputs are to begin."""

    hidden: int
    outputs: int
    start: float

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [..., F] to [..., outputs]."""
        x = nn.relu(Dense(self.hidden, kernel_init=nn.initializers.orthogonal(2**0.5), name="hidden")(x))
        return Dense(
            self.outputs, kernel_init=nn.initializers.orthogonal(GAIN), bias_init=nn.initializers.constant(self.start),
            name="outputs",
        )(x)  # fmt: skip


class FlatEyes(nn.Module):
    """The global state, or all observations if there is none; agents are distinguished by their position in it."""

    @nn.compact
    def __call__(self, obs: Array, state: Array) -> tuple[Array, None]:
        """Map obs [..., N, O] and state [..., S] to [..., F]."""
        return (state if state.shape[-1] else obs.reshape(*obs.shape[:-2], -1)), None


class StateEyes(nn.Module):
    """The global state as entities, which include the team; no parameter depends on their number."""

    config: Any
    spec: EnvSpec

    @nn.compact
    def __call__(self, obs: Array, state: Array) -> tuple[Array, Array]:
        """Map state [..., S] to [..., F] and [..., N, F]."""
        features, tokens = Encoder(self.config, name="state")(view(self.spec.state, state))
        return features, tokens[ALLY]


class TeamEyes(nn.Module):
    """All agents' observations as entities; no parameter depends on their number."""

    config: Any
    groups: tuple[Group, ...]

    @nn.compact
    def __call__(self, obs: Array, state: Array) -> tuple[Array, Array]:
        """Map obs [..., N, O] to [..., F] and [..., N, F]."""
        size = self.config.hidden_size
        known = WholeTeam(self.config, self.groups, size, per_agent=True, name="team")(obs)
        return known[..., 0, size:], known[..., :size]


def eyes(config: Any, spec: EnvSpec, groups: tuple[Group, ...]) -> nn.Module:
    """Return a mixer's encoder; `groups` are those whose observations are read as entities, () if none are.

    The state's entities are used if its teammates are the agents, in their order, as in SMAX.
    """
    if not groups:
        return FlatEyes()
    if any(block.kind == ALLY and block.count == spec.num_agents for block in spec.state.entities):
        return StateEyes(config, spec)
    return TeamEyes(config, groups)
