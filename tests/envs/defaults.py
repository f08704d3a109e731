"""What the conformance suites play where nobody has chosen settings: an environment's defaults, in short episodes."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from tandem.registry import ENVS

LIMIT = 3


def default_cases(chosen: Iterable[tuple[str, Any]], *, host: bool) -> Iterator[tuple[str, Any]]:
    """Yield (registry name, Config) for each environment of a kind of which there is none among the chosen cases."""
    names = {name for name, _ in chosen}
    for name, entry in ENVS.items():
        if entry.host == host and name not in names and not entry.recorded:  # which has no episodes without a dataset
            config = entry.config()
            limited = "episode_limit" in {field.name for field in dataclasses.fields(config)}
            yield name, config(episode_limit=LIMIT) if limited else config()
