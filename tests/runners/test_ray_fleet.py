"""Actors that die or hang, as the learner's process sees them; Ray itself is a stand-in whose actors answer as a test says."""

import re
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from src.core import RunError
from src.runners import ray_room, ray_fleet
from src.runners.ray_actor import Seat
from src.runners.ray_failures import Failures
from src.runners.ray_fleet import Fleet, Replanners

ENVS, TIMEOUT = 3, 7.0
GetTimeoutError, RayActorError = ray_room.ray.exceptions.GetTimeoutError, ray_room.ray.exceptions.RayActorError


class StandIn:
    """Ray's face. `answers` are functions of (method, arguments), one for each actor in the order in which they are made."""

    def __init__(self, *answers):
        self.answers, self.made, self.killed, self.waited = list(answers), [], [], []

    def remote(self, **options):
        return lambda kind: SimpleNamespace(remote=self._make)

    def _make(self, *args):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.made.append(Handle(answer))
        return self.made[-1]

    def get(self, task, timeout):
        self.waited.append(timeout)
        return task()

    def put(self, value):
        return value

    def kill(self, handle):
        self.killed.append(handle)


class Handle:
    def __init__(self, answer):
        self.answer = answer

    def __getattr__(self, method):
        return SimpleNamespace(remote=lambda *args: partial(self.answer, method, args))


def hangs(method, args):
    raise GetTimeoutError("nobody answers")


def dies(method, args):
    raise RayActorError()


def works(method, args):
    """Return as scores the seeds that were to be played, and as extras the steps that were to be planned for."""
    return ({"return": np.array(args[3])}, ()) if method == "evaluate" else args[1]


def fleet(monkeypatch, *answers, actors=2, most=3):
    """Return a fleet that is asked for cycle 4, and the stand-in that plays Ray."""
    ray = StandIn(*answers)
    monkeypatch.setattr(ray_fleet, "ray", ray)
    limits = dict(rollout_length=5, seed=1, env_timeout=0.0, max_failures=most)
    seats = [Seat(index=i, num_envs=ENVS, all_envs=ENVS * actors, **limits) for i in range(actors)]
    found = Fleet(None, seats, [()] * actors, 4, {}, TIMEOUT, Failures(most))
    found.request("parameters", SimpleNamespace(cycle=4))
    return found, ray


def played(monkeypatch, *answers, **settings):
    found, ray = fleet(monkeypatch, *answers, **settings)
    return found.evaluate(4, "search", {}, jax.random.key(0), 11)["return"], found, ray


@pytest.mark.parametrize(
    ("trouble", "told"), [(hangs, "no answer for 21 seconds .runner_args.actor_timeout"), (dies, "before finishing")]
)
def test_an_evaluation_goes_on_with_another_process_where_an_actor_dies_or_hangs(monkeypatch, trouble, told):
    expected, _, _ = played(monkeypatch, works)
    scores, found, ray = played(monkeypatch, works, trouble, trouble, works)
    np.testing.assert_array_equal(scores, expected)
    assert len(set(scores.tolist())) == 11 and ray.killed == ray.made[1:3]
    assert set(ray.waited) == {TIMEOUT * (1 + 2)}  # a cycle that is under way, then two rounds of three episodes
    assert found.failures.restarts == 2
    first, second = found.failures.take_notes()
    assert first == second and first.startswith("actor 1 was started again")
    assert re.search(told, first)


def test_an_evaluation_that_no_process_can_play_ends_the_run(monkeypatch):
    with pytest.raises(RunError, match="(?s)more than runner_args.max_failures=3 failures.*actor 1: no answer for 21 seconds"):
        played(monkeypatch, works, hangs)


def planners(monkeypatch, *answers, number=2, most=3):
    ray = StandIn(*answers)
    monkeypatch.setattr(ray_fleet, "ray", ray)
    return Replanners(None, number, {}, TIMEOUT, Failures(most)), ray


@pytest.mark.parametrize("trouble", [hangs, dies])
def test_plans_are_made_by_another_process_where_a_planner_dies_or_hangs(monkeypatch, trouble):
    found, ray = planners(monkeypatch, works, trouble, works)
    found.request([("parameters", steps) for steps in range(5)])
    assert found.take() == [0, 1, 2, 3, 4] and found.tasks == []
    assert ray.killed == [ray.made[1]] and found.handles == [ray.made[0], ray.made[2]]
    assert found.failures.restarts == 1 and set(ray.waited) == {TIMEOUT}
    assert found.failures.take_notes()[0].startswith("planner 1 was started again")


def test_a_planner_that_always_fails_ends_the_run(monkeypatch):
    found, ray = planners(monkeypatch, dies)
    found.request([("parameters", steps) for steps in range(5)])
    with pytest.raises(RunError, match="(?s)more than runner_args.max_failures=3 failures.*planner 0: .*before finishing"):
        found.take()
    assert found.failures.restarts == 4


def test_actors_and_their_environments_fail_on_one_account(monkeypatch):
    failures = Failures(2)
    failures.restarted("actor 5", "it died")
    failures.of_environments("actor 3", ["a traceback"])
    assert failures.take_notes()[1].startswith("an environment of actor 3 failed and was made anew") and not failures.take_notes()
    with pytest.raises(RunError, match="(?s)max_failures=2 .*another traceback"):
        failures.of_environments("actor 3", ["another traceback"])
    with pytest.raises(RunError, match="(?s)actor 5 cannot be started:.*no such module"):
        Failures(9).restarted("actor 5", "error in the creation task: no such module")
