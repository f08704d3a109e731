"""Groups of agents with equal spaces."""

from collections.abc import Sequence

from tandem.core import Discrete, Group, Image, Numbers, Vector


def alike(
    names: Sequence[str], obs: Sequence[Vector | Image], actions: Sequence[Discrete | Numbers]
) -> tuple[Group, ...]:
    """Return the groups of agents with equal spaces, in the order of their first members; () if all are alike.

    Args:
      names: of the agents [N]; a group has the name of its first member.
      obs: observation space of each agent [N], without padding.
      actions: action space of each agent [N], without padding.
    """
    members: dict[tuple, list[int]] = {}
    for i, kind in enumerate(zip(obs, actions, strict=True)):
        members.setdefault(kind, []).append(i)
    if len(members) == 1:
        return ()
    return tuple(Group(name=names[who[0]], members=tuple(who), obs=o, actions=a) for (o, a), who in members.items())


def common(spaces: Sequence[Vector]) -> Vector:
    """Return the space of observations padded to the largest; it has entities if all agents' spaces are equal."""
    return spaces[0] if len(set(spaces)) == 1 else Vector(max(space.size for space in spaces))
