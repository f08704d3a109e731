"""What all JaxMARL environments need: a quiet import, and states whose types do not change from step to step."""

import contextlib
import importlib.util
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


@contextlib.contextmanager
def without_the_rest() -> Iterator[None]:
    """Import modules of JaxMARL without its other environments.

    Its two outermost packages import all environments, of which one computes for seconds while it is imported, and
    where brax is installed MuJoCo too. So these two stand as empty packages meanwhile. Whoever imports JaxMARL later
    gets it whole, with the same modules.
    """
    outer = ("jaxmarl", "jaxmarl.environments")
    if "jaxmarl" in sys.modules:  # whole, by another's import
        yield
        return
    try:
        for name in outer:
            sys.modules[name] = importlib.util.module_from_spec(importlib.util.find_spec(name))
        yield
    finally:
        for name in outer:
            sys.modules.pop(name, None)


with quiet_import(), without_the_rest():
    from jaxmarl.environments import mpe, smax
    from jaxmarl.environments.switch_riddle import SwitchRiddle

__all__ = ["SwitchRiddle", "mpe", "quiet_import", "smax", "strong_types", "without_the_rest"]


def strong_types(tree: PyTree) -> PyTree:
    """Return the same values without weak types: JaxMARL's differ between reset and step, and each makes a loop
    compile anew.
    """
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), tree)
