"""Spaces of observations, global states and actions: static, hashable facts about an environment."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core.arrays import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entities:
    """Features of a flat observation that describe `count` things of one kind, `width` features each.

    They lie in one or more parts. A part lists the things one after the other, with some features of each. If an
    observation lists all positions first and then all velocities, these are two parts.
    """

    # "own", "ally" (all teammates are in the order of the agents), "enemy", "landmark", ...; no two blocks of an
    # observation have the same
    kind: str
    count: int
    parts: tuple[tuple[int, int], ...]  # (index of the part's first feature, how many features of each thing it has)
    first_action: int = -1  # action `first_action + k` targets the k-th of them; -1 = none does
    absent: tuple[float, ...] = ()  # the row [width] that marks a thing as gone or out of sight; () = all are visible
    place: tuple[int, ...] = ()  # features of a row that are its position; () = unknown
    relative: bool = False  # its position is relative to the observer's; else it is absolute, as the observer's own
    scale: tuple[float, ...] = ()  # [width] the usual size of each feature, by which networks divide; () = about one

    @property
    def width(self) -> int:
        return sum(width for _, width in self.parts)

    def rows(self, obs: Array) -> Array:
        """Return the rows [..., count, width] of these things in observations [..., O], with all parts joined."""
        parts = [obs[..., start : start + self.count * width] for start, width in self.parts]
        return jnp.concatenate([part.reshape(*obs.shape[:-1], self.count, -1) for part in parts], axis=-1)

    def shown(self, rows: Array) -> Array | None:
        """Return which things in rows [..., count, width] are present and visible [..., count]; None: all are."""
        return jnp.any(rows != jnp.broadcast_to(jnp.array(self.absent), rows.shape), axis=-1) if self.absent else None


@dataclasses.dataclass(frozen=True)
class Vector:
    """`size` float32 features; 0 = there are none. `entities` says which features describe what, if that is known."""

    size: int
    entities: tuple[Entities, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)


@dataclasses.dataclass(frozen=True)
class Image:
    """A picture of float32 pixels in [0, 1], height by width by channels."""

    shape: tuple[int, int, int]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@dataclasses.dataclass(frozen=True)
class Discrete:
    """One of `size` choices: an agent's action is [] int32."""

    size: int
    continuous = False
    shape = ()
    dtype = jnp.int32

    def encode(self, action: Array, dtype: jnp.dtype = jnp.float32) -> Array:
        """Return actions [...] as features [..., A], for a network to read."""
        return jax.nn.one_hot(action, self.size, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class Numbers:
    """`size` numbers at once: an agent's action is [A] float32 of any size, which the environment clips to [-1, 1]."""

    size: int
    continuous = True
    dtype = jnp.float32

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    def encode(self, action: Array, dtype: jnp.dtype = jnp.float32) -> Array:
        """Return actions [..., A] as features [..., A] for a network: clipped, as the environment clips them."""
        return jnp.clip(action, -1.0, 1.0).astype(dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Agents with equal spaces: their part of the team's padded spaces."""

    name: str
    members: tuple[int, ...]  # indices of agents
    obs: Vector | Image
    actions: Discrete | Numbers


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnvSpec:
    """The static facts of an environment; hashable, so it may be closed over or passed as a static argument.

    All agents have the same spaces. If agents differ, observations are padded with zeros, actions are masked by
    `TimeStep.legal`, and `groups` gives each agent's own part. Without groups all agents are alike.
    """

    num_agents: int
    obs: Vector | Image
    state: Vector
    actions: Discrete | Numbers
    episode_limit: int  # environment steps after which an episode is truncated
    shared_reward: bool  # True: every agent gets the team's reward; False: the team's reward is the sum over agents
    metric_names: tuple[str, ...] = ()  # keys of TimeStep.metrics, each read at the last step of an episode
    groups: tuple[Group, ...] = ()  # every agent is in one of them, or there are none
