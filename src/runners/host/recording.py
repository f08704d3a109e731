"""Playing episodes that are to be kept, in environments outside JAX: `recording.make`, from a loop on the host."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Array, EnvSpec, HostEnvironment, Key, Params, Planner, TimeStep, Transition, transition
from tandem.runners.host.collect import HostActors, example
from tandem.runners.host.envs import HostEnvs
from tandem.runners.recording import STEPS, Recorder, with_lots

MOST_FAILURES = 50  # of environments, that are lived with in a million steps


def make(
    make_env: Callable[[], HostEnvironment], spec: EnvSpec, player: Planner, num_envs: int, sample: bool,
    timeout: float,
) -> Recorder:  # fmt: skip
    """Return what plays a team; every agent now and then plays a legal action by lot.

    Args:
      sample: actions are drawn from the policies; else they are those of evaluations, the best.
      timeout: seconds that one reset or step of an environment may take; 0 = no limit.
    """
    # HostActors hands on one number with every step: to other planners how far a run is, to this one epsilon.
    planner = player._replace(plan=_mixed(player, sample))
    running: list[HostEnvs] = []

    def close() -> None:
        for envs in running:
            envs.close()

    def start(key: Key) -> HostActors:
        close()
        stream = jax.random.key_data(key).tolist()
        running[:] = [HostEnvs(make_env, num_envs, stream, timeout, MOST_FAILURES, worked=bool(running))]
        return HostActors(running[0], planner, spec)

    def play(params: Params, actors: HostActors, key: Key, epsilon: Array):
        rows, metrics = [], []
        for seen, plan, outcome in actors.steps(params, key, STEPS, float(epsilon)):
            rows.append(transition(seen, plan, outcome, np.zeros(num_envs, np.int32)))
            metrics.append(outcome.metrics)
        return actors, jax.tree.map(lambda *x: np.stack(x, axis=1), *[(row, each) for row, each in zip(rows, metrics)])

    def row(params: Params) -> Transition:
        return example(spec, planner, params)

    return Recorder(start, play, row, num_envs, close)


def _mixed(player: Planner, sample: bool) -> Callable:
    """Return a `plan` of the same kind, whose actions are those of `recording.with_lots`."""

    def plan(params: Params, carry, seen: TimeStep, key: Key, explore: bool, epsilon: Array):
        del explore
        plan_key, lots_key = jax.random.split(key)
        carry, plan = player.plan(params, carry, seen, plan_key, sample, jnp.ones(()))
        return carry, with_lots(plan, seen, lots_key, epsilon, sample)

    return plan
