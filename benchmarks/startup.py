"""Seconds from the command to the end of the first report, cold and from the cache: `python benchmarks/startup.py`."""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import harness


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="mazero_seq")
    parser.add_argument("--env-config", default="mpe")
    parser.add_argument("--warm-starts", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tandem-startup-"))
    seconds = []
    for i in range(1 + options.warm_starts):
        began = time.monotonic()
        settings = [f"compile_cache_dir={folder / 'cache'}", "max_minutes=0.001", "eval_args.episodes=2", "video=False"]
        harness.train(folder / str(i), options.config, options.env_config, settings)
        whole = time.monotonic() - began
        # Until the first report: what the runner measured, and what came before it (imports, checks, building).
        after = harness.last(folder / str(i), "time/training_seconds") + harness.last(
            folder / str(i), "time/eval_seconds"
        )
        seconds.append(whole - after)
    rows = [[options.config, options.env_config, f"{seconds[0]:.1f}", f"{statistics.median(seconds[1:]):.1f}"]]
    print(harness.table(rows, ["config", "environment", "first start, s", "later starts, s (median)"]))
    harness.write("startup", {"config": options.config, "env_config": options.env_config, "seconds": seconds})


if __name__ == "__main__":
    main()
