"""Rollouts and evaluations of environments outside JAX: what `collect` promises of those in
JAX, and what comes of failures.
"""

import contextlib
import os
import signal
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tandem.core import RunError
from tandem.ops.episodes import given_up
from tandem.runners.host import collect as host_collect
from tandem.runners import tally
from tandem.runners.host.collect import HostActors
from tandem.runners.host.envs import HostEnvs
from tests.reference.host_games import OnHost, Troubled, crash, hang
from tests.runners.counting import STOP, A, N, make_env, make_planner, make_still_planner, telling
from tests.runners.test_collect import (  # noqa: F401  (these tests, on the rows of this file)
    BEFORE, ENVS, STEPS, assert_sums_of_steps, ended,
    test_a_row_holds_the_true_outcome_of_its_action_also_at_an_episodes_end,
    test_exploring_environments_and_steps_draw_numbers_of_their_own,
    test_finished_episodes_are_summed_as_by_hand_and_running_ones_kept,
    test_rows_are_stamped_with_the_runs_steps_before_them,
    test_the_next_row_goes_on_or_begins_a_new_episode,
    test_the_planner_is_told_what_it_sees_and_how_far_the_run_is,
    test_there_are_episodes_of_every_kind,
)  # fmt: skip

GAMES = {shared: make_env(shared=shared) for shared in (True, False)}


def actors(envs: HostEnvs, shared: bool = False) -> HostActors:
    return HostActors(envs, make_planner(), GAMES[shared].spec)


def roll(host: HostActors, rollout: int = 0):
    """Return the rows and episodes of the first or a later rollout."""
    made_at = BEFORE + (rollout * STEPS + np.arange(STEPS)) * host.num_envs
    return host.collect({}, jax.random.key(rollout), STEPS, made_at.astype(np.int32), 0.25 + 0.5 * rollout)


@pytest.fixture(scope="module", params=[True, False], ids=["shared reward", "own rewards"])
def rolled(request):
    host = actors(HostEnvs(lambda: OnHost(GAMES[request.param]), ENVS, (1,)), request.param)
    (rows, first), (more, second) = roll(host), roll(host, 1)
    left = SimpleNamespace(episode_return=host.returns, episode_length=host.lengths, carry=host.carry)
    return request.param, jax.tree.map(lambda *x: np.concatenate(x, axis=1), rows, more), [first, second], left


@pytest.fixture(scope="module")
def rows(rolled):
    return rolled[1]


def test_rows_look_as_the_environments_spec_says_before_any_is_started():
    def look(x):
        return (x.shape, x.dtype)

    host = actors(HostEnvs(lambda: OnHost(GAMES[False]), ENVS, (1,)))
    expected = host_collect.example(GAMES[False].spec, make_planner(), {})
    assert jax.tree.map(look, expected) == jax.tree.map(lambda x: look(x[0, 0]), roll(host)[0])


def test_no_two_environments_or_actors_share_a_stream_and_one_seed_gives_the_same_again():
    def tags(*stream):
        rows, _ = roll(actors(HostEnvs(lambda: OnHost(GAMES[False]), ENVS, stream)))
        return rows.obs[rows.first][:, 0, 0].tolist()

    one, again, other = tags(1, 0), tags(1, 0), tags(1, 1)
    assert one == again and not set(one) & set(other) and len(set(one + other)) == len(one + other)


@pytest.mark.parametrize("trouble, told", [(crash, "the game has crashed"), (hang, "no answer for 0.2 seconds")])
def test_an_environment_that_fails_is_made_anew_and_its_episode_discarded(trouble, told):
    made = []

    def make():
        made.append(Troubled(GAMES[False], 5 if len(made) == 2 else 0, trouble))
        return made[-1]

    envs = HostEnvs(make, ENVS, (1,), timeout=0.2, max_failures=1)
    rows, _ = roll(actors(envs))
    (text,) = envs.take_failures()
    assert told in text and "Traceback" in text and "host_games.py" in text and envs.take_failures() == ()
    assert len(made) == ENVS + 1 and made[2].closed == 1 and envs.envs[2] is made[-1]
    assert rows.first[2, 4] and not np.any(made[2].closed == 0)
    lost = ~ended(rows)[:, :-1] & rows.first[:, 1:]
    assert np.argwhere(lost).tolist() in (
        [],
        [[2, 3]],
    )  # nothing else is cut, and this only if the episode was going on
    for time in range(STEPS - 1):  # whether it was or not, what is learned from knows where episodes end
        cut = ended(given_up(jax.tree.map(jax.numpy.asarray, rows)))[:, time]
        np.testing.assert_array_equal(cut, rows.first[:, time + 1])
    np.testing.assert_array_equal(rows.next_obs[..., 0, 0], rows.obs[..., 0, 0])  # every row belongs to one episode


def test_an_alarm_that_comes_when_a_step_is_over_costs_no_episode(monkeypatch):
    set_timer, before, late = signal.setitimer, signal.getsignal(signal.SIGALRM), []

    def at_the_last_moment(which, seconds, *again):
        if not seconds:
            late.append(os.kill(os.getpid(), signal.SIGALRM))
        return set_timer(which, seconds, *again)

    monkeypatch.setattr(signal, "setitimer", at_the_last_moment)
    envs = HostEnvs(lambda: OnHost(GAMES[False]), ENVS, (1,), timeout=60.0)
    roll(actors(envs))
    assert len(late) >= ENVS * (STEPS + 1) and envs.tally.total == 0
    failing = HostEnvs(lambda: Troubled(GAMES[False], 1, crash), 1, (1,), timeout=60.0, max_failures=1)
    failing.reset(0)
    assert (
        failing.step(0, np.zeros(N, np.int32)) is None
        and "the game has crashed" in failing.take_failures()[0].splitlines()[-1]
    )
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


def test_an_environment_that_swallows_the_alarm_is_stopped_by_the_next():
    class Deaf(OnHost):
        def reset(self, seed):
            with contextlib.suppress(TimeoutError):
                hang()
            hang()

    with pytest.raises(RunError, match="no answer for 0.1 seconds"):
        HostEnvs(lambda: Deaf(GAMES[False]), 1, (1,), timeout=0.1).reset(0)


class Picky(OnHost):
    """An environment that cannot begin the episodes of some seeds."""

    def __init__(self, refused, asked: list):
        super().__init__(GAMES[False])
        self.refused, self.asked = refused, asked

    def reset(self, seed):
        self.asked.append(seed)
        if len(self.asked) in self.refused:
            raise OSError(f"no map for seed {seed}")
        return super().reset(seed)


@pytest.mark.parametrize("seed", [None, 5])
def test_an_episode_that_cannot_begin_is_tried_again_from_another_seed_that_is_the_same_in_every_run(seed):
    runs = []
    for _ in range(2):
        asked = []
        envs = HostEnvs(lambda asked=asked: Picky({1, 2, 4, 5, 6}, asked), 1, (1,), max_failures=5)
        envs.reset(0, seed)  # though none has worked before
        envs.reset(0, 8)
        assert envs.tally.total == 5
        runs.append(asked)
    assert runs[0] == runs[1] and len(set(runs[0])) == 7 and runs[0][3] == 8 and (seed is None or runs[0][0] == seed)
    assert all(0 <= seed < 2**31 for seed in runs[0])


def test_every_planner_is_traced_once_for_all_evaluations():
    traces = []

    def plan(*args):
        traces.append(1)
        return make_planner().plan(*args)

    planner = make_planner()._replace(plan=plan)
    envs = HostEnvs(lambda: OnHost(GAMES[False]), 3, (1,))
    for seeds in ([1, 2, 3, 4], [5, 6]):
        host_collect.evaluate(envs, planner, GAMES[False].spec, {}, jax.random.key(0), seeds)
    assert len(traces) == 1


def test_a_run_with_environments_that_only_fail_ends_with_their_traceback():
    made = []
    with pytest.raises(RunError, match="(?s)cannot be started, tried 3 times.*Traceback.*no such game"):
        roll(actors(HostEnvs(lambda: made.append(1) or open("no such game"), ENVS, (1,), max_failures=100)))
    assert len(made) == 3
    with pytest.raises(RunError, match="(?s)cannot be started, tried 1 times.*Traceback.*no such game"):
        roll(actors(HostEnvs(lambda: open("no such game"), ENVS, (1,), max_failures=0)))
    envs = HostEnvs(lambda: Troubled(GAMES[False], 2, crash), ENVS, (1,), max_failures=7)
    with pytest.raises(RunError, match="(?s)runner_args.max_failures=7 failures.*the game has crashed"):
        roll(actors(envs))
    assert envs.tally.total == 8


def test_environments_may_fail_for_ever_as_long_as_it_is_seldom(monkeypatch):
    monkeypatch.setattr(tally, "WINDOW", 20)
    envs = HostEnvs(lambda: Troubled(GAMES[False], 15, crash), 1, (1,), max_failures=2)
    host = HostActors(envs, make_planner(), GAMES[False].spec)
    for rollout in range(25):
        roll(host, rollout)
    assert envs.tally.total > 5
    monkeypatch.setattr(tally, "WINDOW", 100)
    with pytest.raises(
        RunError, match="(?s)failed too often: more than runner_args.max_failures=2 failures .*the game has crashed"
    ):
        for rollout in range(25):
            roll(host, rollout)


def test_an_environment_that_breaks_its_own_spec_is_told_so():
    class Wrong(OnHost):
        def reset(self, seed):
            timestep = super().reset(seed)
            return timestep.replace(legal=timestep.legal[:, 1:])

    with pytest.raises(RunError, match=rf"legal has the shape \[{N}, {A - 1}\], its spec says \[{N}, {A}\]"):
        roll(actors(HostEnvs(lambda: Wrong(GAMES[False]), ENVS, (1,))))


def test_an_evaluation_plays_one_greedy_episode_for_each_seed_whatever_plays_beside_it():
    def scores(num_envs, trouble_at=0):
        envs = HostEnvs(lambda: Troubled(GAMES[False], trouble_at, crash), num_envs, (1,), max_failures=9)
        return host_collect.evaluate(envs, make_planner(), GAMES[False].spec, {}, jax.random.key(0), list(range(7)))

    found = scores(3)
    assert set(found) == {"return", "length", "tag", "count", "entropy"} and len(set(found["tag"])) == 7
    np.testing.assert_array_equal(found["length"], 1 + np.floor(3 * found["tag"]))
    assert len(set(found["length"])) > 1 and found["entropy"].shape == (7, N)
    for name, values in scores(5).items():
        np.testing.assert_array_equal(found[name], values)
    other = scores(2, trouble_at=6)  # each process can take five steps, and an episode has three at most
    spoilt = found["tag"] != other["tag"]
    assert 1 <= spoilt.sum() <= 3 and len(set(other["tag"])) == 7 and np.isfinite(other["return"]).all()
    for name in found:
        np.testing.assert_array_equal(found[name][~spoilt], other[name][~spoilt])
    still = HostEnvs(lambda: OnHost(GAMES[False]), 3, (1,))
    returns = host_collect.evaluate(still, make_still_planner(), GAMES[False].spec, {}, jax.random.key(0), [4])[
        "return"
    ]
    assert returns == [N * 10.0 * (1 + 2 + 3)] and STOP == A - 1


def test_what_a_planner_reports_is_summed_over_steps_and_none_is_nothing():
    def host(planner):
        return HostActors(HostEnvs(lambda: OnHost(GAMES[False]), ENVS, (1,)), planner, GAMES[False].spec)

    (rows, told), (same, plain) = roll(host(telling(make_planner()))), roll(host(make_planner()))
    jax.tree.map(np.testing.assert_array_equal, rows, same)
    assert plain.plans == {} and plain.sums == told.sums
    assert_sums_of_steps(told.plans, rows)
