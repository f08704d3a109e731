"""Real runs whose disk is full for a while, or for good: `python benchmarks/full_disk.py`.
Needs root, for it mounts a tmpfs.

A run records on a small disk of its own, which is filled at a moment of the run and freed after some seconds.
Counted: does the run end with exit status 0, is every point there once, is its last state saved, and after
how many seconds was it told. With `--for-good` it is never freed: then the run must train to its end, say
what is missing and not exit with 0.
"""

import argparse
import json
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import harness
from kill_resume import SMALL, command

MEGABYTES = 24
END = 170.0  # seconds that one run may take in all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=10, help="how many, spread over start-up and training")
    parser.add_argument("--seconds", type=float, default=15.0, help="that the disk is full")
    parser.add_argument("--training", type=float, default=20.0, help="seconds of training of each run")
    parser.add_argument("--for-good", action="store_true")
    options = parser.parse_args()
    rows = []
    for moment in range(options.moments):
        # -1: before the run starts; -2: while it starts; others: seconds after its first report.
        after = (
            -1.0 if moment == 0 else -2.0 if moment == 1 else options.training * (moment - 2) / (options.moments - 3)
        )
        rows.append(attempt(after, None if options.for_good else options.seconds, options.training))
        print(rows[-1], flush=True)
    print(harness.table([list(row.values()) for row in rows], list(rows[0])))
    harness.write("full_disk", {"options": vars(options), "runs": rows})


def attempt(after: float, seconds: float | None, training: float) -> dict:
    """Fill the disk of one run and return what it left."""
    folder = Path(tempfile.mkdtemp(prefix="tandem-full-"))
    (folder / "results").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder / "results")], check=True)
    try:
        return watch(folder, after, seconds, training)
    finally:
        subprocess.run(["umount", "-l", str(folder / "results")], check=True)


def watch(folder: Path, after: float, seconds: float | None, training: float) -> dict:
    words = ["--config=mazero_seq", "--env-config=matrix_game", "with", "t_max=1000000000", *SMALL, "video=False"]
    words += [f"max_minutes={training / 60}", "checkpoint_args.every_steps=0", "checkpoint_args.every_minutes=0.1"]
    lines: list[tuple[float, str]] = []
    first = threading.Event()
    filled: list[float] = []

    def fill() -> None:
        if after >= 0.0:
            first.wait(END)
            time.sleep(after)
        elif after == -2.0:
            while not (folder / "results" / "sacred").exists():
                time.sleep(0.01)
        ballast = folder / "results" / "ballast"
        filled.append(time.monotonic())
        subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=4k"], stderr=subprocess.DEVNULL, check=False)
        if seconds is not None:
            time.sleep(seconds)
            ballast.unlink()

    filler = threading.Thread(target=fill, daemon=True)
    filler.start()
    if after == -1.0:
        time.sleep(0.5)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command(*words), cwd=folder, **pipes) as process:
        guard = threading.Timer(END, process.kill)
        guard.start()
        for line in process.stdout:
            lines.append((time.monotonic(), line.rstrip()))
            if " steps | " in line:
                first.set()
        code = process.wait()
        guard.cancel()
    filler.join()
    (folder / "out.txt").write_text("\n".join(line for _, line in lines))
    print(f"what the run said: {folder / 'out.txt'}", flush=True)
    told = [at for at, line in lines if "cannot be written" in line]
    return {
        "after": round(after, 1),
        "exit": code,
        "told_after": round(told[0] - filled[0], 1) if told else None,
        "lines_told": sum("cannot be" in line or "can be written again" in line for _, line in lines),
        **left(folder),
    }


def left(folder: Path) -> dict:
    """Return the points that are missing or there twice, and whether the last state is saved."""
    from tandem.records import checkpoint_folder
    from tandem.records import series

    found = series.of(folder / "results" / "sacred" / "1")
    steps = found["train/return"].steps.tolist() if "train/return" in found else []
    saved = checkpoint_folder.steps(folder / "results" / "models" / "1")
    missing = steps[-1] // steps[0] - len(set(steps)) if steps else None
    entry = folder / "results" / "sacred" / "1" / "run.json"
    status = json.loads(entry.read_text())["status"] if entry.exists() else "none"
    twice = len(steps) - len(set(steps))
    whole = all(checkpoint_folder.read_meta(folder / "results" / "models" / "1" / str(step)) for step in saved)
    return {
        "points": len(steps), "missing": missing, "twice": twice, "status": status,
        "checkpoints": len(saved), "last_saved": bool(steps and saved and saved[-1] == steps[-1]), "whole": whole,
    }  # fmt: skip


if __name__ == "__main__":
    main()
