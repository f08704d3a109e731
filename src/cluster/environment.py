"""The environment variables of Ray and its processes. Import this before Ray, which reads some of them on import."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tandem import program

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # Ray's messages would break the progress bar; Tandem reports them itself
    "RAY_worker_niceness": "0",  # Ray's 15 would starve actors and trials if other programs compute
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
for _key, _value in QUIET.items():
    os.environ.setdefault(_key, _value)


def python_path() -> str:
    """Return the PYTHONPATH on which a process finds Tandem; an installed one needs none."""
    root = program.checkout()
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*([str(root)] if root else []), *filter(None, before)]))


def told(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for processes on a cluster's other machines; those on this machine inherit it.

    Args:
      extra: other variables that the cluster's user sets for them.
    """
    quiet = {name: os.environ.get(name, value) for name, value in QUIET.items()}
    return {**quiet, "PYTHONPATH": python_path(), **extra}


@contextmanager
def variables(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set these environment variables within this context; None = the variable is unset."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
