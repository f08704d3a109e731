"""Compiling for tests: most of a test's time is XLA's, and small programs run as well without its costly passes."""

from collections.abc import Callable

import jax


def quick_jit(function: Callable, **kwargs) -> Callable:
    """Return `jax.jit(function)` compiled without backend optimisation: half the compile time,
    the same numbers up to rounding.
    """
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0}, **kwargs)
