"""Real runs killed with SIGKILL at random moments and gone on with: `python benchmarks/kill_resume.py`.

One run is killed again and again, each time gone on with by `train --resume`, until it was killed as often as asked
for; then it may end. The moments are in training, while a file of the record or a checkpoint is half written, and, the
last one, while the film is made. Counted: did it go on every time, was any metric point lost that was on the disk, is
any there twice, and is the end bit-identical to a run that was never stopped.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness

SMALL = (
    "network_args.latent_size=6 network_args.hidden_size=7 network_args.attention=none network_args.projection_size=5 "
    "planner_args.num_simulations=2 replay_args.batch_size=9 replay_args.min_size=60 replay_args.capacity=700 "
    "runner_args.num_envs=3 runner_args.rollout_length=4 runner_args.report_every=120 eval_args.episodes=11 "
    "eval_args.every=600 max_minutes=0 platform=cpu checkpoint_args.every_steps=240"
).split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--t-max", type=int, default=120000)
    parser.add_argument("--longest", type=float, default=5.0, help="seconds after the first report to the latest kill")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tandem-kills-"))
    lots = random.Random(options.seed)
    words = ["--config=mazero_seq", "--env-config=matrix_game", "with", f"t_max={options.t_max}", *SMALL]
    kills = [kill(folder, words, lots.uniform(0, options.longest), "training")]
    while len(kills) < options.kills:
        moment = "film" if len(kills) == options.kills - 1 else lots.choice(["training", "recording"])
        kills.append(kill(folder, ["train", "--resume=1"], lots.uniform(0, options.longest), moment))
        print(f"kill {len(kills)}: {kills[-1]}", flush=True)
    ended = json.loads((folder / "results" / "sacred" / "1" / "run.json").read_text())["status"] == "COMPLETED"
    # To its end, if it was not there when the film was made, and the same without being stopped.
    for last in ([] if ended else [["train", "--resume=1"]]) + [["rerun", "--run=1"]]:
        subprocess.run(command(*last), cwd=folder, check=True, stdout=subprocess.DEVNULL)
    same = compare(folder, str(options.t_max))
    went_on, lost, twice = (sum(kill[what] for kill in kills) for what in ("went_on", "lost", "twice"))
    head = ["kills", "went on", "points lost", "points twice", "in the end as if never stopped"]
    print(harness.table([[len(kills), went_on, lost, twice, same]], head))
    harness.write("kill_resume", {"options": vars(options), "kills": kills, **same})


def command(*words: str) -> list[str]:
    return [sys.executable, str(harness.ROOT / "src" / "main.py"), *words]


def kill(folder: Path, words: list[str], after: float, moment: str) -> dict:
    """Start a run, kill it at a moment of a kind, `after` seconds after its first report or
    its end, and say what is there.
    """
    before = points(folder)
    start = newest(folder)
    with open(folder / "log.txt", "a") as log:
        pipes = {"stdout": subprocess.PIPE, "stderr": log, "text": True}
        with subprocess.Popen(command(*words), cwd=folder, **pipes) as process:
            went_on = any(" steps | " in line for line in process.stdout)  # up to the first report
            if moment == "film":
                any(": done" in line for line in process.stdout)
            time.sleep(after)
            if moment == "recording":
                wait_for_half_a_file(folder / "results", process)
            process.send_signal(signal.SIGKILL)
    there = points(folder)
    # What was on the disk up to the checkpoint that the run went on from must still be there.
    lost = sum(len({p for p in set(steps) if p <= start} - set(there.get(name, []))) for name, steps in before.items())
    gaps = sum(holes(steps) for name, steps in there.items() if name == "train/return")
    twice = sum(len(steps) - len(set(steps)) for steps in there.values())
    return {
        "moment": moment,
        "after": after,
        "went_on": went_on,
        "lost": lost + gaps,
        "twice": twice,
        "checkpoint": newest(folder),
    }


def wait_for_half_a_file(results: Path, process: subprocess.Popen) -> None:
    """Wait until something is being written, under a name that begins with a dot."""
    while process.poll() is None:
        for folder in (results / "sacred" / "1", results / "models" / "1"):
            if any(name.startswith(".") and name != ".lock" for name in os.listdir(folder)):
                return


def points(folder: Path) -> dict[str, list[int]]:
    """Return {metric: steps} of the record; a file that cannot be read fails the benchmark."""
    from tandem.records import series

    return {name: one.steps.tolist() for name, one in series.of(folder / "results" / "sacred" / "1").items()}


def holes(steps: list[int]) -> int:
    """Return how many reports are missing: every one has this metric, and they come at equal distances."""
    return 0 if len(steps) < 2 else (steps[-1] - steps[0]) // (steps[1] - steps[0]) + 1 - len(set(steps))


def newest(folder: Path) -> int:
    from tandem.records import checkpoint_folder

    return max(checkpoint_folder.steps(folder / "results" / "models" / "1"), default=0)


def compare(folder: Path, step: str) -> dict[str, bool]:
    """Return whether states and metrics of runs 1 and 2 are the same at their end, but for time itself."""
    from tandem.records import checkpoint_folder
    from tandem.records.series import of as recorded

    states, series = [], []
    for run in "12":
        path = folder / "results" / "models" / run / step
        sums = checkpoint_folder.read_meta(path).sums
        states.append({name: sums[name] for name in sums if name != "training_seconds"})
        held = recorded(folder / "results" / "sacred" / run)
        series.append({n: (m.steps, m.values.tobytes()) for n, m in held.items() if not n.startswith("time/")})
    return {"states": states[0] == states[1], "metrics": series[0] == series[1]}


if __name__ == "__main__":
    main()
