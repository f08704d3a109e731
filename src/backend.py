"""JAX's settings, set before any computation: the device, the runner's threads, and the
folder of compiled programs.
"""

import os
from pathlib import Path
from typing import Any

import jax

from tandem.config.loader import ConfigError
from tandem.registry import FAMILIES

# XLA's CPU backend passes sums and products to a library in fused form, which is slow for our shapes: the gradient of
# the policy head took 11.3 ms with the fusion and 2.9 ms without (jax 0.10.2, one core). An empty list turns it off.
SLOW_FUSION = "xla_cpu_experimental_ynn_fusion_type"

BACKENDS = {"cpu": "cpu", "gpu": "cuda"}  # JAX's names; "auto" leaves the choice to JAX


def prepare_jax(platform: Any = "auto", compile_cache_dir: Any = "", runner: Any = "") -> None:
    """Set JAX's device, the runner's threads and the folder of compiled programs, before any computation.

    Values that the configuration's check will refuse are ignored.

    Raises:
      ConfigError: there is no such device.
    """
    if SLOW_FUSION not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --{SLOW_FUSION}=".strip()
    known = FAMILIES["runner"]
    cores = known[runner].hook("cores_of_learner") if runner in known and not known[runner].broken else None
    if cores:
        os.environ.setdefault("NPROC", str(cores()))  # the threads of XLA's pool
    if isinstance(platform, str) and platform in BACKENDS:
        jax.config.update("jax_platforms", BACKENDS[platform])
        _require_device(platform)
    if compile_cache_dir == "auto":
        compile_cache_dir = str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "tandem" / "jax")
    cache = os.path.expanduser(compile_cache_dir) if isinstance(compile_cache_dir, str) else ""
    if cache and not cache.startswith("~"):  # a user without a home folder has no cache
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _require_device(platform: str) -> None:
    try:
        jax.devices()
    except (RuntimeError, AssertionError):  # JAX 0.10 raises the second if its CUDA packages are missing
        told = f"platform={platform}: JAX finds no such device; TANDEM_CUDA=1 ./run.sh installs JAX's CUDA packages"
        raise ConfigError([told]) from None
