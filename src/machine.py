"""What this machine lends to this process."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cores() -> list[int]:
    """Return the cores this process may use, at most as many as its container's quota pays for."""
    allowed = sorted(os.sched_getaffinity(0))
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return allowed[: max(1, math.ceil(int(quota) / int(period)))]
    except (OSError, ValueError):  # no container, or "max": no quota
        return allowed
