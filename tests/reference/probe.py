"""An actor that tells of the process it is in. It imports nothing of ours, and JAX only when it is asked to compute."""

import os
import sys
from collections import Counter
from pathlib import Path


class Probe:
    def __init__(self):
        self.imported = "jax" in sys.modules  # before any of our modules

    def look(self, names: list[str]) -> dict:
        """Return what stands in the environment, and what computing uses once JAX is imported."""
        told = {name: os.environ.get(name) for name in names}
        import jax

        jax.block_until_ready(jax.numpy.ones((300, 300)) @ jax.numpy.ones((300, 300)))
        threads = Counter(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))
        return {
            "imported": self.imported, "told": told, "platforms": [device.platform for device in jax.devices()],
            "threads": threads["tf_XLAEigen"],
        }  # fmt: skip
