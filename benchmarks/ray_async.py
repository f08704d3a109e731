"""What the runner with actors reaches: `python benchmarks/ray_async.py --rows scaling transport kills learning score`.

scaling    environment steps per second of two actors over those of one, each with as many environments, nobody learning
transport  what lies between a trajectory in an actor and its rows in the replay, over the time that acting takes
kills      an actor is killed every 20 seconds for 3 minutes: is every step of every environment in the replay, once,
whole
score      three runs of ten minutes, scored as in mpe_spread.py
learning   the score of the same runs at 200,000 steps, and of as many without actors: trained too, or read from the
result
           of `mpe_spread.py` that `--without` names
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import harness
import mpe_spread

STEPS = 200_000  # where learning with actors and without is compared
WITH_ACTORS = ["runner=ray_async", "platform=cpu", "video=false"]
SMALL = (
    "network_args.latent_size=6 network_args.hidden_size=7 network_args.attention=none network_args.projection_size=5 "
    "planner_args.num_simulations=2 replay_args.batch_size=9 replay_args.min_size=60 runner_args.num_envs=6 "
    "runner_args.rollout_length=4 runner_args.report_every=240 eval_args.episodes=11 eval_args.every=100000"
).split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--config", default="mazero_seq")
    parser.add_argument("--env-config", default="mpe")
    parser.add_argument("--minutes", type=float, default=0.0, help="of each run; 0 = what the row is defined by")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--without", type=Path, help="a result whose runs of mazero_seq were made without actors")
    parser.add_argument("--folder", type=Path, help="keep the runs here; those of score and learning are not repeated")
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="tandem-actors-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for row in options.rows:
        result = ROWS[row](options, folder)
        print(harness.table([list(result.values())], list(result)))
        harness.write(
            f"ray_async_{row}", {"options": {name: str(value) for name, value in vars(options).items()}, **result}
        )


def scaling(options: argparse.Namespace, folder: Path) -> dict:
    """Return the speeds of one actor and of two, the medians over the reports after the first two."""
    speeds = []
    for actors in (1, 2):
        path = folder / f"scaling-{actors}"
        settings = [
            f"runner_args.num_actors={actors}",
            f"runner_args.num_envs={16 * actors}",
            "runner_args.updates_per_step=0",
        ]
        clocks = [
            f"max_minutes={options.minutes or 1.0}",
            "eval_args.episodes=2",
            f"runner_args.report_every={800 * actors}",
        ]
        harness.train(path, options.config, options.env_config, [*WITH_ACTORS, *settings, *clocks])
        speeds.append(statistics.median([speed for _, speed in harness.curve(path, "time/steps_per_second")][1:]))
    return {"one actor, steps/s": speeds[0], "two actors, steps/s": speeds[1], "ratio": speeds[1] / speeds[0]}


def transport(options: argparse.Namespace, folder: Path) -> dict:
    """Return what a cycle costs beside acting, one actor and nobody else at work: asking, fetching, adding to the
    replay.
    """
    import jax
    import jax.numpy as jnp

    from tandem import backend, build
    from tandem.config import commandline, loader

    backend.prepare_jax("cpu", "auto")
    words = ["with", *WITH_ACTORS[:1], "runner_args.num_actors=1", "runner_args.max_staleness=0"]
    config = loader.load(options.config, options.env_config, commandline.parse(words, ["train"]).updates)
    runner = build.build(config).run
    add = jax.jit(runner.parts.replay.store.add, donate_argnums=0)
    state, acting, whole = runner.initial(1), [], []
    from tandem.cluster.start import cluster
    from tandem.runners.actors import placement
    from tandem.runners.actors.actor import Order, Published, packed
    from tandem.runners.actors.session import Session, joined

    with cluster("", {"CPU": 1.0}, 200_000_000, "The benchmark was killed."):
        from tandem.runners.actors.failures import Failures
        from tandem.runners.actors.fleet import Fleet

        replay, told = state.replay, placement.actor_options({"CPU": 1.0}, 1)
        seat = Session(runner, 1, 1, None)._seat(0)
        fleet = Fleet(runner.remake, [seat], [packed(state.actors[0])], 0, told, 900.0, Failures(0))
        published = placement.ray.put(Published(0, jax.device_get(state.learner.params)))
        for cycle in range(30):
            began = time.perf_counter()
            fleet.request(published, Order(cycle, 0, 0.0))
            trajectories, _ = fleet.take(cycle)
            replay = jax.block_until_ready(add(replay, jax.tree.map(jnp.asarray, joined(trajectories))))
            whole.append(time.perf_counter() - began)
            acting.append(trajectories[0].seconds)
        fleet.close(0.0)
    beside = [a - b for a, b in zip(whole[5:], acting[5:], strict=True)]
    acted = statistics.median(acting[5:])
    megabytes = sum(x.nbytes for x in jax.tree.leaves(trajectories[0].rows)) / 1e6
    return {
        "acting, ms": 1e3 * acted,
        "beside it, ms": 1e3 * statistics.median(beside),
        "share": statistics.median(beside) / acted,
        "megabytes": megabytes,
    }


def kills(options: argparse.Namespace, folder: Path) -> dict:
    """Return how often an actor was killed, and what is wrong in the replay after it."""
    minutes, done, counted = options.minutes or 3.0, threading.Event(), []
    settings = [
        "runner_args.num_actors=2",
        f"max_minutes={minutes}",
        "t_max=10000000",
        "replay_args.capacity=1200000",
        *SMALL,
    ]
    command = [
        sys.executable,
        "src/main.py",
        "--config=mazero_seq",
        "--env-config=mpe",
        "with",
        f"results_dir={folder}",
    ]
    with open(folder / "kills.txt", "w") as log:
        process = subprocess.Popen(
            [*command, *WITH_ACTORS, *settings], cwd=harness.ROOT, stdout=log, stderr=subprocess.STDOUT
        )
        killer = threading.Thread(target=kill_actors, args=(process.pid, Path(log.name), done, counted))
        killer.start()
        code = process.wait()
        done.set()
        killer.join()
    steps, wrong = check_replay(folder) if code == 0 else (0, -1)
    return {"exit status": code, "kills": len(counted), "environment steps": steps, "rows lost, torn or twice": wrong}


def kill_actors(pid: int, log: Path, done: threading.Event, counted: list) -> None:
    """Kill an actor of a run every 20 seconds, from the first report in its log on."""
    import psutil

    while not done.wait(1.0) and " steps | " not in log.read_text():
        pass
    while not done.wait(20.0):
        family = psutil.Process(pid).children(recursive=True)
        actors = [one for one in family if "ray::Actor" in " ".join(one.cmdline())]
        if actors:
            actors[len(counted) % len(actors)].send_signal(signal.SIGKILL)
            counted.append(time.monotonic())


def check_replay(folder: Path) -> tuple[int, int]:
    """Return the environment steps of a run's last checkpoint and how many of its replay's rows are not as they must
    be.
    """
    import jax
    import numpy as np

    from tandem import build
    from tandem.records import checkpoint, checkpoint_folder, runs
    from tandem.restored import checked_config

    run = runs.find("1", folder)
    path = checkpoint_folder.pick(checkpoint_folder.folder(run.results, run.id))
    state = checkpoint.read(path, build.build(checked_config(run)).run.shapes())
    env_step, rows = int(state.env_step), jax.tree.map(np.asarray, state.replay.experience)
    num_envs = rows.first.shape[0]
    assert env_step // num_envs <= rows.first.shape[1], "the replay is too small to hold the whole run"
    rows = jax.tree.map(lambda x: x[:, : env_step // num_envs], rows)
    stamps = np.arange(0, env_step, num_envs)[None]
    goes_on = (rows.next_obs[:, :-1] == rows.obs[:, 1:]).all((-1, -2)) | rows.first[:, 1:]
    torn = (rows.extras.committed != rows.action).any(-1)  # what was planned and what was played come from one place
    return env_step, int((rows.env_step != stamps).sum() + (~goes_on).sum() + torn.sum())


def score(options: argparse.Namespace, folder: Path) -> dict:
    """Return the scores of runs with actors, ten minutes each."""
    scores = [curve[-1][1] for curve in scored(options, folder, "score", WITH_ACTORS)]
    return {"mean score": statistics.mean(scores), "least": min(scores), "greatest": max(scores)}


def learning(options: argparse.Namespace, folder: Path) -> dict:
    """Return the mean score at 200,000 steps, over the seeds, with actors and without."""
    sides = {"with actors": scored(options, folder, "score", WITH_ACTORS)}
    if options.without:
        runs = json.loads(options.without.read_text())["runs"]["mazero_seq"][: options.seeds]
        sides["without"] = [
            [(step, mpe_spread.score(value)) for step, value in run["eval/search/return"]] for run in runs
        ]
    else:
        sides["without"] = scored(options, folder, "without", WITH_ACTORS[1:])
    there = {
        name: [min(curve, key=lambda point: abs(point[0] - STEPS)) for curve in curves]
        for name, curves in sides.items()
    }
    means = {name: statistics.mean(value for _, value in points) for name, points in there.items()}
    return means | {
        "ratio": means["with actors"] / means["without"],
        "at steps": [step for step, _ in there["with actors"]],
    }


def scored(options: argparse.Namespace, folder: Path, name: str, settings: list[str]) -> list[list[tuple[int, float]]]:
    """Return (environment step, score) of search in runs of ten minutes, by seed."""
    paths = [folder / f"{name}-{seed}" for seed in range(1, options.seeds + 1)]
    clocks = [f"max_minutes={options.minutes or 10}"]
    harness.train_many(
        [(path, "mazero_seq", "mpe", [f"seed={i + 1}", *settings, *clocks]) for i, path in enumerate(paths)], 1
    )
    return [
        [(step, mpe_spread.score(value)) for step, value in harness.curve(path, "eval/search/return")] for path in paths
    ]


ROWS = {"scaling": scaling, "transport": transport, "kills": kills, "score": score, "learning": learning}

if __name__ == "__main__":
    main()
