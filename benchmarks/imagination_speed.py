"""What a model update and a round of dreams cost in `marie`'s two layouts: `python benchmarks/imagination_speed.py`.

All sizes are those of `marie` on an environment, apart from the layout. The two take turns, call by call, so that
whatever else the machine does weighs on both. Time is the processor's, of all threads; a line has medians.
"""

import argparse
import statistics
import time

import harness
import jax
import jax.numpy as jnp

from tandem import backend, build
from tandem.config import commandline, loader

LAYOUTS = ("one", "tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env-config", default="mpe")
    parser.add_argument("--calls", type=int, default=7)
    parser.add_argument("settings", nargs="*", metavar="key=value", help="over those of marie")
    options = parser.parse_args()
    backend.prepare_jax("cpu")
    timed = {layout: Timed(options.env_config, [*options.settings, f"network_args.layout={layout}"])
             for layout in LAYOUTS}  # fmt: skip
    for each in timed.values():
        each.model_update(), each.with_round()  # compile
    found = {layout: ([], []) for layout in LAYOUTS}
    for _ in range(options.calls):
        for layout, each in timed.items():
            update = each.model_update()
            found[layout][0].append(update)
            found[layout][1].append(each.with_round() - update)
    median = {layout: [1000 * statistics.median(times) for times in found[layout]] for layout in LAYOUTS}
    rows = [[layout, *(f"{value:.0f}" for value in median[layout])] for layout in LAYOUTS]
    rows.append(["tokens / one", *(f"{b / a:.1f}" for a, b in zip(*(median[layout] for layout in LAYOUTS)))])
    print(harness.table(rows, ["layout", "CPU ms per model update", "CPU ms per round of dreams"]))
    task = {"env_config": options.env_config, "settings": options.settings, "calls": options.calls}
    harness.write("imagination_speed", task | {"cpu_ms": median})


class Timed:
    """The learner of a configuration, and a batch that everybody outlives; what it shows does not matter for time."""

    def __init__(self, env_config: str, words: list[str]):
        config = loader.load("marie", env_config, commandline.updates(words))
        built = build.build(config)
        args, parts = config["learner_args"], built.run.parts
        # An update with a round, and one without; neither measures open-loop errors, which come once in `often`.
        often = args["round_every"] * args["check_every"]
        if args["round_every"] < 2 or args["check_every"] < 2:
            raise SystemExit("learner_args.round_every and check_every have to be at least 2 to be told apart")
        self.due = (args["warmup_updates"] // often + 1) * often + args["round_every"]
        batch = jax.eval_shape(
            parts.replay.source.sample, built.run.shapes().replay, jax.random.key(0), jnp.zeros(())
        )  # fmt: skip
        batch = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), batch)
        everybody = {name: jnp.ones_like(getattr(batch.traj, name)) for name in ("alive", "next_alive", "legal")}
        self.batch, self.update = batch.replace(traj=batch.traj.replace(**everybody)), jax.jit(built.learner.update)
        self.state = jax.jit(built.learner.init)(jax.random.key(0))

    def model_update(self) -> float:
        return self._seconds(self.due + 1)

    def with_round(self) -> float:
        return self._seconds(self.due)

    def _seconds(self, step: int) -> float:
        state = self.state.replace(step=jnp.int32(step))
        began = time.process_time()
        jax.block_until_ready(self.update(state, self.batch, jax.random.key(step)))
        return time.process_time() - began


if __name__ == "__main__":
    main()
