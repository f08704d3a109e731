"""Entities as a team sees them: groups of agents that see and do different things, and actions at targets."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from tandem.core import Array, Group, Vector
from tandem.models.dense import Dense
from tandem.models.entities.config import EntityConfig
from tandem.models.entities.encoder import Encoder
from tandem.models.entities.view import num_things, shares_map, team_view, view

Tokens = dict[str, dict[str, Array]]  # {group: {kind: [..., n, C, H]}}


class TeamEncoder(nn.Module):
    """What each agent makes of its own observation."""

    config: EntityConfig
    groups: tuple[Group, ...]
    size: int

    @nn.compact
    def __call__(self, obs: Array) -> tuple[Array, Tokens]:
        """Map obs [..., N, O] to features [..., N, F] and tokens."""
        features, tokens = {}, {}
        for group in self.groups:
            own = observed(self.groups, group, obs)
            known, tokens[group.name] = Encoder(self.config, name=group.name)(view(group.obs, own))
            if len(self.groups) > 1:  # kinds differ, so widths do
                known = nn.relu(Dense(self.size, name=f"{group.name}_out")(known))
            features[group.name] = known
        return together(self.groups, features), tokens


class Alone(nn.Module):
    """What each agent makes of its own observation, for a critic."""

    config: EntityConfig
    groups: tuple[Group, ...]
    size: int

    @nn.compact
    def __call__(self, obs: Array) -> Array:
        """Map obs [..., N, O] to features [..., N, F]."""
        return TeamEncoder(self.config, self.groups, self.size, name="team")(obs)[0]


class Whole(nn.Module):
    """What the global state says, for a critic."""

    config: EntityConfig
    space: Vector

    @nn.compact
    def __call__(self, state: Array) -> Array:
        """Map state [..., S] to features [..., F]."""
        return Encoder(self.config, name="state")(view(self.space, state))[0]


class WholeTeam(nn.Module):
    """What the observations of all agents say together, for a critic; the dead add nothing.

    Where all see the same things these are looked at once, and not by every agent anew.
    """

    config: EntityConfig
    groups: tuple[Group, ...]
    size: int
    per_agent: bool = False

    @nn.compact
    def __call__(self, obs: Array) -> Array:
        """Map obs [..., N, O] to features [..., F], or with `per_agent` to [..., N, F]."""
        if len(self.groups) == 1 and not self.per_agent and shares_map(self.groups[0].obs):
            return Encoder(self.config, name="map")(team_view(self.groups[0].obs, obs))[0]
        each = nn.relu(Dense(self.size, name="each")(Alone(self.config, self.groups, self.size, name="alone")(obs)))
        there = awake(self.groups, obs)[..., None]
        mean = jnp.sum(jnp.where(there, each, 0.0), axis=-2) / jnp.maximum(there.sum(axis=-2), 1)
        team = jnp.concatenate([mean, jnp.max(jnp.where(there, each, 0.0), axis=-2)], axis=-1)
        if not self.per_agent:
            return team
        spread = jnp.broadcast_to(team[..., None, :], (*each.shape[:-1], team.shape[-1]))
        return jnp.concatenate([each, spread], axis=-1)


def observed(groups: tuple[Group, ...], group: Group, obs: Array) -> Array:
    """Return what a group's agents observe [..., n, O] of everybody's observations [..., N, O], without the padding.

    What follows observations says which things are hidden, and stays.
    """
    if len(groups) == 1:
        return obs
    mine, padded = obs[..., list(group.members), :], max(each.obs.size for each in groups)
    if obs.shape[-1] == padded:
        return mine[..., : group.obs.size]
    flags = mine[..., padded : padded + num_things(group.obs)]
    return jnp.concatenate([mine[..., : group.obs.size], flags], axis=-1)


def most_things(groups: tuple[Group, ...]) -> int:
    """Return the most things beside itself that an agent observes; 0 without groups."""
    return max((num_things(group.obs) for group in groups), default=0)


def together(groups: tuple[Group, ...], by_group: dict[str, Array]) -> Array:
    """Return what groups of agents have, {group: [..., n, F]}, in the order of the agents [..., N, F]."""
    if len(groups) == 1:
        return by_group[groups[0].name]
    order = np.argsort([agent for group in groups for agent in group.members])
    return jnp.concatenate([by_group[group.name] for group in groups], axis=-2)[..., order, :]


def awake(groups: tuple[Group, ...], obs: Array) -> Array:
    """Return whose observation [..., N, O] shows it alive, [..., N] bool."""
    by_group = {}
    for group in groups:
        own = observed(groups, group, obs)
        seen = view(group.obs, own).awake
        by_group[group.name] = (jnp.ones(own.shape[:-1], bool) if seen is None else seen)[..., None]
    return together(groups, by_group)[..., 0]


class TeamHead(nn.Module):
    """What an action is worth or how likely it is: at a target, by what is known of that; of any other, by features."""

    groups: tuple[Group, ...]
    num_actions: int
    hidden: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, features: Array, tokens: Tokens) -> Array:
        """Map features [..., N, F] and tokens to outputs [..., N, A]; actions of the padding have zeros."""
        by_group = {}
        for group in self.groups:
            own = features if len(self.groups) == 1 else features[..., list(group.members), :]
            outputs = self._outputs(group, own, tokens[group.name])
            rest = self.num_actions - outputs.shape[-1]
            by_group[group.name] = jnp.pad(outputs, [(0, 0)] * (outputs.ndim - 1) + [(0, rest)]) if rest else outputs
        return together(self.groups, by_group)

    def _outputs(self, group: Group, features: Array, tokens: dict[str, Array]) -> Array:
        """Return a group's outputs [..., n, A]."""
        targets = sorted((block.first_action, block) for block in group.obs.entities if block.first_action >= 0)
        aimed = sum(block.count for _, block in targets)
        plain = Dense(group.actions.size - aimed, kernel_init=self.kernel_init, name=f"{group.name}_plain")(features)
        parts, done = [], 0
        for first, block in targets:
            parts.append(plain[..., done : done + first - sum(part.shape[-1] for part in parts)])
            done += parts[-1].shape[-1]
            parts.append(self._at(f"{group.name}_{block.kind}", features, tokens[block.kind]))
        return jnp.concatenate([*parts, plain[..., done:]], axis=-1)

    def _at(self, name: str, features: Array, tokens: Array) -> Array:
        """Return the outputs [..., n, C] of actions at things with tokens [..., n, C, H]."""
        own = Dense(self.hidden, name=f"{name}_actor")(features)[..., None, :]
        pair = nn.relu(own + Dense(self.hidden, name=f"{name}_target")(tokens))
        return Dense(1, kernel_init=self.kernel_init, name=name)(pair)[..., 0]
