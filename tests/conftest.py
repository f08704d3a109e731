"""What all tests share: strict JAX, and compiled programs kept on disk between tests and between runs of the suite."""

import gc
import importlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Without these two passes of XLA's CPU backend tests compile in half of the time. The second makes programs faster by a
# tenth, so a user keeps it; the first is off for users too (tandem/backend.py).
SLOW_PASSES = ("--xla_cpu_experimental_ynn_fusion_type=", "--xla_cpu_use_fusion_emitters=false")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem" / "tests"


def pytest_configure() -> None:
    """Set JAX up before any test module imports it; commands that tests start in a subprocess share the cache."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs start; runs would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ["XLA_FLAGS"] = " ".join([*SLOW_PASSES, os.environ.get("XLA_FLAGS", "")]).strip()
    # JAX writes entries in place. What is read half written is compiled anew (pyproject.toml, filterwarnings).
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_writable(CACHE)))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # each module compiles the small ones anew
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")
    # Programs that tests start are small, and compile in two thirds of the time without the costly passes. JAX has read
    # its settings when it is imported, so what a test compiles in its own process is compiled as for users.
    importlib.import_module("jax")
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


def _writable(folder: Path) -> Path:
    """Return the folder, or a temporary one where a home directory cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="tandem-tests-"))


@pytest.fixture(autouse=True, scope="module")
def forget_programs() -> Iterator[None]:
    """Drop a module's compiled programs after it.

    Each takes dozens of memory maps, of which Linux grants a process 65,530 (vm.max_map_count); XLA crashes beyond.
    """
    yield
    import jax

    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="module")
def own_cache() -> Iterator[None]:
    """Keep compiled programs where all tests do: what is done with a recorded run uses the reader's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", os.environ["JAX_COMPILATION_CACHE_DIR"])
        yield


@pytest.fixture(scope="module")
def quick_compiling() -> Iterator[None]:
    """A runner compiles its own programs; here without the costly passes, which halves the time that tests take."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True)
def strict_ranks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Silent broadcasting between arrays of different ranks is an error; mark `jaxmarl` where its code relies on it."""
    import jax

    with jax.numpy_rank_promotion("allow" if request.node.get_closest_marker("jaxmarl") else "raise"):
        yield


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A MongoDB server for tests that leave it running; `database` gives each its own database."""
    from tests.reference.mongod import Mongod

    server = Mongod(tmp_path_factory.mktemp("mongod") / "db").start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A MongoDB server that lets only the user `writer` in, with the password SECRET of tests/reference/mongod.py."""
    from tests.reference.mongod import Mongod

    server = Mongod(tmp_path_factory.mktemp("guarded") / "db", "--auth").start().guard()
    yield server
    server.kill()


@pytest.fixture
def database(mongod: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty database of the test's own, as pymongo sees it; `mongod.url(database.name)` names it."""
    import pymongo

    name = f"t{abs(hash(request.node.nodeid))}"
    with pymongo.MongoClient(mongod.url(name)) as client:
        yield client[name]
