"""The loop of every runner: train for a report's length, evaluate when it is due, yield, until the run is over."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tandem.core import Array, Environment, Key, Learner, Planner, PyTree, Replay, Report, RunPlan
from tandem.core.metrics import (
    EVAL_SECONDS, PARAMETER_NORM, STARTUP_SECONDS, STEPS_PER_SECOND, TRAINING_SECONDS, evaluated,
)  # fmt: skip
from tandem.runners.collect import Episodes, evaluate
from tandem.runners.patience import Patience

ACTORS, PRETRAINING = 2, 3  # their indices in a seed's key; `keys` has 0 and 1
NOTHING: Mapping[str, float] = {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """A run's clocks and their actions. Run states have `learner`, `last_eval`, `training_seconds`."""

    train: Callable  # state -> state, sums; the state that goes in is dead afterwards
    evaluators: Mapping[str, Callable]  # by name: params, key -> {metric: [episodes]}, entropy [episodes, N]
    priorities: Callable | None  # replay state, key -> priorities [B] of a sample; None without a replay
    steps_per_report: int  # of the run's clock
    t_max: int
    max_seconds: float
    eval_every: int
    learner: Learner  # gives the parameters for acting, and remarks, each of which is passed on once
    now: Callable = lambda state: state.env_step  # what the run's clock shows: state -> []
    patience: Patience | None = None  # ends the run early; then run states have `waited`

    def __call__(
        self, state: PyTree, seed: int, began: float, known: Mapping[str, float] = NOTHING
    ) -> Iterator[tuple[Report, PyTree]]:
        """Yield (Report, run state) from a state on.

        Args:
          began: when the run was started, by time.monotonic.
          known: metrics of what came before the first report, which shows them.
        """
        eval_key, _ = keys(seed)
        last_eval, training_seconds = int(state.last_eval), float(state.training_seconds)
        first, remarked = True, set()
        over = self._over(int(self.now(state)), training_seconds) or bool(self._ending(state))
        while not over:
            call_began = time.monotonic()
            state, summed = self.train(state)
            metrics = _means(jax.device_get(summed))
            step, update = int(self.now(state)), int(state.learner.step)
            seconds = time.monotonic() - call_began
            if first:  # it compiled
                metrics |= known
                metrics[STARTUP_SECONDS], first = time.monotonic() - began, False
            else:
                training_seconds += seconds
                metrics[STEPS_PER_SECOND] = self.steps_per_report / seconds
            metrics[PARAMETER_NORM] = float(_norm(state.learner.params))
            over, histograms, ending = self._over(step, training_seconds), {}, ""
            if over or step - last_eval >= self.eval_every:
                evaluation, histograms = self._evaluation(
                    state, jax.random.fold_in(eval_key, step), metrics[PARAMETER_NORM]
                )
                metrics |= evaluation
                last_eval = step
                if self.patience:
                    state = state.replace(waited=self.patience.after(state.waited, metrics))
                    ending = "" if over else self._ending(state)
            over = over or bool(ending)
            metrics[TRAINING_SECONDS] = training_seconds
            state = state.replace(last_eval=jnp.int32(last_eval), training_seconds=jnp.float32(training_seconds))
            remarks = {about: text for about, text in self.learner.remarks(metrics).items() if about not in remarked}
            remarked |= remarks.keys()
            yield Report(step, update, metrics, histograms, tuple(remarks.values()), ending), state

    def _ending(self, state: PyTree) -> str:
        return self.patience.ending(state.waited) if self.patience else ""

    def _over(self, step: int, training_seconds: float) -> bool:
        return step >= self.t_max or 0 < self.max_seconds <= training_seconds

    def _evaluation(self, state: PyTree, key: Key, norm: float) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Return the metrics and the time of all evaluators, and distributions for histograms.

        Parameters whose `norm` is not finite are not evaluated, because their score would be chance. A policy that is
        not a number plays action 0, which is the best one in some games. So their return is not a number either.
        """
        if not np.isfinite(norm):
            return {evaluated(name, "return"): float("nan") for name in self.evaluators}, {}
        began, metrics, histograms = time.monotonic(), {}, {}
        params = self.learner.acting(state.learner)
        for name, evaluator in self.evaluators.items():
            scores = jax.device_get(evaluator(params, key))
            metrics |= _summary(name, scores)
            histograms |= {
                f"histograms/{name}_entropy/agent_{i}": values for i, values in enumerate(scores["entropy"].T)
            }
        if self.priorities:
            priorities = jax.device_get(self.priorities(state.replay, key))
            if np.ptp(priorities):  # skipped if all are equal, as in uniform sampling
                histograms["histograms/priority"] = priorities
        return metrics | {EVAL_SECONDS: time.monotonic() - began}, histograms


def make_loop(
    env: Environment, players: Mapping[str, Planner], learner: Learner, *, t_max: int, max_minutes: float,
    eval_episodes: int, eval_every: int, evaluators: Mapping[str, Callable] | None = None, **own: Any,
) -> Loop:  # fmt: skip
    """Return the loop of a runner; `own` are the other fields of `Loop`.

    Args:
      evaluators: what plays its evaluations; None = they are compiled.
    """
    evaluators = evaluators or compiled_evaluators(env, players, eval_episodes)
    clocks = {"t_max": t_max, "max_seconds": 60 * max_minutes, "eval_every": eval_every}
    return Loop(evaluators=evaluators, learner=learner, **clocks, **own)


def compiled_evaluators(env: Environment, players: Mapping[str, Planner], num_episodes: int) -> dict[str, Callable]:
    """Return a greedy evaluator for each way to play: params, key -> {metric: [num_episodes]}."""
    return {
        name: jax.jit(partial(evaluate, env, player, num_episodes=num_episodes)) for name, player in players.items()
    }


def report_problems(report_every: int, plan: RunPlan) -> list[str]:
    """Return a sentence if a run would be over before its first report."""
    if report_every <= plan.total_steps:
        return []
    return [f"runner_args.report_every={report_every}: more than t_max={plan.total_steps}; a run ends at a report"]


def compiled_once(function: Callable) -> Callable:
    """Return a compiled function that is meant to run once, such as a run's initialisation.

    It is compiled without optimisation, because that takes a third of the time: 6 s instead of 16 s of one core for the
    parameters of `mappo` with entities (jax 0.10.2). JAX refuses the options inside a traced function.
    """
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


_norm = jax.jit(optax.tree.norm)


def keys(seed: int) -> tuple[Key, Key]:
    """Return the random keys of evaluations and of everything else in the learner's process."""
    eval_key, init_key = jax.random.split(jax.random.key(seed))
    return eval_key, init_key


def actor_key(seed: int, index: int) -> Key:
    """Return the random key of one actor among several.

    A key folded with i equals the i-th of its splits, so folding the seed's own key with the index would give the first
    two actors the keys above.
    """
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), ACTORS), index)


def _means(sums: dict[str, dict[str, np.ndarray]]) -> dict[str, float]:
    """Return the mean of every metric with at least one value."""
    means = {}
    for group in sums.values():
        count = float(group.get("count", 0.0))
        if count > 0:
            means |= {name: float(total) / count for name, total in group.items() if name != "count"}
    return means


def priorities(replay: Replay, state: PyTree, key: Key) -> Array:
    """Return the priorities [B] of a sample; the rows themselves are not gathered, because nobody uses them."""
    return replay.source.sample(state, key, jnp.ones(())).priority


def _summary(name: str, scores: dict[str, np.ndarray]) -> dict[str, float]:
    metrics = {evaluated(name, metric): float(np.mean(values)) for metric, values in scores.items()}
    returns = scores["return"]
    if len(returns) > 1:  # unknown for a single episode, which is not 0
        metrics[evaluated(name, "return_stderr")] = float(np.std(returns, ddof=1) / len(returns) ** 0.5)
    return metrics


def sums_of(episodes: Episodes) -> dict[str, Array]:
    """Return finished episodes as a group of metrics: their count and sums."""
    return {"count": episodes.count} | {f"train/{name}": total for name, total in episodes.sums.items()}
