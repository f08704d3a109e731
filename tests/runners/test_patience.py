"""Runs that end early: when, with what message, and at the same evaluation if they were interrupted."""

import math
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Array, PyTree, pytree
from tandem.records.progress import Progress
from tandem.records.screen import summary
from tandem.runners import offline
from tandem.runners.loop import Loop
from tandem.runners.patience import Patience
from tests.reference.run_plans import run_plan
from tests.learners.rollouts import SPEC

MEASURE = "offline/holdout_nll"
MEASURES = [3.0, 1.0, 9.0, 2.0, 0.5, 0.5, 7.0, 7.0, 7.0]  # after 10, 20, ... updates; of these each second is evaluated


@pytree
class State:
    learner: PyTree
    updates: Array
    last_eval: Array
    training_seconds: Array
    waited: PyTree


def begun(patience: Patience | None) -> State:
    zero = jnp.int32(0)
    waited = patience.begun() if patience else ()
    return State(
        learner=Learned(step=zero), updates=zero, last_eval=zero, training_seconds=jnp.zeros(()), waited=waited
    )


def reports(patience: Patience | None, state: State | None = None, t_max: int = 90):
    def train(state: State):
        updates = state.updates + 10
        measure = MEASURES[int(updates) // 10 - 1]
        return state.replace(updates=updates, learner=Learned(step=updates)), {
            "held": {"count": 2.0, MEASURE: 2 * measure}
        }

    loop = Loop(
        train=train, evaluators={}, priorities=None, steps_per_report=10, t_max=t_max, max_seconds=0.0, eval_every=20,
        learner=SimpleNamespace(acting=lambda learned: (), remarks=lambda metrics: {}), patience=patience,
        now=lambda state: state.updates,
    )  # fmt: skip
    return list(loop(state or begun(patience), seed=0, began=0.0))


@pytree
class Learned:
    step: Array
    params: PyTree = ()


@pytest.mark.parametrize(("limit", "steps"), [(1, 40), (2, 90), (0, 90)])
def test_a_run_ends_when_no_evaluation_was_better_than_an_earlier_one(limit, steps):
    patience = Patience(MEASURE, limit) if limit else None
    found = [report for report, _ in reports(patience)]
    assert [report.step for report in found] == list(range(10, steps + 10, 10))
    assert [bool(report.ending) for report in found] == [False] * (len(found) - 1) + [steps < 90]
    if steps < 90:
        why = "runner_args.patience=1: offline/holdout_nll has not been below 1.0000 in the last 1 evaluations"
        assert found[-1].ending == why


def test_only_evaluations_in_a_row_count():
    assert [report.step for report, _ in reports(Patience(MEASURE, 2), t_max=90)][-1] == 90  # 0.5 began anew
    after = Patience(MEASURE, 2)
    waited = after.begun()
    for value, evaluations in [(2.0, 0), (2.0, 1), (math.nan, 2), (1.0, 0)]:
        waited = after.after(waited, {MEASURE: value})
        assert int(waited.evaluations) == evaluations and bool(after.ending(waited)) == (evaluations == 2)
    assert int(after.after(waited, {}).evaluations) == 1  # nobody had a choice


def test_a_resumed_run_ends_where_it_would_have_ended():
    patience = Patience(MEASURE, 1)
    whole = reports(patience)
    for done in range(1, len(whole)):
        rest = reports(patience, whole[done - 1][1])
        assert [(report.step, report.ending) for report, _ in rest] == [
            (report.step, report.ending) for report, _ in whole[done:]
        ]
    assert reports(patience, whole[-1][1]) == []


def test_the_closing_table_says_what_ended_the_run():
    progress = Progress(90, 0.0, "updates")
    places = SimpleNamespace(record=None, curves="curves")
    for report, _ in reports(Patience(MEASURE, 1)):
        progress.add(report)
    config = {"name": "bc", "env": "mpe", "env_args": {}, "seed": 1}
    for interrupted in (False, True):
        cells = [
            str(cell) for column in summary(config, progress, places, interrupted).columns for cell in column.cells
        ]
        told = [cell for cell in cells if "runner_args.patience=1" in cell]
        assert len(told) == (0 if interrupted else 1) and all("t_max=90" in cell for cell in told)


def test_nothing_can_be_waited_for_where_nothing_is_held_out():
    plan = run_plan(SPEC, 0.9)
    told = offline.problems(offline.Config(rows="data", patience=3), plan)
    assert any(line.startswith("runner_args.patience=3: no episodes are held out") for line in told)
    told = offline.problems(offline.Config(rows="data", patience=3, holdout=0.1), plan)
    assert not any("patience" in line for line in told)
    assert np.isinf(Patience(MEASURE, 3).begun().least)
