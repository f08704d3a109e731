"""The synchronous runner: its clocks, evaluations and memory, on parts that can be counted by hand and on real ones."""

import itertools
import logging
import re
from collections import defaultdict
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from tandem.records import checkpoint, checkpoint_folder
from tandem.core import Report
from tandem.registry import find
from tandem.data import uniform
from tandem.runners import jax_sync
from tests.runners.counting import STOP, make_env, make_learner, make_planner, make_still_planner, signature, telling
from tests.reference.run_plans import run_plan

ENVS, STEPS = 3, 4
CYCLE, REPORT, T_MAX = 12, 24, 120  # environment steps
MIN_ROWS, BATCH = 30, 2  # learning starts in the third cycle
pytestmark = pytest.mark.usefixtures("quick_compiling")


class Seen(NamedTuple):
    """A report and what the run state held then, in NumPy."""

    report: Report
    params: Any
    replay: Any


@lru_cache(maxsize=None)
def runner(eval_every=48, updates_per_step=0.3, reanalyse_per_step=0.0, t_max=T_MAX, max_minutes=0.0, tells=False):
    """Return a run of the counting parts; its planner leaves in `extras.value` how many updates its parameters had."""
    config = jax_sync.Config(
        num_envs=ENVS, rollout_length=STEPS, updates_per_step=updates_per_step, reanalyse_per_step=reanalyse_per_step,
        report_every=REPORT,
    )  # fmt: skip
    learner, planner = make_learner(), make_planner(version=lambda params: params["updates"])
    planner = telling(planner) if tells else planner
    players = {"search": planner, "policy": make_still_planner()}
    settings = uniform.Config(capacity=300, batch_size=BATCH, min_size=MIN_ROWS)
    replay = uniform.make(settings, ENVS, learner.sequence_length)
    clocks = dict(t_max=t_max, max_minutes=max_minutes, eval_episodes=5, eval_every=eval_every)
    return jax_sync.make(config, make_env(shared=False), planner, players, learner, replay, **clocks)


@lru_cache(maxsize=None)
def history(seed=1, **settings) -> list[Seen]:
    return watch(runner(**settings), seed)


def watch(run, seed) -> list[Seen]:
    return [Seen(r, *jax.tree.map(np.array, (s.learner.params, s.replay))) for r, s in run(seed)]


def due(num_cycles: int) -> int:
    """Return the updates after so many cycles: 3.6 a cycle, rounded down in all, none in the first two cycles."""
    return int(3.6 * num_cycles + 1e-9) - int(3.6 * 2) if num_cycles > 2 else 0


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_steps_and_updates_are_counted_exactly():
    reports = [seen.report for seen in history()]
    assert [r.step for r in reports] == [24, 48, 72, 96, 120]
    assert [r.update for r in reports] == [due(k) for k in (2, 4, 6, 8, 10)] == [0, 7, 14, 21, 29]
    assert [seen.params["updates"] for seen in history()] == [r.update for r in reports]


def test_metrics_of_learning_are_means_over_the_reports_own_updates():
    reports = [seen.report for seen in history()]
    assert not any(name in reports[0].metrics for name in ("train/loss", "search/seen", "replay/age"))
    for before, now in zip(reports, reports[1:], strict=False):
        np.testing.assert_allclose(now.metrics["train/loss"], np.mean(range(before.update + 1, now.update + 1)))
        assert 0 < now.metrics["replay/age"] < now.step
        assert {now.metrics[f"replay/{name}"] for name in ("weight_mean", "weight_min", "priority_mean")} == {1.0}


def test_a_planners_metrics_are_means_over_the_reports_steps_and_change_nothing_else():
    plain, told = history(), history(tells=True)
    rows = told[-1].replay.experience
    for i, (one, other) in enumerate(zip(plain, told, strict=True)):
        assert same((one.params, one.replay), (other.params, other.replay))
        clocks = {name for name in one.report.metrics if name.startswith("time/")}
        new = {name: value for name, value in other.report.metrics.items() if name not in one.report.metrics}
        assert {k: v for k, v in one.report.metrics.items() if k not in clocks}.items() <= other.report.metrics.items()
        steps = slice(i * REPORT // ENVS, (i + 1) * REPORT // ENVS)
        expected = {
            "search/at": rows.obs[:, steps, 0, 1].mean(),
            "search/stops": (rows.action[:, steps, 0] == STOP).mean(),
        }
        assert new == pytest.approx(expected)


def test_each_of_the_learners_remarks_is_passed_on_once():
    # Updates 8 to 14 are those of the third report, whose mean is 11.
    assert [seen.report.notes for seen in history()] == [("a word",), (), ("after 11 updates",), (), ()]


def test_train_return_is_the_mean_over_the_episodes_that_ended_since_the_last_report():
    rows = history()[-1].replay.experience  # its capacity is more than the run's steps, so they are all there
    ended = defaultdict(list)
    for e in range(ENVS):
        total, length = 0.0, 0
        for t in range(T_MAX // ENVS):
            assert rows.env_step[e, t] == t * ENVS
            total, length = total + rows.reward[e, t].sum(), length + 1
            if rows.terminated[e, t] or rows.truncated[e, t]:
                ended[t * ENVS // REPORT].append((total, length))
                total, length = 0.0, 0
    for i, seen in enumerate(history()):
        metrics = seen.report.metrics
        found = [metrics["train/return"], metrics["train/length"]]
        np.testing.assert_allclose(found, np.mean(ended[i], axis=0), rtol=1e-5)
        assert metrics["train/count"] == pytest.approx(metrics["train/length"])  # the environment's own metric


def test_evaluations_come_at_their_interval_and_always_at_the_last_report():
    evaluated = [seen.report.step for seen in history() if "eval/search/return" in seen.report.metrics]
    assert evaluated == [48, 96, 120]
    assert evaluated == [seen.report.step for seen in history() if "eval/policy/return" in seen.report.metrics]


def test_each_evaluation_plays_its_own_planner_on_fresh_environments():
    metrics = [seen.report.metrics for seen in history() if "eval/policy/return" in seen.report.metrics]
    for m in metrics:
        assert (m["eval/policy/return"], m["eval/policy/return_stderr"], m["eval/policy/length"]) == (120.0, 0.0, 3.0)
        assert 1 <= m["eval/search/length"] == m["eval/search/count"] < 3 and m["eval/search/return_stderr"] > 0
    assert len({m["eval/search/tag"] for m in metrics}) == len(metrics)


def test_evaluating_more_often_changes_neither_parameters_nor_the_evaluations_themselves():
    often, seldom = history(eval_every=1), history()
    assert same([seen.params for seen in often], [seen.params for seen in seldom])
    assert all("eval/search/return" in seen.report.metrics for seen in often)
    for one, other in zip(often, seldom, strict=True):
        for name in other.report.metrics:
            if name.startswith("eval/"):
                assert one.report.metrics[name] == other.report.metrics[name], name


def test_one_seed_gives_bit_identical_runs_and_another_seed_another_run():
    again = watch(runner(), seed=1)
    assert same([(x.params, x.replay) for x in again], [(x.params, x.replay) for x in history()])
    other = watch(runner(), seed=2)
    assert [x.report.update for x in other] == [x.report.update for x in again]
    assert not np.any(other[-1].params["weights"] == again[-1].params["weights"])


def test_the_run_ends_at_the_first_report_that_reaches_t_max():
    assert [seen.report.step for seen in history(t_max=49)] == [24, 48, 72]
    assert [seen.report.step for seen in history()][-1] == T_MAX


def test_the_time_limit_leaves_out_the_first_report_and_still_evaluates():
    first, last = history(max_minutes=1e-9, updates_per_step=0.0)
    assert first.report.metrics["time/training_seconds"] == 0 < first.report.metrics["time/startup_seconds"]
    assert last.report.step == 48 and "eval/policy/return" in last.report.metrics
    assert last.report.metrics["time/training_seconds"] > 0 and last.report.metrics["time/steps_per_second"] > 0


def test_without_updates_parameters_stay_as_they_were():
    first, last = history(max_minutes=1e-9, updates_per_step=0.0)
    assert last.report.update == 0 and same(first.params, last.params) and "train/loss" not in last.report.metrics


def test_reanalysis_plans_stored_rows_with_fresh_parameters_and_changes_nothing_else():
    fresh, stale = history(reanalyse_per_step=0.5)[-1], history()[-1]
    assert same(fresh.params, stale.params)
    fresh, stale = fresh.replay.experience, stale.replay.experience
    assert same(fresh.replace(extras=None), stale.replace(extras=None))
    written = np.arange(stale.reward.shape[1]) < T_MAX // ENVS
    np.testing.assert_array_equal(fresh.extras.committed[:, written], np.array(signature(fresh.obs))[:, written])
    collected_by = [due(cycle) for cycle in range(10)]
    np.testing.assert_array_equal(stale.extras.value[:, written], np.tile(np.repeat(collected_by, STEPS), (ENVS, 1)))
    again = fresh.extras.value != stale.extras.value
    assert (fresh.extras.value[again] > stale.extras.value[again]).all()
    assert set(fresh.extras.value[again]) <= {due(cycle + 1) for cycle in range(2, 10)}
    # Half a row per step from the third cycle on: 48, of which some are drawn more than once.
    assert 24 < again.sum() <= 48 and not again[:, ~written].any()


def test_after_the_first_report_nothing_is_compiled_again(caplog):
    run = runner.__wrapped__(eval_every=1)  # not the one that other tests have compiled
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        for reports, _ in enumerate(run(3), start=1):
            compiled = [r.getMessage() for r in caplog.records if re.match("Compiling ", r.getMessage())]
            assert bool(compiled) == (reports == 1), compiled
            caplog.clear()
    assert reports == 5


def test_a_state_is_donated_to_the_next_report():
    states = [state for _, state in runner(t_max=49)(4)]
    assert all(leaf.is_deleted() for state in states[:-1] for leaf in jax.tree.leaves((state.replay, state.learner)))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(states[-1]))


@pytest.mark.parametrize("at", [0, 2, 3])
def test_a_run_that_goes_on_from_a_saved_state_is_bit_identical_to_one_that_never_stopped(at, tmp_path):
    run = runner()
    for _, state in itertools.islice(run(1), at, at + 1):
        arrays, keys = checkpoint.split(state)
    path = tmp_path / "1"
    checkpoint.write(path, jax.tree.map(np.array, arrays), checkpoint_folder.Meta(1, 1, None, {}, keys))
    seen = [
        Seen(r, *jax.tree.map(np.array, (s.learner.params, s.replay)))
        for r, s in run(1, checkpoint.read(path, run.shapes()))
    ]
    never_stopped = history()[at + 1 :]
    assert same([(x.params, x.replay) for x in seen], [(x.params, x.replay) for x in never_stopped])
    assert [untimed(x.report) for x in seen] == [untimed(x.report) for x in never_stopped]


def untimed(report: Report) -> Report:
    """Return a report without the machine's speed, and without remarks, which whoever
    goes on with a run is told again.
    """
    histograms = {name: values.tolist() for name, values in report.histograms.items()}
    return report._replace(
        metrics={k: v for k, v in report.metrics.items() if not k.startswith("time/")}, histograms=histograms, notes=()
    )


def test_a_run_that_was_over_when_it_was_saved_ends_at_once(tmp_path):
    for report, state in runner()(1):
        pass
    assert report.step == T_MAX and list(runner()(1, state)) == []
    assert [r.step for r, _ in runner(t_max=T_MAX + 40)(1, jax.tree.map(jax.numpy.copy, state))] == [144, 168]


def part(family: str, name: str, *args, **settings):
    entry = find(family, name)
    return entry.make(entry.config()(**settings), *args)


@lru_cache(maxsize=None)
def real_runner():
    """Return the main algorithm on the climbing game, as small as it gets."""
    env = part("env", "matrix_game")
    sizes = dict(latent_size=8, hidden_size=8, encoder_size=8, projection_size=5, value_bins=11, reward_bins=9)
    model = part("network", "world_model", env.spec, attention="none", **sizes)
    planner = part("planner", "plies", model, env.spec, 0.97, num_simulations=2)
    policy = part("planner", "policy", model, env.spec, 0.97)
    learner = part("learner", "mazero", model, run_plan(env.spec, 0.97, 18), unroll=1, n_step=1, warmup_updates=2)
    replay = part("replay", "prioritised", 3, learner.sequence_length, capacity=60, batch_size=5, min_size=12)
    often = dict(updates_per_step=0.3, reanalyse_per_step=0.5, report_every=12)
    config = jax_sync.Config(num_envs=3, rollout_length=4, **often)
    clocks = dict(t_max=36, max_minutes=0.0, eval_episodes=5, eval_every=24)
    return jax_sync.make(config, env, planner, {"search": planner, "policy": policy}, learner, replay, **clocks)


@lru_cache(maxsize=None)
def real_history(seed: int) -> list[Seen]:
    return watch(real_runner(), seed)


def test_the_main_algorithm_reports_every_group_of_metrics():
    first, *_, last = [seen.report for seen in real_history(1)]
    assert (last.step, last.update) == (36, 10) and first.update == 3
    for names in (
        "train/return train/length train/optimal train/loss train/grad_norm train/learning_rate",
        "search/policy_kl search/policy_entropy search/value_error",
        "replay/age replay/priority_mean replay/priority_max replay/weight_mean replay/weight_min",
        "eval/search/return eval/search/return_stderr eval/search/length eval/search/optimal",
        "eval/policy/return eval/policy/return_stderr eval/policy/length eval/policy/optimal",
        "time/training_seconds time/steps_per_second time/eval_seconds",
    ):
        assert set(names.split()) <= set(last.metrics)
    assert all(isinstance(x, float) and np.isfinite(x) for x in last.metrics.values())
    assert {name.split("/")[0] for name in last.metrics} == {"train", "search", "replay", "eval", "time"}


def test_evaluations_come_with_distributions_for_each_agent_and_of_priorities_where_these_differ():
    first, *_, last = [seen.report for seen in real_history(1)]
    agents = {f"histograms/{how}_entropy/agent_{i}" for how in ("search", "policy") for i in range(2)}
    assert not first.histograms and set(last.histograms) == agents | {"histograms/priority"}
    for how in ("search", "policy"):
        values = np.stack([last.histograms[f"histograms/{how}_entropy/agent_{i}"] for i in range(2)])
        assert values.shape == (2, 5) and (values >= 0.0).all() and (values <= np.log(3) + 1e-5).all()
        np.testing.assert_allclose(last.metrics[f"eval/{how}/entropy"], values.mean(), rtol=1e-5)
    assert last.histograms["histograms/priority"].shape == (5,) and np.ptp(last.histograms["histograms/priority"]) > 0
    assert "histograms/priority" not in history()[-1].report.histograms  # uniform replay


def test_the_main_algorithm_is_bit_identical_for_one_seed_and_learns_from_another_differently():
    again = watch(real_runner(), 1)
    assert same([(x.params, x.replay) for x in again], [(x.params, x.replay) for x in real_history(1)])
    assert not same(again[-1].params, watch(real_runner(), 2)[-1].params)
    assert not same(again[0].params, again[-1].params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(again[-1].params))
