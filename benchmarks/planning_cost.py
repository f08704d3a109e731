"""What decisions and updates cost by policy head, value of unfinished joint steps and number of agents:
`python benchmarks/planning_cost.py`.

One decision is a joint action for one environment, planned for 32 at once by an untrained network with the settings of
MPE simple_spread; one update fits a batch of these settings. Time is the processor's, of all threads, so that a busy
machine does not matter much: the median of several calls.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import harness
import jax
import jax.numpy as jnp

from tandem import backend, build
from tandem.config import commandline, loader

ENVIRONMENTS, CALLS = 32, 7
HEADS = ("sum", "attention", "gru")
UNFINISHED = ("completion", "conditioned", "parent")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=[3, 5, 8])
    options = parser.parse_args()
    variants = [("plies", "mazero_seq", [f"network_args.policy_head={head}"]) for head in HEADS]
    variants += [("plies", "mazero_seq", [f"planner_args.unfinished_value={kind}"]) for kind in UNFINISHED[1:]]
    variants += [
        ("", "mazero_seq", ["planner=paths"]),
        ("joint", "mazero_joint", []),
        ("independent", "mazero_ind", []),
    ]
    rows, result = [], []
    for agents in options.agents:
        for name, config, settings in variants:
            whole = name == "joint" or settings == ["planner=paths"]  # one search for the whole team
            simulations = 8 * agents if whole else 8  # the same number of imagined steps
            words = [f"env_args.num_agents={agents}", f"planner_args.num_simulations={simulations}", *settings]
            built = construct(config, "mpe", words)
            milliseconds, compiling = decision(built)
            learning = update(built)
            label = f"{name} {settings[0].partition('=')[2] if settings else ''}".strip()
            rows.append([agents, label, f"{milliseconds:.2f}", f"{learning:.1f}", f"{compiling:.1f}"])
            costs = {"decision_cpu_ms": milliseconds, "update_cpu_ms": learning, "compile_cpu_s": compiling}
            result.append({"agents": agents, "variant": label, "simulations": simulations, **costs})
            print(rows[-1], flush=True)
    print(harness.table(rows, ["agents", "planner", "CPU ms per decision", "CPU ms per update", "CPU s to compile"]))
    harness.write("planning_cost", {"environments": ENVIRONMENTS, "runs": result})


def decision(built: build.Built) -> tuple[float, float]:
    """Return the processor time of one exploring decision in milliseconds, and that of compiling it in seconds."""
    params = jax.jit(built.learner.init)(jax.random.key(0)).params
    _, timestep = jax.jit(jax.vmap(built.env.reset))(jax.random.split(jax.random.key(1), ENVIRONMENTS))
    carry = built.planner.init(ENVIRONMENTS)
    plan = jax.jit(
        lambda params, timestep, key: built.planner.plan(params, carry, timestep, key, True, jnp.zeros(()))[1]
    )
    first, later = process_times(lambda key: plan(params, timestep, key))
    return 1000 * later / ENVIRONMENTS, first


def update(built: build.Built) -> float:
    """Return the processor time of one update in milliseconds; what the batch holds does not matter for it."""
    batch = jax.eval_shape(
        built.run.parts.replay.source.sample, built.run.shapes().replay, jax.random.key(0), jnp.zeros(())
    )
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), batch)
    learn = jax.jit(built.learner.update)
    learner = jax.jit(built.learner.init)(jax.random.key(0))
    return 1000 * process_times(lambda key: learn(learner, zeros, key))[1]


def construct(config: str, env_config: str, words: Sequence[str]) -> build.Built:
    """Return what the configuration describes, built on the CPU."""
    backend.prepare_jax("cpu")
    return build.build(loader.load(config, env_config, commandline.updates(words)))


def process_times(call: Callable) -> tuple[float, float]:
    """Return the processor time of call(key) in seconds: at first, and the median of those after."""
    times = []
    for number in range(1 + CALLS):
        began = time.process_time()
        jax.block_until_ready(call(jax.random.key(number)))
        times.append(time.process_time() - began)
    return times[0], statistics.median(times[1:])


if __name__ == "__main__":
    main()
