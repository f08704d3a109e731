"""Acting in environments outside JAX: the rows and scores that `collect` gives, from a loop on the host.

One step is one compiled call that plans for all environments, and one call of each environment.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from tandem.core import EnvSpec, Key, Params, Plan, Planner, PyTree, TimeStep, Transition, transition
from tandem.ops.team import team_reward
from tandem.runners.collect import Episodes, of_plans, policy_entropy
from tandem.runners.host.envs import HostEnvs, another_seed


def example(spec: EnvSpec, planner: Planner, params: Params) -> Transition:
    """Return what a row looks like, leaves are jax.ShapeDtypeStruct; no environment is started."""
    seen = stack([blank(spec)])

    def row(params) -> Transition:
        _, plan = planner.plan(params, planner.init(1), seen, jax.random.key(0), True, np.float32(0.0))
        return transition(seen, plan, seen, np.zeros(1, np.int32))

    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), jax.eval_shape(row, params))


def blank(spec: EnvSpec) -> TimeStep:
    """Return a step of zeros."""
    agents, no = spec.num_agents, np.array(False)
    return TimeStep(
        obs=np.zeros((agents, *spec.obs.shape), np.float32),
        state=np.zeros(spec.state.size, np.float32),
        legal=np.ones((agents, spec.actions.size), bool),
        present=np.ones(agents, bool),
        alive=np.ones(agents, bool),
        reward=np.zeros(agents, np.float32),
        terminated=no,
        truncated=no,
        first=~no,
        metrics={name: np.zeros((), np.float32) for name in spec.metric_names},
    )


class HostActors:
    """E environments and what is known of their running episodes."""

    def __init__(self, envs: HostEnvs, planner: Planner, spec: EnvSpec):
        self.envs, self.spec = envs, spec
        self.num_envs = len(envs.envs)
        self.plan = compiled(planner.plan)
        self.carry = planner.init(self.num_envs)
        self.timesteps: list[TimeStep] = []  # to act on next; none before the first rollout
        self.returns, self.lengths = np.zeros(self.num_envs), np.zeros(self.num_envs)

    def collect(
        self, params: Params, key: Key, num_steps: int, made_at: np.ndarray, progress: float
    ) -> tuple[Transition, Episodes]:
        """Return rows [E, T, ...] in NumPy, and the episodes that ended.

        Args:
          made_at: [T] int32, the run's environment steps before each step.
        """
        sums = dict.fromkeys(("return", "length", *self.spec.metric_names), 0.0)
        episodes, rows, plans = Episodes(count=0.0, sums=sums, plans={}), [], []
        for t, (seen, plan, outcome) in enumerate(self.steps(params, key, num_steps, progress)):
            rows.append(transition(seen, plan, outcome, np.full(self.num_envs, made_at[t], np.int32)))
            plans.append(of_plans(plan.metrics))
            episodes = self._count(episodes, outcome)
        episodes = episodes.replace(plans=jax.tree.map(lambda *x: float(sum(x)), *plans))
        return jax.tree.map(lambda *x: np.stack(x, axis=1), *rows), episodes

    def steps(
        self, params: Params, key: Key, num_steps: int, progress: float
    ) -> Iterator[tuple[TimeStep, Plan, TimeStep]]:
        """Yield what was acted on, the plan and its outcome, [E, ...] each; where an episode ends, another begins."""
        if not self.timesteps:
            self.timesteps = [self.envs.reset(i) for i in range(self.num_envs)]
        params = jax.device_put(params)
        for step_key in jax.random.split(key, num_steps):
            seen, plan, outcome = self._advance(params, step_key, progress)
            yield seen, plan, outcome
            ended = outcome.terminated | outcome.truncated
            for i in range(self.num_envs):
                if ended[i]:
                    self._begin(i)
                else:
                    self.timesteps[i] = jax.tree.map(lambda x, i=i: x[i], outcome)

    def _advance(self, params: Params, key: Key, progress: float) -> tuple[TimeStep, Plan, TimeStep]:
        """Return what was acted on, the plan and its outcome, [E, ...] each.

        An environment that fails loses its episode: it begins another, for which all are asked again what to do.
        """
        seen = stack(self.timesteps)
        carry, (plan, _) = self.plan(params, self.carry, seen, key, np.float32(progress), explore=True)
        plan, outcomes, left = jax.device_get(plan), {}, list(range(self.num_envs))
        while True:
            outcomes |= {i: self.envs.step(i, plan.action[i]) for i in left}
            left = [i for i in left if outcomes[i] is None]
            if not left:
                break
            for i in left:
                self._begin(i)
            seen, key = stack(self.timesteps), jax.random.fold_in(key, 1)
            carry, (again, _) = self.plan(params, self.carry, seen, key, np.float32(progress), explore=True)
            plan = jax.tree.map(partial(_replaced, left), plan, jax.device_get(again))
        self.carry = carry
        return seen, plan, stack([outcomes[i] for i in range(self.num_envs)])

    def _begin(self, i: int) -> None:
        self.returns[i], self.lengths[i] = 0.0, 0
        self.timesteps[i] = self.envs.reset(i)

    def _count(self, episodes: Episodes, outcome: TimeStep) -> Episodes:
        """Return the sums with the episodes that ended at this step."""
        self.returns += team_reward(outcome.reward, self.spec.shared_reward)
        self.lengths += 1
        ended = outcome.terminated | outcome.truncated
        scores = {"return": self.returns, "length": self.lengths} | outcome.metrics
        sums = {name: total + float(np.sum(scores[name][ended])) for name, total in episodes.sums.items()}
        return episodes.replace(count=episodes.count + float(ended.sum()), sums=sums)


def evaluate(
    envs: HostEnvs, planner: Planner, spec: EnvSpec, params: Params, key: Key, seeds: list[int]
) -> dict[str, np.ndarray]:
    """Return {metric: [episodes]} of greedy play, an episode for each seed, as many at a
    time as there are environments.

    "entropy" is [episodes, N], as of `collect.evaluate`. In place of an episode whose
    environment fails another is played.
    """
    num_envs, plan_all = len(envs.envs), compiled(planner.plan)
    running = [_Episode(i, spec) if i < len(seeds) else None for i in range(num_envs)]
    timesteps = [envs.reset(i, seeds[i]) if i < len(seeds) else blank(spec) for i in range(num_envs)]
    params, carry, finished, waiting = (
        jax.device_put(params),
        planner.init(num_envs),
        {},
        list(range(num_envs, len(seeds))),
    )
    while any(running):
        key, plan_key = jax.random.split(key)
        carry, (plan, entropies) = plan_all(params, carry, stack(timesteps), plan_key, np.float32(1.0), explore=False)
        action, entropies = jax.device_get((plan.action, entropies))
        for i, episode in enumerate(running):
            if episode is None:
                continue
            outcome = envs.step(i, action[i])
            if outcome is None:
                running[i] = _Episode(episode.number, spec, episode.tries + 1)
                timesteps[i] = envs.reset(i, another_seed(seeds[episode.number], running[i].tries))
                continue
            episode.add(timesteps[i], outcome, entropies[i])
            timesteps[i] = outcome
            if outcome.terminated or outcome.truncated:
                finished[episode.number], running[i] = episode.scores(outcome), None
                if waiting:
                    running[i] = _Episode(waiting.pop(0), spec)
                    timesteps[i] = envs.reset(i, seeds[running[i].number])
    return {name: np.stack([finished[n][name] for n in range(len(seeds))]) for name in finished[0]}


def evaluators(envs: HostEnvs, players: Mapping[str, Planner], spec: EnvSpec, num_episodes: int) -> dict[str, Callable]:
    """Return, for each way to play, what plays it greedily: params, key -> {metric: [num_episodes]}."""

    def evaluator(player: Planner, params: Params, key: Key) -> dict[str, np.ndarray]:
        seeds = jax.random.randint(key, (num_episodes,), 0, np.iinfo(np.int32).max).tolist()
        return evaluate(envs, player, spec, params, key, seeds)

    return {name: partial(evaluator, player) for name, player in players.items()}


class _Episode:
    """The sums of one episode of an evaluation."""

    def __init__(self, number: int, spec: EnvSpec, tries: int = 0):
        self.number, self.spec, self.tries, self.total, self.length = number, spec, tries, 0.0, 0
        self.entropy, self.steps_alive = np.zeros(spec.num_agents), np.zeros(spec.num_agents)

    def add(self, seen: TimeStep, outcome: TimeStep, entropies: np.ndarray) -> None:
        self.total += float(team_reward(outcome.reward, self.spec.shared_reward))
        self.length += 1
        self.entropy += np.where(seen.alive, entropies, 0.0)
        self.steps_alive += seen.alive

    def scores(self, last: TimeStep) -> dict[str, Any]:
        scores = {"return": np.float32(self.total), "length": np.float32(self.length)} | last.metrics
        return scores | {"entropy": (self.entropy / np.maximum(self.steps_alive, 1)).astype(np.float32)}


@cache
def compiled(plan: Callable) -> Callable:
    """Return `_plan` with this planner's `plan`, traced and compiled once however many evaluations ask for it."""
    return jax.jit(partial(_plan, plan), static_argnames="explore")


def _plan(plan_of: Callable, params: Params, carry: PyTree, seen: TimeStep, key: Key, progress: Any, *, explore: bool):
    """Return the carry, and the plan with the entropies [E, N] of its policies."""
    carry, plan = plan_of(params, carry, seen, key, explore, progress)
    return carry, (plan, policy_entropy(plan.extras))


def stack(timesteps: list[TimeStep]) -> TimeStep:
    """Return single steps as one batch [E, ...]."""
    return jax.tree.map(lambda *x: np.stack(x), *timesteps)


def _replaced(rows: list[int], old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return [E, ...] with some rows of `new`."""
    old = np.array(old)
    old[rows] = new[rows]
    return old
