"""Wall-clock of the recorded training loop over the sum of its compiled parts: `python benchmarks/host_overhead.py`.

The parts are compiled and timed one by one: a rollout that is added to the replay, and an update on a sample from it.
Their number per report times their time is what a report would take if the loop around them were free.
"""

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
    parser.add_argument("--minutes", type=float, default=1.5)
    options = parser.parse_args()
    per_report = parts_per_report(options.config, options.env_config)
    folder = Path(tempfile.mkdtemp(prefix="tandem-overhead-"))
    settings = [f"max_minutes={options.minutes}", "eval_args.episodes=2"]
    harness.train(folder, options.config, options.env_config, settings)
    steps = [step for step, _ in harness.curve(folder, "train/return")]
    speed = [value for step, value in harness.curve(folder, "time/steps_per_second") if step > steps[len(steps) // 4]]
    wall = (steps[1] - steps[0]) / statistics.median(speed)
    rows = [[options.config, f"{1e3 * wall:.0f}", f"{1e3 * per_report:.0f}", f"{wall / per_report:.3f}"]]
    print(harness.table(rows, ["config", "report of the loop, ms", "its compiled parts, ms", "ratio"]))
    harness.write("host_overhead", {"config": options.config, "loop_seconds": wall, "parts_seconds": per_report})


def parts_per_report(config_name: str, env_config: str) -> float:
    """Return the seconds that a report's rollouts and updates take, each compiled and timed by itself."""
    import jax
    import jax.numpy as jnp

    from tandem import backend, build
    from tandem.config import loader
    from tandem.runners.collect import collect

    backend.prepare_jax("auto", "auto")
    config = loader.load(config_name, env_config, ())
    runner = build.build(config).run
    parts, zero = runner.parts, jnp.zeros(())
    settings = parts.config

    def gather(state):
        actors, rows, _ = collect(
            parts.env,
            parts.planner,
            state.learner.params,
            state.actors,
            state.key,
            settings.rollout_length,
            state.env_step,
            zero,
        )
        return state.replace(
            actors=actors, replay=parts.replay.store.add(state.replay, rows), key=jax.random.split(state.key)[0]
        )

    def update(state):
        batch = parts.replay.source.sample(state.replay, state.key, zero)
        learner, _, priorities = parts.learner.update(state.learner, batch, state.key)
        replay = parts.replay.source.set_priorities(state.replay, batch.index, priorities)
        return state.replace(learner=learner, replay=replay, key=jax.random.split(state.key)[0])

    state, _ = runner.loop.train(runner.initial(0))
    cycles = runner.loop.steps_per_report / (settings.num_envs * settings.rollout_length)
    state, seconds_to_gather = timed(jax.jit(gather, donate_argnums=0), state, 20)
    _, seconds_to_update = timed(jax.jit(update, donate_argnums=0), state, 100)
    return cycles * seconds_to_gather + runner.loop.steps_per_report * settings.updates_per_step * seconds_to_update


def timed(function, state, repeats: int):
    """Return the state after calling a compiled function again and again, and its median seconds per call."""
    import jax

    state = jax.block_until_ready(function(state))
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        state = jax.block_until_ready(function(state))
        seconds.append(time.perf_counter() - began)
    return state, statistics.median(seconds)


if __name__ == "__main__":
    main()
