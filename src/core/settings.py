"""How a part declares its settings."""

import dataclasses
from typing import Any


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple | None = None,
    decides: bool = True,
):
    """Return a dataclass field for a part's `Config`: its default, its one-line meaning and the values it may take.

    `low` and `high` are inclusive. The configuration loader checks type, range and choices and prints `help`. A setting
    with `decides=False` says where and how a run is recorded, so runs that differ only in it count as equal.
    """
    metadata = {"help": help, "low": low, "high": high, "choices": choices, "decides": decides}
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)
