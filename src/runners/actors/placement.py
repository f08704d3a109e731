"""Reserves resources of Ray's cluster for a run's actors, and sets up their processes."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import jax
import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tandem.cluster import environment  # before Ray
from tandem.core import RunError

SECONDS_TO_PLACE = 60.0  # to wait until other work frees resources


def wanted(cpus: float, resources: Mapping[str, float]) -> dict[str, float]:
    """Return the resources of Ray that an actor needs."""
    return {name: float(amount) for name, amount in {"CPU": cpus, **resources}.items() if amount}


def check_room(number: int, wants: Mapping[str, float]) -> None:
    """Raise if the cluster can never hold the actors. Each actor needs all its resources on one node."""
    there = ray.cluster_resources()
    lacking = {name: amount * number for name, amount in wants.items() if there.get(name, 0.0) < amount * number}
    if cpus := lacking.pop("CPU", 0.0):
        raise RunError(
            f"the actors need {cpus:g} cores (runner_args: num_actors, reanalyse_actors, cpus_per_actor), Ray's "
            "cluster has "
            f"{there.get('CPU', 0.0):g}"
        )
    if lacking:
        raise RunError(
            f"the actors need {lacking} (runner_args.actor_resources, times their number), of which Ray's cluster "
            "has none or less"
        )
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    places = [
        min(int(node.get(name, 0.0) / amount + 1e-6) for name, amount in wants.items()) for node in nodes if wants
    ]
    if wants and sum(places) < number:
        raise RunError(
            f"{number} actors need {dict(wants)} each, and only {sum(places)} of them find that on one node of "
            "Ray's cluster "
            "(runner_args: num_actors, reanalyse_actors, cpus_per_actor, actor_resources)"
        )


@contextmanager
def reserved(number: int, wants: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """Reserve resources for the actors and for the replacements of dead ones, and return Ray's
    options that use them.

    Raises:
      RunError: the resources are in use and do not become free.
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
                f"actor_resources); of {there} in Ray's cluster only {free} are free, for {SECONDS_TO_PLACE:g} "
                "seconds. Wait for "
                "what else runs there, or ask for less"
            )
        yield {"scheduling_strategy": PlacementGroupSchedulingStrategy(group)}
    finally:
        with suppress(Exception):
            remove_placement_group(group)


def store_use() -> float:
    """Return the megabytes that the cluster's object stores hold."""
    total, free = (
        found.get("object_store_memory", 0.0) for found in (ray.cluster_resources(), ray.available_resources())
    )
    return max(0.0, total - free) / 1e6


def actor_options(wants: Mapping[str, float], threads: int) -> dict[str, Any]:
    """Return Ray's options for an actor: its resources and its process's settings. Tandem
    replaces dead actors, not Ray.
    """
    resources = dict(wants)
    return {
        "num_cpus": resources.pop("CPU", 0), "num_gpus": 0, "resources": resources,
        "max_restarts": 0, "max_task_retries": 0,
        "runtime_env": {"env_vars": actor_environment(threads)},
    }  # fmt: skip


def actor_environment(threads: int) -> dict[str, str]:
    """Return the environment of an actor's process, set before it imports JAX: the CPU, with this many threads."""
    cache = jax.config.jax_compilation_cache_dir
    told = {
        "PYTHONPATH": environment.python_path(),
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "NPROC": str(threads),  # threads of XLA's pool
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }
    if cache:
        told |= {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
        }
    return told
