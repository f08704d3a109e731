"""Actors that die or hang, as the learner's process sees them; Ray itself is a stand-in
whose actors answer as a test says.
"""

import re
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tandem.core import RunError
from tandem.runners.actors import fleet as fleet_module
from tandem.runners.actors import placement
from tandem.runners.actors.actor import Seat
from tandem.runners.actors.failures import Failures, Loss, loss
from tandem.runners.actors.fleet import Fleet, Replanners
from tandem.runners.tally import WINDOW

ENVS, TIMEOUT = 3, 7.0
ActorDiedError, GetTimeoutError, RayActorError, RayTaskError = (
    getattr(placement.ray.exceptions, name)
    for name in ("ActorDiedError", "GetTimeoutError", "RayActorError", "RayTaskError")
)


class StandIn:
    """Ray's face. `answers` are functions of (method, arguments), one for each actor in
    the order in which they are made.
    """

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
    monkeypatch.setattr(fleet_module, "ray", ray)
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
    (note,) = found.failures.take_notes()
    assert note.startswith("actor 1 was restarted") and note.endswith("\n(and once more)")
    assert re.search(told, note)


def test_an_evaluation_that_no_process_can_play_ends_the_run(monkeypatch):
    with pytest.raises(
        RunError,
        match="(?s)failed too often: more than runner_args.max_failures=3 failures.*actor 1: no answer for 21 seconds",
    ):
        played(monkeypatch, works, hangs)


def planners(monkeypatch, *answers, number=2, most=3):
    ray = StandIn(*answers)
    monkeypatch.setattr(fleet_module, "ray", ray)
    return Replanners(None, number, {}, TIMEOUT, Failures(most)), ray


@pytest.mark.parametrize("trouble", [hangs, dies])
def test_plans_are_made_by_another_process_where_a_planner_dies_or_hangs(monkeypatch, trouble):
    found, ray = planners(monkeypatch, works, trouble, works)
    found.request([("parameters", steps) for steps in range(5)])
    assert found.take() == [0, 1, 2, 3, 4] and found.tasks == []
    assert ray.killed == [ray.made[1]] and found.handles == [ray.made[0], ray.made[2]]
    assert found.failures.restarts == 1 and set(ray.waited) == {TIMEOUT}
    assert found.failures.take_notes()[0].startswith("planner 1 was restarted")


def test_a_planner_that_always_fails_ends_the_run(monkeypatch):
    found, ray = planners(monkeypatch, dies)
    found.request([("parameters", steps) for steps in range(5)])
    with pytest.raises(
        RunError,
        match="(?s)failed too often: more than runner_args.max_failures=3 failures.*planner 0: .*before finishing",
    ):
        found.take()
    assert found.failures.restarts == 4


def test_actors_and_their_environments_fail_on_one_account():
    failures = Failures(2)
    failures.restarted("actor 5", Loss("it died"))
    failures.of_environments("actor 3", ["a traceback"])
    assert failures.take_notes()[1].startswith("an environment failed and was replaced") and not failures.take_notes()
    with pytest.raises(RunError, match="(?s)runner_args.max_failures=2 .*environment of actor 3:.*another traceback"):
        failures.of_environments("actor 3", ["another traceback"])


def test_failures_are_counted_against_the_steps_taken_meanwhile():
    failures = Failures(2)
    for failures.env_step in range(0, 20 * WINDOW, WINDOW // 2):  # two in each window, for as long as you like
        failures.of_environments("actor 3", ["a traceback"])
    assert failures.env_failures == 40
    failures.env_step += WINDOW // 2 - 1
    with pytest.raises(RunError, match="max_failures=2 failures in 1,000,000 environment steps"):
        failures.of_environments("actor 3", ["a traceback"])


TRACEBACK = 'Traceback (most recent call last):\n  File "game.py", line {}, in play\nOSError: no map for seed {}'


def test_a_traceback_that_comes_again_is_shown_once_with_a_count():
    failures = Failures(100)
    for seed in range(5):
        failures.of_environments(f"actor {seed}", [TRACEBACK.format(7, seed)])
    failures.of_environments("actor 1", ["OSError: something else"])
    first, other = failures.take_notes()
    assert (
        first.count("Traceback") == 1
        and first.endswith("no map for seed 0\n(and 4 times more)")
        and "something else" in other
    )
    failures.of_environments("actor 1", [TRACEBACK.format(7, 1000), TRACEBACK.format(7, 1001)])
    (again,) = failures.take_notes()
    assert again.count("\n") == 0 and again.endswith(
        "OSError: no map for seed 1000 (as reported before; 2 times more, 7 in all)"
    )
    assert failures.take_notes() == ()


def test_only_an_actor_that_could_not_be_made_ends_the_run_at_once_whatever_an_environment_says():
    cause = RayTaskError("Actor.__init__", "Traceback: no such module", ImportError("no such module"))
    made = loss(ActorDiedError(cause), TIMEOUT)
    with pytest.raises(RunError, match="(?s)actor 5 cannot be started:.*no such module"):
        Failures(9).restarted("actor 5", made)
    died = ActorDiedError()
    died.error_msg = "the game said: raised in its creation task"
    assert "creation task" in str(died)
    failures = Failures(9)
    failures.restarted("actor 5", loss(died, TIMEOUT))
    failures.of_environments("actor 5", ["Traceback: no creation task was found"])
    assert (failures.restarts, failures.env_failures) == (1, 1)
