"""What `marie`'s two layouts cost: `python benchmarks/imagination_speed.py`.

An update of the world model, and the dreams of a round without what is learned from them. All sizes are those of
`marie` on an environment, apart from the layout. The two take turns, call by call, so that whatever else the machine
does weighs on both. Time is the processor's, of all threads; a line has medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import harness
import jax
import jax.numpy as jnp

from tandem import backend, build
from tandem.config import commandline, loader
from tandem.learners.dreams import dream, starts
from tandem.runners.loop import compiled_once

LAYOUTS, KINDS = ("one", "tokens"), ("model update", "round of dreams")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env-config", default="mpe")
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("settings", nargs="*", metavar="key=value", help="over those of marie")
    options = parser.parse_args()
    backend.prepare_jax("cpu")
    timed = {layout: programs(options.env_config, [*options.settings, f"network_args.layout={layout}"])
             for layout in LAYOUTS}  # fmt: skip
    found = {}
    for i, kind in enumerate(KINDS):
        times: dict[str, list[float]] = {layout: [] for layout in LAYOUTS}
        for call in range(1 + options.calls):
            for layout in LAYOUTS:
                seconds = process_time(timed[layout][i], call)
                if call:  # the first one compiles
                    times[layout].append(seconds)
        found[kind] = {layout: 1000 * statistics.median(each) for layout, each in times.items()}
        print(kind, found[kind], flush=True)
    rows = [[layout, *(f"{found[kind][layout]:.0f}" for kind in KINDS)] for layout in LAYOUTS]
    rows.append(["tokens / one", *(f"{found[kind]['tokens'] / found[kind]['one']:.1f}" for kind in KINDS)])
    print(harness.table(rows, ["layout", *(f"CPU ms per {kind}" for kind in KINDS)]))
    task = {"env_config": options.env_config, "settings": options.settings, "calls": options.calls}
    harness.write("imagination_speed", task | {"cpu_ms": found})


def programs(env_config: str, words: list[str]) -> tuple[Callable[[jax.Array], Any], Callable[[jax.Array], Any]]:
    """Return an update of the model and a round's dreams, key -> anything, on a batch that everybody outlives.

    What the batch shows does not matter for the time that they take.
    """
    config = loader.load("marie", env_config, commandline.updates([*words, "learner_args.pretrain=rows"]))
    built, args = build.build(config), config["learner_args"]
    batch = jax.eval_shape(
        built.run.parts.replay.source.sample, built.run.shapes().replay, jax.random.key(0), jnp.zeros(())
    )
    batch = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), batch)
    everybody = {name: jnp.ones_like(getattr(batch.traj, name)) for name in ("alive", "next_alive", "legal")}
    batch = batch.replace(traj=batch.traj.replace(**everybody))
    state = compiled_once(built.learner.init)(jax.random.key(0))
    state = state.replace(opt=built.learner.pretraining.opt(state.params))
    begun = starts(batch.traj, args["context"], args["starts"], jax.random.key(1))
    world = built.model.sequence_model
    update = jax.jit(built.learner.pretraining.update)
    night = jax.jit(lambda key: dream(world, built.spec, state.params, begun, args["horizon"], key))
    return lambda key: update(state, batch, key), night


def process_time(program: Callable[[jax.Array], Any], call: int) -> float:
    """Return the processor time of one call in seconds."""
    key, began = jax.random.key(call), time.process_time()
    jax.block_until_ready(program(key))
    return time.process_time() - began


if __name__ == "__main__":
    main()
