"""Seconds that training waits for a checkpoint and that the whole of it takes: `python benchmarks/checkpoints.py`."""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

import harness
import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="mazero_seq")
    parser.add_argument("--env-config", default="mpe")
    parser.add_argument("--saves", type=int, default=7)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tandem-checkpoints-"))
    saver, state = prepare(options.config, options.env_config, folder)
    from tandem.core import Report

    saver.offer(Report(0, 0, {}), state)  # as the first report does
    saver.preparing.result()
    for step in range(1, 1 + options.saves):
        saver.save(Report(step, step, {}), state)
        saver.close(None) if step == options.saves else saver.writing.result()
    assert saver.problem is None, saver.problem
    size = sum(file.stat().st_size for file in (folder / str(options.saves)).rglob("*") if file.is_file()) / 2**20
    shutil.rmtree(folder)
    row = [
        options.config,
        options.env_config,
        f"{size:.0f}",
        f"{saver.blocked[0]:.3f}",
        f"{max(saver.blocked[1:]):.3f}",
        f"{statistics.median(saver.written):.2f}",
        f"{max(saver.written):.2f}",
    ]
    head = [
        "config",
        "environment",
        "MiB on disk",
        "training waits, first, s",
        "later, worst, s",
        "whole, median, s",
        "worst, s",
    ]
    print(harness.table([row], head))
    result = {"mib": size, "blocked_seconds": saver.blocked, "whole_seconds": saver.written}
    harness.write("checkpoints", {"config": options.config, "env_config": options.env_config, **result})


def prepare(config_name: str, env_config: str, folder: Path):
    """Return a saver and a run state of a job's full size, filled with noise, which does not compress."""
    import jax
    import jax.numpy as jnp

    from tandem import backend, build
    from tandem.config import loader
    from tandem.records.record import decisive
    from tandem.records.saver import Saver

    backend.prepare_jax("auto", "auto")
    config = loader.load(config_name, env_config)
    random = np.random.default_rng(1)

    def noise(like):
        if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
            return jax.random.split(jax.random.key(1), like.shape)
        return jnp.asarray(random.standard_normal(like.shape).astype(like.dtype))

    state = jax.tree.map(noise, build.build(config).run.shapes())
    return Saver(folder, config["checkpoint_args"], decisive(config), lambda step: None), state


if __name__ == "__main__":
    main()
