"""Starts Ray for one run or sweep, or joins a cluster; afterwards none of its new processes is left.

Ray that is started here listens only on the loopback device, and refuses requests without the run's token.
"""

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants

from tandem.cluster import addresses, authentication, environment, processes
from tandem.core import RunError
from tandem.signals import kept

QUIET = {"logging_level": 50, "log_to_driver": False}  # Python's level CRITICAL
LOOPBACK = "127.0.0.1"
ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # everywhere the switch by which Ray stays on the loopback device
    "AUTOSCALER_METRIC_PORT": "-1",  # Ray's numbers for Prometheus need no token: there is no such port
}
LONGEST_PATH = 20  # of the temporary folder, because the names of sockets in it may have 107 characters


@contextmanager
def cluster(
    address: str, resources: Mapping[str, float], store_bytes: int, message: str, extra: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Start Ray on this machine, or join the cluster at `address`; Ray that this process already has is used unchanged.

    Args:
      address: HOST:PORT, or `auto`; "" = start it, whatever RAY_ADDRESS says.
      resources: for actors if Ray is started here, {name: amount}.
      store_bytes: shared memory for objects if Ray is started here.
      message: for the user if this process is killed.
      extra: environment variables that processes of a cluster need, too; those of this machine inherit them.

    Raises:
      NoCluster: there is no such cluster, or it cannot be joined.
      RunError: Ray cannot be started.
    """
    if ray.is_initialized():
        yield
        return
    place, strangers = address and addresses.find(address), processes.family()
    with private_folder() as folder, processes.guarded(folder, message) as guard:
        strangers.add(guard.process)
        with environment.variables(surroundings(address, folder)):
            try:
                with own_handlers():
                    authentication.refresh()
                    join(place, extra or {}) if place else start(folder, dict(resources), store_bytes)
                guard.watch(processes.family() - strangers)
                yield
            finally:
                processes.end(strangers)  # still guarded, because the user may kill this process while waiting


def surroundings(address: str, folder: Path) -> dict[str, str | None]:
    """Return the environment in which Ray starts or connects to a cluster."""
    path = {"PYTHONPATH": environment.python_path()}
    if address:
        return {**path, authentication.MODE: "token"}
    return {**path, **ALONE, **authentication.own_token(folder)}


def start(folder: Path, resources: dict[str, float], store_bytes: int) -> None:
    """Start Ray on this machine, for this process alone."""
    cpus, gpus = resources.pop("CPU", 0), resources.pop("GPU", 0)
    with on_loopback():
        patiently(partial(
            ray.init,
            address="local", num_cpus=cpus, num_gpus=gpus, resources=resources, object_store_memory=store_bytes,
            include_dashboard=False, _node_ip_address=LOOPBACK, _temp_dir=str(folder / "r"), **QUIET,
        ))  # fmt: skip


def join(place: str, extra: Mapping[str, str]) -> None:
    """Connect to a cluster that others have started."""
    try:
        ray.init(address=place, runtime_env={"env_vars": environment.told(extra)}, **QUIET)
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise authentication.NoCluster(f"{place}: cannot join this cluster: {reason}") from None


@contextmanager
def own_handlers() -> Iterator[None]:
    """Keep this process's signal handlers, which Ray replaces when it starts, and drop warnings about its forks."""
    with kept(), warnings.catch_warnings():  # a fork by Ray becomes another program at once
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        yield


@contextmanager
def on_loopback() -> Iterator[None]:
    """Keep Ray, which may have been imported before, on the loopback device, as ALONE does for its processes."""
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a folder for Ray's files that only its owner may enter, because Ray's own folders are open to everybody.

    Raises:
      RunError: it cannot be created.
    """
    try:
        own = tempfile.gettempdir()
        folder = Path(tempfile.mkdtemp(prefix="tandem-ray-", dir=own if len(own) <= LONGEST_PATH else "/tmp"))
    except OSError as error:
        raise RunError(f"Ray needs a folder for temporary files: {error}; set TMPDIR to a writable one") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def patiently(begin: Callable[[], Any], tries: int = 3) -> Any:
    """Start Ray, repeatedly if needed, because its limit of 30 seconds may be too short on a busy machine."""
    for left in reversed(range(tries)):
        try:
            return begin()
        except Exception as error:  # Ray raises just that
            ray.shutdown()
            if not left:
                raise RunError(f"Ray cannot be started on this machine: {error}") from error
    raise AssertionError
