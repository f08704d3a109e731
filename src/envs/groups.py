"""Agents that differ, sorted into groups that are alike."""

from collections.abc import Sequence

from tandem.core import Discrete, Group, Image, Numbers, Vector


def alike(
    names: Sequence[str], obs: Sequence[Vector | Image], actions: Sequence[Discrete | Numbers]
) -> tuple[Group, ...]:
    """Return the groups of agents with equal spaces, in the order of their first members; () where all are alike.

    Args:
      names: of the agents [N]; a group takes its first member's.
      obs: what each agent [N] observes, without the padding.
      actions: what each agent [N] may do, without the padding.
    """
    members: dict[tuple, list[int]] = {}
    for i, kind in enumerate(zip(obs, actions, strict=True)):
        members.setdefault(kind, []).append(i)
    if len(members) == 1:
        return ()
    return tuple(Group(name=names[who[0]], members=tuple(who), obs=o, actions=a) for (o, a), who in members.items())


def common(spaces: Sequence[Vector]) -> Vector:
    """Return the space of observations padded to the largest; it has entities where all agents' spaces are equal."""
    return spaces[0] if len(set(spaces)) == 1 else Vector(max(space.size for space in spaces))
