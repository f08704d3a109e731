"""The settings of networks that see entities, and whether a task's observations describe any."""

import dataclasses

from tandem.core import EnvSpec, Group, Image, Vector, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class EntityConfig:
    encoder: str = setting(
        "flat",
        "how observations are read: flat, as one list of numbers; entities, as the things that they describe, so that "
        "no parameter depends on their number; conv, as pictures; auto, as what the environment shows",
        choices=("flat", "entities", "conv", "auto"),
    )
    entity_size: int = setting(16, "encoder=entities: width of the token of each thing", low=2, high=1024)
    relations: str = setting(
        "allies",
        "encoder=entities: whose distances a thing's token holds: nobody's (none), the teammates' "
        "(allies), everything's (all)",
        choices=("none", "allies", "all"),
    )
    relation_size: int = setting(8, "encoder=entities: width of what describes a pair of things", low=1, high=256)
    pooling: str = setting(
        "attention_max",
        "encoder=entities: how the things of one kind are put together",
        choices=("mean", "max", "attention", "attention_max"),
    )


def teams(config: EntityConfig, spec: EnvSpec) -> tuple[Group, ...]:
    """Return the groups of agents whose observations are read as entities; () where observations are read flat.

    Raises:
      ValueError: entities or pictures are asked for, and the environment shows none; or it shows pictures, and they are
        to be read as something else.
    """
    if isinstance(spec.obs, Image) != (config.encoder == "conv") and config.encoder != "auto":
        shown = (
            "pictures; choose encoder=conv or auto"
            if isinstance(spec.obs, Image)
            else "no pictures; choose encoder=flat or auto"
        )
        raise ValueError(f"network_args.encoder={config.encoder}: this environment's observations are {shown}")
    if config.encoder == "flat" or isinstance(spec.obs, Image):
        return ()
    everybody = Group(name="team", members=tuple(range(spec.num_agents)), obs=spec.obs, actions=spec.actions)
    groups = spec.groups or (everybody,)
    if all(describes(group.obs) for group in groups):
        return groups
    if config.encoder == "entities":
        raise ValueError(
            "network_args.encoder=entities: this environment does not say what its observations describe; choose "
            "encoder=flat or auto"
        )
    return ()


def describes(space: object) -> bool:
    """Return whether observations of a space are described as entities."""
    return isinstance(space, Vector) and bool(space.entities)
