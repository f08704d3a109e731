"""Arrays, keys and trees of them, and the decorator that makes a record a tree."""

from typing import Any, dataclass_transform

import jax
from flax import struct

Array = jax.Array
Key = jax.Array
Params = Any
PyTree = Any


@dataclass_transform(kw_only_default=True, frozen_default=True)
def pytree(record: type) -> Any:
    """Return a class of fields as a frozen dataclass that is a tree of arrays, with a method `replace`."""
    return struct.dataclass(record, kw_only=True)
