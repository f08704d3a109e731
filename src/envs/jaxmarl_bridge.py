"""Shared by JaxMARL's environments: a quiet import, and states whose types stay the same at every step."""

import contextlib
import io
import sys
from collections.abc import Iterator
from unittest import mock

import jax
import jax.numpy as jnp

from tandem.core import PyTree


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Suppress what JaxMARL prints on import, and restore both streams.

    Its import sets sys.stdout and sys.stderr to the interpreter's own streams and leaves them there, which would end
    the capturing of Sacred or pytest.
    """
    nowhere = io.StringIO()
    with (
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(sys.stderr),
        mock.patch.object(sys, "__stdout__", nowhere),
    ):
        yield


# If brax is installed, JaxMARL imports it and MuJoCo, which takes longer than all the rest. Only `mabrax` needs
# them, and it imports them itself. A module that is None cannot be imported.
sys.modules.setdefault("brax", None)
with quiet_import():
    import jaxmarl
    from jaxmarl.environments import mpe, smax
if sys.modules["brax"] is None:
    del sys.modules["brax"]

__all__ = ["jaxmarl", "mpe", "quiet_import", "smax", "strong_types"]


def strong_types(tree: PyTree) -> PyTree:
    """Return the same values without weak types. JaxMARL's types differ between reset and step, and each change makes
    a loop compile again.
    """
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), tree)
