"""Does it help to fit a world model to random play first, at equal total steps? `python benchmarks/pretraining.py`.

Three ways with small networks: from scratch; pre-trained, and the model learns on; pre-trained and frozen. The steps of
random play count, and as many updates are made in all. Greedy returns of 64 episodes, means over seeds (least, most).
"""

import argparse
import dataclasses
import time

import harness
import jax
import jax.numpy as jnp
import numpy as np

from tandem import backend, build
from tandem.config import commandline, loader
from tandem.core import Recorded, Stream
from tandem.data import recorded
from tandem.ops.streams import stream
from tandem.runners.collect import collect, start

ENVS, UPDATES_PER_STEP = 16, 0.125
COMMON = [
    f"runner_args.num_envs={ENVS}", "runner_args.rollout_length=8", f"runner_args.updates_per_step={UPDATES_PER_STEP}",
    "eval_args.episodes=64", "video=False", "max_minutes=0", "replay=uniform", "replay_args.capacity=20000",
    "replay_args.batch_size=32",
]  # fmt: skip
TASKS = {
    "marie, two_step": {
        "config": "marie", "random": 2048, "total": 8192, "every": 1024,
        "settings": [
            "env_args.scenario=two_step", "network_args.width=16", "network_args.layers=1",
            "network_args.model_size=32", "network_args.hidden_size=16", "network_args.num_layers=1",
            "network_args.codes=9", "network_args.reward_bins=21", "network_args.window=4", "learner_args.context=1",
            "learner_args.horizon=2", "learner_args.starts=64", "learner_args.warmup_updates=200",
            "learner_args.epochs=2", "learner_args.num_minibatches=2", "learner_args.model_warmup=10",
            "learner_args.learning_rate=4e-3", "learner_args.critic_learning_rate=4e-3",
            "learner_args.model_learning_rate=5e-3", "learner_args.entropy_weight=0.1",
            "learner_args.model_minibatches=1", "replay_args.min_size=512",
        ],
    },
    "mazero_joint, climbing": {
        "config": "mazero_joint", "random": 1024, "total": 4096, "every": 512,
        "settings": [
            "env_args.relabel=True", "network_args.latent_size=16", "network_args.hidden_size=32",
            "network_args.encoder_size=32", "network_args.attention=none", "learner_args.warmup_updates=10",
            "learner_args.learning_rate=5e-3", "replay_args.min_size=128", "planner_args.num_simulations=9",
        ],
    },
}  # fmt: skip
WAYS = ("from scratch", "learns on", "frozen")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    backend.prepare_jax("cpu")
    result = {}
    for name in options.tasks:
        task, began = TASKS[name], time.process_time()
        found = {way: list(curves(task, way, options.seeds)) for way in options.ways}
        steps = sorted({step for several in found.values() for curve in several for step in curve})
        rows = [[way, *(_cell(several, step) for step in steps)] for way, several in found.items()]
        print(f"\n{name}, {options.seeds} seeds, {time.process_time() - began:.0f} s of processor time")
        print(harness.table(rows, ["steps in all", *steps]), flush=True)
        result[name] = found
    harness.write("pretraining", {"seeds": options.seeds, "returns": result})


def curves(task: dict, way: str, seeds: int):
    """Yield {steps in all: greedy return} for each seed."""
    before = 0 if way == "from scratch" else task["random"]
    words = [*COMMON, *task["settings"], f"t_max={task['total'] - before}"]
    words += [f"runner_args.report_every={task['every']}", f"eval_args.every={task['every']}"]
    if before:
        mode = "freeze" if way == "frozen" else "train"
        words += [
            "learner_args.pretrain=random", f"learner_args.pretrain_updates={round(before * UPDATES_PER_STEP)}",
            f"learner_args.pretrain_mode={mode}",
        ]  # fmt: skip
    built = build.build(loader.load(task["config"], "matrix_game", commandline.updates(words)))
    replay = recorded.make(recorded.Config(batch_size=32), 1, built.learner.sequence_length)
    for seed in range(1, seeds + 1):
        run = built.run
        if before:
            rows = random_play(built, before // ENVS, jax.random.key(100 + seed))
            run = dataclasses.replace(run, pretrain=Recorded(rows=rows, replay=replay))
        kind = "eval/search/return" if "search" in built.players else "eval/policy/return"
        curve = {before + report.step: report.metrics[kind] for report, _ in run(seed) if kind in report.metrics}
        print(way, seed, curve, flush=True)
        yield curve


def random_play(built: build.Built, steps: int, key: jax.Array) -> Stream:
    """Return rows of a policy that nothing was learned by, which draws from all actions nearly alike."""
    player = built.players["policy"]

    def play(key):
        init_key, start_key, key = jax.random.split(key, 3)
        params = built.learner.acting(built.learner.init(init_key))
        actors = start(built.env, player, start_key, ENVS)
        return collect(built.env, player, params, actors, key, steps, jnp.int32(0), jnp.zeros(()))[1]

    rows = jax.tree.map(np.asarray, jax.jit(play)(key)).replace(extras=())
    rows = jax.tree.map(lambda x: x.reshape(1, -1, *x.shape[2:]), rows)
    first = rows.first.copy()
    first[0, ::steps] = True  # another environment's begin there
    return stream(rows.replace(first=first))


def _cell(curves: list[dict[int, float]], step: int) -> str:
    values = [curve[step] for curve in curves if step in curve]
    return f"{np.mean(values):.1f} ({min(values):.1f}, {max(values):.1f})" if values else ""


if __name__ == "__main__":
    main()
