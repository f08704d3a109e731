"""How well a robot of MABrax learns to run: `python benchmarks/mabrax.py`.

Mean return of 32 greedy episodes on fresh environments over training time, beside that of torques drawn uniformly from
[-1, 1]. Needs brax. Words after `--with` are settings for every run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

RANDOM = """
import jax, jax.numpy as jnp, numpy as np, sys
from tandem.core import Plan, Planner, PolicyExtras
from tandem.envs import mabrax
from tandem.runners.collect import evaluate

env = mabrax.make(mabrax.Config(scenario=sys.argv[1]))

def plan(params, carry, timestep, key, explore, progress):
    shape = timestep.legal.shape
    nothing = jnp.zeros(shape[:-1])
    extras = PolicyExtras(log_prob=nothing, policy=jnp.zeros(shape), entropy=nothing)
    return carry, Plan(action=jax.random.uniform(key, shape, minval=-1.0), extras=extras)

planner = Planner(init=lambda batch: (), plan=plan)
scores = jax.jit(lambda key: evaluate(env, planner, {}, key, 32))(jax.random.key(0))
print(float(np.mean(scores["return"])))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="mappo_continuous")
    parser.add_argument("--scenario", default="halfcheetah_6x1")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--folder", type=Path, default=None, help="keep the runs here")
    parser.add_argument("--with", nargs="+", default=[], dest="settings", help="settings for every run")
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="tandem-mabrax-"))).resolve()
    settings = [
        "video=false",
        f"env_args.scenario={options.scenario}",
        f"max_minutes={options.minutes}",
        *options.settings,
    ]
    paths = {seed: folder / f"{options.config}-{seed}" for seed in range(1, options.seeds + 1)}
    harness.train_many(
        [(path, options.config, "mabrax", [f"seed={seed}", *settings]) for seed, path in paths.items()], 1
    )
    random = random_return(options.scenario)
    results = [result(options.config, options.scenario, seed, random, path) for seed, path in paths.items()]
    print(harness.table([list(row.values())[:-1] for row in results], list(results[0])[:-1]))
    harness.write("mabrax", {"minutes": options.minutes, "settings": settings, "runs": results})


def random_return(scenario: str) -> float:
    """Return the mean return of 32 episodes of random torques."""
    command = [sys.executable, "-c", RANDOM, scenario]
    environment = os.environ | {"PYTHONPATH": str(harness.ROOT)}
    output = subprocess.run(
        command, cwd=harness.ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    return float(output.split()[-1])


def result(config: str, scenario: str, seed: int, random: float, path: Path) -> dict:
    """Return one row of the table, and the curve: environment steps, seconds of training, return."""
    clock = dict(harness.curve(path, "time/training_seconds"))
    curve = [(step, round(clock[step], 1), value) for step, value in harness.curve(path, "eval/policy/return")]
    first = min(clock)  # the first report compiles and is not timed
    steps, seconds, value = curve[-1]
    return {
        "config": config,
        "scenario": scenario,
        "seed": seed,
        "random": f"{random:.0f}",
        "return": f"{value:.0f}",
        "best": f"{max(point[2] for point in curve):.0f}",
        "distance": f"{harness.last(path, 'eval/policy/distance'):.1f} m",
        "env steps": steps,
        "steps/s": f"{(steps - first) / max(seconds, 1e-9):.0f}",
        "curve": curve,
    }


if __name__ == "__main__":
    main()
