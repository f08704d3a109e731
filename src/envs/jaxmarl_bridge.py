"""What all JaxMARL environments need: a quiet import, and states whose types do not change from step to step."""

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
    """Drop what JaxMARL prints while it is imported, and put both streams back.

    Its import points sys.stdout and sys.stderr at the interpreter's own streams and leaves them there, which would
    end any capturing in force (Sacred's, pytest's).
    """
    nowhere = io.StringIO()
    with (
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(sys.stderr),
        mock.patch.object(sys, "__stdout__", nowhere),
    ):
        yield


# Where brax is installed JaxMARL imports it, and with it MuJoCo, which takes longer than all the rest; `mabrax`,
# which alone needs them, does it itself. A module that is None cannot be imported.
sys.modules.setdefault("brax", None)
with quiet_import():
    import jaxmarl
    from jaxmarl.environments import mpe, smax
if sys.modules["brax"] is None:
    del sys.modules["brax"]

__all__ = ["jaxmarl", "mpe", "quiet_import", "smax", "strong_types"]


def strong_types(tree: PyTree) -> PyTree:
    """Return the same values without weak types: JaxMARL's differ between reset and step, and each makes a loop
    compile anew.
    """
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), tree)
