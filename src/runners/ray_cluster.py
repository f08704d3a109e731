"""Ray started for one run, or a cluster joined; afterwards no process of it is left that was not there before."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

QUIET = {
    "RAY_AUTH_MODE": "disabled",  # nothing is written into the home folder
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # what it says of workers that died would tear the progress bar; we say it ourselves
    "RAY_worker_niceness": "0",  # Ray's 15 would starve the actors wherever anything else computes
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
for _key, _value in QUIET.items():
    os.environ.setdefault(_key, _value)  # before Ray is imported, which reads them then

import jax  # noqa: E402
import psutil  # noqa: E402
import ray  # noqa: E402
from ray.util.placement_group import placement_group, remove_placement_group  # noqa: E402
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy  # noqa: E402

from src.core import RunError  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
GUARD = Path(__file__).with_name("ray_guard.py")
SILENT = 50  # Python's logging level CRITICAL
LONGEST_PATH = 25  # of the temporary folder: the names of sockets in it may have 107 characters
SECONDS_TO_ANSWER = 5.0  # for a cluster
SECONDS_TO_PLACE = 60.0  # for room that other work uses to become free
SECONDS_TO_END = 15.0  # for Ray's own processes


@contextmanager
def cluster(address: str, number: int, wants: Mapping[str, float], store_bytes: int) -> Iterator[None]:
    """Start Ray on this machine with room for actors, or join the cluster at `address`; Ray that runs already is used as it is.

    Args:
      number: of actors.
      wants: what each of them needs of Ray's resources, {name: amount}.

    Raises:
      RunError: there is no such cluster, or it is too small.
    """
    if ray.is_initialized():
        check_room(number, wants)
        yield
        return
    strangers = set(psutil.Process().children(recursive=True))
    own = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="tandem-ray-", dir=own if len(own) <= LONGEST_PATH else "/tmp")
    try:
        with own_signals(), python_path():
            _init(address, number, wants, store_bytes, folder)
        with guard(set(psutil.Process().children(recursive=True)) - strangers, folder) as watcher:
            strangers.add(watcher)
            try:
                check_room(number, wants)
                yield
            finally:
                end(strangers)  # still guarded: who waits for it may lose patience
    finally:
        end(strangers)  # also where Ray could not be started
        shutil.rmtree(folder, ignore_errors=True)


def end(strangers: Collection[psutil.Process]) -> None:
    """End Ray and whatever else was started here, within twice SECONDS_TO_END."""
    mine = [process for process in psutil.Process().children(recursive=True) if process not in strangers]
    hurry = threading.Timer(SECONDS_TO_END, kill, [mine])  # should Ray wait for a process that does not end
    with deaf():
        hurry.start()
        try:
            ray.shutdown()
        finally:
            hurry.cancel()
            kill(psutil.wait_procs(mine, timeout=SECONDS_TO_END)[1])


def kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@contextmanager
def deaf() -> Iterator[None]:
    """Pass over Ctrl-C and SIGTERM meanwhile, in the main thread: what is half ended would be left behind."""
    with kept_handlers() as numbers:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        yield


def _init(address: str, number: int, wants: Mapping[str, float], store_bytes: int, folder: str) -> None:
    quiet = {"logging_level": SILENT, "log_to_driver": False}
    if not address:
        resources = {name: amount * number for name, amount in wants.items()}
        patiently(partial(
            ray.init,
            address="local",  # whatever RAY_ADDRESS says
            num_cpus=resources.pop("CPU", 0), num_gpus=0, resources=resources, include_dashboard=False,
            object_store_memory=store_bytes,
            _node_ip_address="127.0.0.1", _temp_dir=folder, **quiet,
        ))  # fmt: skip
        return
    try:
        host, _, port = address.rpartition(":")
        if host:  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"runner_args.ray_address={address}: cannot join this cluster: {reason}") from None


def patiently(start: Callable[[], Any], tries: int = 3) -> Any:
    """Return what starting Ray returns; Ray gives its processes 30 seconds, which on a very busy machine may be too few."""
    for left in reversed(range(tries)):
        try:
            return start()
        except Exception as error:  # Ray raises just that
            ray.shutdown()
            if not left:
                raise RunError(f"Ray cannot be started on this machine: {error}") from error
    raise AssertionError


def wanted(cpus: float, resources: Mapping[str, float]) -> dict[str, float]:
    """Return all that an actor needs of Ray's resources."""
    return {name: float(amount) for name, amount in {"CPU": cpus, **resources}.items() if amount}


def check_room(number: int, wants: Mapping[str, float]) -> None:
    """Complain if the cluster can never hold the actors, each of which must find all it needs on one node."""
    there = ray.cluster_resources()
    lacking = {name: amount * number for name, amount in wants.items() if there.get(name, 0.0) < amount * number}
    if cpus := lacking.pop("CPU", 0.0):
        raise RunError(
            f"the actors need {cpus:g} cores (runner_args: num_actors, reanalyse_actors, cpus_per_actor), Ray's cluster has "
            f"{there.get('CPU', 0.0):g}"
        )
    if lacking:
        raise RunError(
            f"the actors need {lacking} (runner_args.actor_resources, times their number), of which Ray's cluster has none or less"
        )
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    places = [min(int(node.get(name, 0.0) / amount + 1e-6) for name, amount in wants.items()) for node in nodes if wants]
    if wants and sum(places) < number:
        raise RunError(
            f"{number} actors need {dict(wants)} each, and only {sum(places)} of them find that on one node of Ray's cluster "
            "(runner_args: num_actors, reanalyse_actors, cpus_per_actor, actor_resources)"
        )


@contextmanager
def reserved(number: int, wants: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """Have room for the actors set aside, also for those that take the place of dead ones, and give Ray's options to use it.

    Raises:
      RunError: it is in use and does not become free.
    """
    if not wants:
        yield {}
        return
    group = placement_group([dict(wants)] * number)
    try:
        if not group.wait(SECONDS_TO_PLACE):
            found = ray.cluster_resources(), ray.available_resources()
            there, free = ({name: amounts.get(name, 0.0) for name in wants} for amounts in found)
            raise RunError(
                f"{number} actors need {dict(wants)} each (runner_args: num_actors, reanalyse_actors, cpus_per_actor, "
                f"actor_resources); of {there} in Ray's cluster only {free} are free, for {SECONDS_TO_PLACE:g} seconds. Wait for "
                "what else runs there, or ask for less"
            )
        yield {"scheduling_strategy": PlacementGroupSchedulingStrategy(group)}
    finally:
        with suppress(Exception):
            remove_placement_group(group)


def store_use() -> float:
    """Return the megabytes that lie in the cluster's object stores."""
    total, free = (found.get("object_store_memory", 0.0) for found in (ray.cluster_resources(), ray.available_resources()))
    return max(0.0, total - free) / 1e6


def actor_options(wants: Mapping[str, float], threads: int) -> dict[str, Any]:
    """Return Ray's options for an actor: what it needs and what its process is told. It is replaced by us, not by Ray."""
    resources = dict(wants)
    return {
        "num_cpus": resources.pop("CPU", 0), "num_gpus": 0, "resources": resources, "max_restarts": 0, "max_task_retries": 0,
        "runtime_env": {"env_vars": actor_environment(threads)},
    }  # fmt: skip


def actor_environment(threads: int) -> dict[str, str]:
    """Return what an actor's process must be told before it imports JAX: compute on so many threads of the CPU."""
    cache = jax.config.jax_compilation_cache_dir
    told = {
        **{name: os.environ.get(name, value) for name, value in QUIET.items()},  # a cluster may want tokens
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "NPROC": str(threads),  # XLA's pool
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }
    if cache:
        told |= {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
        }
    return told


@contextmanager
def own_signals() -> Iterator[None]:
    """Keep this process's signal handlers: Ray replaces them where it starts. Warnings of threads while it forks are dropped."""
    with kept_handlers(), warnings.catch_warnings():  # what Ray forks becomes another program at once
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        yield


@contextmanager
def kept_handlers() -> Iterator[tuple[int, ...]]:
    """Give the signals that ask to stop, none outside the main thread, and put their handlers back afterwards."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        yield tuple(before)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def python_path() -> Iterator[None]:
    """What is started here finds src/."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [before])])
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


@contextmanager
def guard(processes: set[psutil.Process], folder: str) -> Iterator[psutil.Process]:
    """Have a small process say what to do, and end Ray's processes and remove its folder, should this one be killed."""
    pids = [str(process.pid) for process in processes]
    command = [sys.executable, str(GUARD), str(os.getpid()), folder, *pids]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield psutil.Process(process.pid)
    finally:
        with suppress(OSError):
            process.stdin.write(b"done\n")
            process.stdin.close()
        process.wait()
