"""What an update on recorded rows costs: `python benchmarks/offline_update.py`.

QMIX with conservative Q-learning at the sizes of SMAX 3m: 32 sequences of 20 rows, 3 agents, observations of 75, states
of 72, 8 actions, width 64. Beside it, what each part adds, and behaviour cloning. The variants take turns, so that a
machine that gets busier does so for all of them. Time is the processor's, of all threads.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import harness
import jax
import jax.numpy as jnp
import numpy as np

from tandem import backend
from tandem.core import Discrete, EnvSpec, Learner, PolicyExtras, Stream, Transition, Vector
from tandem.data import recorded
from tandem.learners import bc, q_offline
from tandem.models import actor_critic, q_behaviour
from tandem.ops.streams import stream
from tandem.runners.learn import learn_once
from tests.reference.run_plans import run_plan

BATCH, LENGTH, AGENTS, OBS, STATE, ACTIONS, WIDTH = 32, 20, 3, 75, 72, 8, 64
ROWS, EPISODE = 6000, 25
UPDATES = 25  # in one compiled call
SPEC = EnvSpec(
    num_agents=AGENTS, obs=Vector(OBS), state=Vector(STATE), actions=Discrete(ACTIONS), episode_limit=60,
    shared_reward=True,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="learners with one of these in the name")
    options = parser.parse_args()
    backend.prepare_jax("cpu")
    data = recorded.hold(rows())
    chosen = {
        name: learner
        for name, learner in variants().items()
        if not options.only or any(word in name for word in options.only)
    }
    calls = {name: compiled(learner, data) for name, learner in chosen.items()}
    milliseconds: dict[str, list[float]] = {name: [] for name in calls}
    load = [os.getloadavg()[0]]
    for number in range(options.rounds):
        for name, call in calls.items():
            milliseconds[name].append(1000 * processor_time(partial(call, number)) / UPDATES)
    load.append(os.getloadavg()[0])
    table = [[name, f"{statistics.median(each):.1f}", f"{min(each):.1f}"] for name, each in milliseconds.items()]
    print(harness.table(table, ["learner", "processor ms per update, median", "least"]))
    print(f"load average: {load[0]:.1f} before, {load[1]:.1f} after")
    sizes = {"batch": BATCH, "length": LENGTH, "agents": AGENTS, "obs": OBS, "state": STATE, "actions": ACTIONS}
    harness.write("offline_update", {"sizes": sizes, "load": load, "milliseconds": milliseconds})


def variants() -> dict[str, Learner]:
    """Return the learners that are compared."""
    plan = run_plan(SPEC, 0.99)
    found = {}
    for name, memory, conservatism in (
        ("QMIX + CQL, GRU", "gru", "joint"),
        ("QMIX, GRU, nothing held low", "gru", "none"),
        ("QMIX + CQL, no memory", "none", "joint"),
    ):
        network = q_behaviour.Config(hidden_size=WIDTH, memory=memory, mixer="monotone")
        config = q_offline.Config(sequence=LENGTH, conservatism=conservatism)
        found[name] = q_offline.make(config, q_behaviour.make(network, SPEC), plan)
    policy = actor_critic.make(actor_critic.Config(hidden_size=WIDTH, actor_memory="gru"), SPEC)
    return found | {"BC, GRU": bc.make(bc.Config(sequence=LENGTH), policy, plan)}


def rows() -> Stream:
    """Return random rows of episodes that end by themselves."""
    random, ended = np.random.default_rng(1), np.arange(ROWS) % EPISODE == EPISODE - 1
    everybody, always = np.ones((1, ROWS, AGENTS), bool), np.ones((1, ROWS, AGENTS, ACTIONS), bool)

    def noise(*shape: int) -> np.ndarray:
        return random.normal(size=(1, ROWS, *shape)).astype(np.float32)

    obs, state = noise(AGENTS, OBS), noise(STATE)
    extras = PolicyExtras(log_prob=noise(AGENTS), policy=noise(AGENTS, ACTIONS), entropy=noise(AGENTS))
    return stream(
        Transition(
            obs=obs, state=state, legal=always, present=everybody, alive=everybody, first=np.roll(ended, 1)[None],
            action=random.integers(0, ACTIONS, (1, ROWS, AGENTS)).astype(np.int32), extras=extras,
            reward=np.repeat(noise(1), AGENTS, axis=-1), terminated=ended[None], truncated=np.zeros((1, ROWS), bool),
            next_obs=obs, next_state=state, next_legal=always, next_alive=everybody,
            env_step=np.arange(ROWS, dtype=np.int32)[None],
        )
    )  # fmt: skip


def compiled(learner: Learner, data: Stream) -> Callable[[int], None]:
    """Return a function that makes UPDATES updates and waits for them; it has been called once."""
    source = recorded.make(recorded.Config(batch_size=BATCH), 1, learner.sequence_length).source

    def many(state, data, key):
        def one(state, key):
            return learn_once(learner, source, state, data, key, jnp.int32(ROWS), jnp.float32(0.0))[0], ()

        return jax.lax.scan(one, state, jax.random.split(key, UPDATES))[0]

    run, state = jax.jit(many), jax.jit(learner.init)(jax.random.key(0))

    def call(number: int) -> None:
        jax.block_until_ready(run(state, data, jax.random.key(number)))

    call(0)
    return call


def processor_time(call: Callable[[], None]) -> float:
    """Return the seconds that a call takes of the processor."""
    began = time.process_time()
    call()
    return time.process_time() - began


if __name__ == "__main__":
    main()
