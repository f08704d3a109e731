"""The cores and the memory of this machine that this process may use."""

import math
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CGROUP = Path("/sys/fs/cgroup")
PROC = Path("/proc")
GIB = 2**30
# Of address space, to import JAX and compute with it: it reserves far more than it uses. 1.5 GiB were taken after the
# first sum on two cores, a run of 1.8 GB was aborted, one of 2.6 GB trained.
ADDRESSES_TO_START = 2.5 * GIB
MEMORY_TO_START = 0.5 * GIB  # of all other kinds
ADDRESS_SPACE = "the limit on address space (ulimit -v)"


class Limit(NamedTuple):
    """The free memory under one limit."""

    free: int  # bytes
    name: str  # name of the limit

    def __str__(self) -> str:
        return f"{gib(self.free)} are free by {self.name}"


def cores() -> list[int]:
    """Return the number of cores that this process may use, within its container's quota."""
    allowed = sorted(os.sched_getaffinity(0))
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return allowed[: max(1, math.ceil(int(quota) / int(period)))]
    except (OSError, ValueError):  # no container, or "max", which means no quota
        return allowed


def gib(size: float) -> str:
    """Return bytes as text: "12.34 GiB"."""
    return f"{size / GIB:,.2f} GiB"


def free_memory() -> Limit:
    """Return the tightest limit on free memory."""
    return min(limits())


def too_tight() -> str:
    """Return a sentence if there is too little memory for JAX, else "". JAX would abort in native code."""
    for limit in limits():
        needed = ADDRESSES_TO_START if limit.name == ADDRESS_SPACE else MEMORY_TO_START
        if limit.free < needed:
            advice = "raise the limit, or end other programs that use memory"
            return f"not enough memory to start: {limit}, and JAX alone needs {gib(needed)}; {advice}"
    return ""


def limits() -> Iterator[Limit]:
    """Yield every readable limit on memory."""
    machine, own = _fields(PROC / "meminfo"), _fields(PROC / "self" / "status")
    if "MemAvailable" in machine:
        yield Limit(machine["MemAvailable"], "the machine's memory")
    for kind, used, name in (
        (resource.RLIMIT_AS, "VmSize", ADDRESS_SPACE),
        (resource.RLIMIT_DATA, "VmData", "the limit on data (ulimit -d)"),
    ):
        most = resource.getrlimit(kind)[0]
        if most != resource.RLIM_INFINITY:
            yield Limit(max(0, most - own.get(used, 0)), name)
    yield from _of_containers()


def _fields(path: Path) -> dict[str, int]:
    """Return the sizes in a file of /proc in bytes (it has kB); empty if it cannot be read."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) == 3 and words[2] == "kB"}


def _of_containers() -> Iterator[Limit]:
    """Yield the limits of this process's control groups, version 1 or 2, and of their
    parents.
    """
    for folder, most, used, idle in _groups():
        try:
            kept = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            free = int((folder / most).read_text()) - int((folder / used).read_text())
            # Cached files count as used, but are dropped when memory is needed.
            yield Limit(max(0, free + int(kept.get(idle, 0))), f"the container's limit ({folder / most})")
        except (OSError, ValueError):  # missing, or "max", which means no limit
            continue


def _groups() -> Iterator[tuple[Path, str, str, str]]:
    """Yield, for each group that may have a limit: its folder, the names of limit and usage,
    and the entry of cached files.
    """
    try:
        lines = [line.split(":", 2) for line in (PROC / "self" / "cgroup").read_text().splitlines()]
    except OSError:
        lines = []
    inside = {"memory" if "memory" in names else names: Path(path.strip("/")) for _, names, path in lines}
    for root, own, limit, used, idle in (
        (CGROUP, inside.get("", Path()), "memory.max", "memory.current", "inactive_file"),
        (
            CGROUP / "memory",
            inside.get("memory", Path()),
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):
        for folder in (own, *own.parents):
            yield root / folder, limit, used, idle
