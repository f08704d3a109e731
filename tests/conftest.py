"""What all tests share: strict JAX, and compiled programs kept on disk between tests and between runs of the suite."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem" / "tests"


def pytest_configure() -> None:
    """Set JAX up before any test module imports it; commands that tests start in a subprocess share the cache."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # What users run: `build.prepare_jax` turns this slow fusion off, and not every test goes through it.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_writable(CACHE)))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")


def _writable(folder: Path) -> Path:
    """Return the folder, or a temporary one where a home directory cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="tandem-tests-"))


@pytest.fixture(autouse=True)
def strict_ranks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Silent broadcasting between arrays of different ranks is an error; mark `jaxmarl` where its code relies on it."""
    import jax

    with jax.numpy_rank_promotion("allow" if request.node.get_closest_marker("jaxmarl") else "raise"):
        yield
