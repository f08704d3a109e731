"""The machine's capacity: the number of parallel runs, and the cores and the GPU of each."""

import importlib.util
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tandem.machine import GIB

MEMORY_PER_RUN = (
    2 * GIB
)  # bytes of a run on the CPU, with a margin: the main job with joint search took 1.2 GiB at most
MEMORY_USED = 0.8  # share of the free memory that runs may take together
GPU_MEMORY_USED = 0.9


def gpus(platform: str, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the GPUs that runs with this `platform` will use, without touching any."""
    if platform == "cpu" or not any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
        return []
    if "CUDA_VISIBLE_DEVICES" in environment:
        return [name for name in environment["CUDA_VISIBLE_DEVICES"].split(",") if name]
    return [str(index) for index in range(len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))]


def default_jobs(num_cores: int, memory: int, num_gpus: int) -> int:
    """Return how many runs fit at once: one per GPU where there are some, else one per core as memory allows."""
    if num_gpus:
        return num_gpus
    return max(1, min(num_cores, int(memory * MEMORY_USED / MEMORY_PER_RUN)))


def shares(available: Sequence[int], jobs: int) -> list[list[int]]:
    """Return the cores of each of `jobs` runs: equal shares, or one core each, taken in turn, where runs are more."""
    if jobs >= len(available):
        return [[available[job % len(available)]] for job in range(jobs)]
    size = len(available) // jobs
    return [list(available[job * size : (job + 1) * size]) for job in range(jobs)]


def settings(devices: Sequence[str], jobs: int) -> list[dict[str, str]]:
    """Return the environment variables of each of `jobs` runs: its GPU, and its part of that GPU's memory."""
    if not devices:
        return [{} for _ in range(jobs)]
    per_gpu = math.ceil(jobs / len(devices))
    memory = {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{GPU_MEMORY_USED / per_gpu:.2f}"} if per_gpu > 1 else {}
    return [{"CUDA_VISIBLE_DEVICES": devices[job % len(devices)]} | memory for job in range(jobs)]
