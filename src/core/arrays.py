"""What everything is made of: arrays, keys, trees of them, and the decorator that makes a record one."""

from functools import partial
from typing import Any

import jax
from flax import struct

Array = jax.Array
Key = jax.Array
Params = Any
PyTree = Any

pytree = partial(struct.dataclass, kw_only=True)
