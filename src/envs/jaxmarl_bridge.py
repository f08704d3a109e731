"""What all JaxMARL environments need: a quiet import, and states whose types do not change from step to step."""

import contextlib
import io
import sys
from unittest import mock

import jax
import jax.numpy as jnp

from src.core import PyTree

# JaxMARL's import points sys.stdout and sys.stderr at the interpreter's own streams and leaves them there, which would end
# any capturing in force (Sacred's, pytest's); both are put back here, and what it prints in between is dropped.
_nowhere = io.StringIO()
with (
    contextlib.redirect_stdout(_nowhere),
    contextlib.redirect_stderr(sys.stderr),
    mock.patch.object(sys, "__stdout__", _nowhere),
):
    import jaxmarl
    from jaxmarl.environments import mpe, smax

__all__ = ["jaxmarl", "mpe", "smax", "strong_types"]


def strong_types(tree: PyTree) -> PyTree:
    """Return the same values without weak types: JaxMARL's differ between reset and step, and each makes a loop compile anew."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), tree)
