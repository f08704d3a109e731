"""The asynchronous runner on a Ray cluster of two nodes: its clocks, its trajectories, faults, and that it learns."""

import itertools
import os
import signal
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
import psutil
import pytest

from tandem.records import checkpoint, checkpoint_folder
from tandem.core import RunError
from tandem.envs import matrix_game
from tandem.data import uniform
from tandem.runners import ray_async
from tests.reference import small_runs
from tests.reference.host_games import OnHost
from tests.reference.listening import METHODS, listening, outer_addresses, says
from tests.reference.probe import Probe
from tests.runners import remakes
from tests.runners.counting import make_env, make_learner, signature
from tests.runners.test_jax_sync import Seen, same

ACTORS, ENVS, STEPS = 2, 4, 3
CYCLE, REPORT, T_MAX = 12, 24, 96  # environment steps
MIN_ROWS, BATCH = 30, 2  # learning starts in the third cycle


@pytest.fixture(scope="module", autouse=True)
def quick_compiling():
    """Here and, by the environment that Ray's processes inherit, in the actors."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    yield
    jax.config.update("jax_disable_most_optimizations", before)
    os.environ.pop("JAX_DISABLE_MOST_OPTIMIZATIONS")


@pytest.fixture(scope="module", autouse=True)
def address(quick_compiling, tmp_path_factory):
    """A cluster of two nodes with a token of its own; each run joins it. Actors that ask for a
    desk are put on the second node.
    """
    from tandem.cluster import authentication, environment, start  # before Ray, which it silences

    folder = tmp_path_factory.mktemp("token")
    token = authentication.own_token(folder) | {"PYTHONPATH": environment.python_path()}
    with environment.variables(token), start.own_handlers():
        from ray.cluster_utils import Cluster

        authentication.refresh()
        common = {"include_dashboard": False, "object_store_memory": 80_000_000}
        nodes = start.patiently(partial(Cluster, initialize_head=True, head_node_args={"num_cpus": 3, **common}))
        start.patiently(partial(nodes.add_node, num_cpus=3, resources={"desk": 2}, **common))
        runner.address = nodes.address
        yield nodes.address
        nodes.shutdown()


def runner(remake=remakes.compiled, t_max=T_MAX, **settings) -> ray_async.AsyncRunner:
    """Return a run of the counting parts; its planner leaves in `extras.value` how many updates its parameters had."""
    settings = {
        "num_actors": ACTORS,
        "updates_per_step": 0.3,
        "report_every": REPORT,
        "ray_address": runner.address,
    } | settings
    config = ray_async.Config(**{"num_envs": ENVS, "rollout_length": STEPS} | settings)
    learner, env = make_learner(), make_env(shared=False)
    replay = uniform.make(
        uniform.Config(capacity=400, batch_size=BATCH, min_size=MIN_ROWS), ENVS, learner.sequence_length
    )
    clocks = dict(t_max=t_max, max_minutes=0.0, eval_episodes=5, eval_every=48)
    env = env if remake is remakes.compiled else OnHost(env)
    return ray_async.make(config, env, remakes.planner(), remakes.players(), learner, replay, remake=remake, **clocks)


def watch(run, *args) -> list[Seen]:
    return [Seen(r, *jax.tree.map(np.array, (s.learner.params, s.replay.experience))) for r, s in run(*args)]


@lru_cache(maxsize=None)
def history(remake=remakes.compiled, **settings) -> list[Seen]:
    return watch(runner(remake, **settings), 1)


def due(num_cycles: int) -> int:
    """Return the updates after so many cycles: 3.6 a cycle, rounded down in all, none in the first two cycles."""
    return int(3.6 * num_cycles + 1e-9) - int(3.6 * 2) if num_cycles > 2 else 0


def assert_each_step_is_there_once(rows: Any, t_max: int = T_MAX) -> None:
    """Every environment's row of every step, whole, and each going on from the one before or beginning an episode."""
    rows = jax.tree.map(lambda x: x[:, : t_max // ENVS], rows)
    np.testing.assert_array_equal(rows.env_step, np.tile(np.arange(0, t_max, ENVS), (ENVS, 1)))
    np.testing.assert_array_equal(rows.extras.committed, np.array(signature(rows.obs)))  # planned for what stands there
    np.testing.assert_array_equal(rows.next_obs[..., 0, 2:4], rows.action)
    np.testing.assert_array_equal(rows.next_obs[..., 0, :2], rows.obs[..., 0, :2] + np.array([0.0, 1.0]))
    goes_on = (rows.next_obs[:, :-1] == rows.obs[:, 1:]).all((-1, -2))
    np.testing.assert_array_equal(goes_on, ~rows.first[:, 1:])
    tags = rows.obs[rows.first][:, 0, 0]
    assert len(set(tags.tolist())) == len(tags), "two episodes began from one key"


def test_steps_updates_and_the_age_of_parameters_are_exact():
    reports = [seen.report for seen in history()]
    assert [r.step for r in reports] == [24, 48, 72, 96]
    assert [r.update for r in reports] == [due(k) for k in (2, 4, 6, 8)]
    rows = history()[-1].replay
    assert_each_step_is_there_once(rows)
    made_by = np.repeat([0, *(due(cycle - 1) for cycle in range(1, 8))], STEPS)  # one cycle behind the learner
    np.testing.assert_array_equal(rows.extras.value[:, : T_MAX // ENVS], np.tile(made_by, (ENVS, 1)))
    assert [r.metrics["actors/staleness"] for r in reports] == [0.5, 1.0, 1.0, 1.0]


def test_reports_tell_what_actors_and_learner_do():
    metrics = history()[-1].report.metrics
    assert metrics["actors/restarts"] == metrics["actors/env_failures"] == 0.0 <= metrics["actors/queue"] <= 2 * ACTORS
    assert all(metrics[f"actors/steps_per_second/actor_{i}"] > 0.0 for i in range(ACTORS))
    assert (
        0.0 <= metrics["actors/learner_idle"] <= 1.0 and metrics["actors/transport"] > 0.0 < metrics["actors/cycle_mb"]
    )
    assert metrics["actors/store_mb"] >= 0.0
    evaluated = [seen.report.step for seen in history() if "eval/search/return" in seen.report.metrics]
    assert evaluated == [48, 96] and metrics["eval/policy/return"] == 120.0


def test_an_actor_that_is_killed_is_replaced_and_nothing_is_lost_or_there_twice():
    """Environments in JAX go on from the last trajectory that was taken: the run is the same, bit by bit."""
    found = []
    for report, state in runner()(1):
        found.append(Seen(report, *jax.tree.map(np.array, (state.learner.params, state.replay.experience))))
        if len(found) == 2:
            actors = [
                p
                for p in psutil.Process().children(recursive=True)
                if any("ray::Actor" in word for word in p.cmdline())
            ]
            assert len(actors) == ACTORS
            actors[0].send_signal(signal.SIGKILL)
    assert found[-1].report.metrics["actors/restarts"] == 1.0
    assert any("was restarted" in note for seen in found[2:] for note in seen.report.notes)
    assert same([(x.params, x.replay) for x in found], [(x.params, x.replay) for x in history()])


def test_a_run_goes_on_from_a_checkpoint_where_it_was(tmp_path, address):
    run = runner()
    reports = run(1)
    for _, state in itertools.islice(reports, 2):
        arrays, keys = checkpoint.split(state)
        arrays = jax.tree.map(np.array, arrays)
    reports.close()
    checkpoint.write(tmp_path / "1", arrays, checkpoint_folder.Meta(1, 1, None, {}, keys))
    seen = watch(run, 1, checkpoint.read(tmp_path / "1", run.shapes()))
    assert [s.report.step for s in seen] == [72, 96] and seen[-1].report.update == due(8)
    assert_each_step_is_there_once(seen[-1].replay)
    assert same(seen[-1].params, history()[-1].params)


def test_planners_without_environments_plan_stored_rows_again_and_change_nothing_else(address):
    settings = {"reanalyse_per_step": 0.5, "reanalyse_actors": 1, "num_actors": 1, "actor_resources": {"desk": 1}}
    stale, fresh = history(max_staleness=0, num_actors=1)[-1], watch(runner(max_staleness=0, **settings), 1)[-1]
    assert same(fresh.params, stale.params) and fresh.report.metrics["actors/staleness"] == 0.0
    assert_each_step_is_there_once(fresh.replay)
    assert same(fresh.replay.replace(extras=None), stale.replay.replace(extras=None))
    again = fresh.replay.extras.value != stale.replay.extras.value
    assert (fresh.replay.extras.value[again] > stale.replay.extras.value[again]).all() and again.sum() > 12
    assert set(fresh.replay.extras.value[again]) <= {due(cycle + 1) for cycle in range(2, 8)}


def test_programs_that_fail_and_die_cost_their_episodes_alone(tmp_path):
    seen = watch(runner(partial(remakes.on_host, str(tmp_path)), num_actors=1, env_timeout=2.0), 1)
    notes = "\n".join(note for s in seen for note in s.report.notes)
    assert "the game has crashed" in notes and "no answer for 2 seconds" in notes and "Traceback" in notes
    assert "actor 0 was restarted" in notes
    last = seen[-1].report
    assert (last.step, last.update) == (T_MAX, due(8))
    assert (last.metrics["actors/env_failures"], last.metrics["actors/restarts"]) == (2.0, 1.0)
    programs = [int(path.read_text()) for path in tmp_path.iterdir() if path.read_text()]
    assert len(programs) > ENVS and not [
        pid for pid in programs if psutil.pid_exists(pid)
    ]  # also of the one that was killed
    assert last.metrics["eval/policy/return"] == 120.0 and 1.0 <= last.metrics["eval/search/length"] < 3.0
    assert_each_step_is_there_once(seen[-1].replay)


def test_a_run_ends_with_the_traceback_when_failures_are_too_many(tmp_path):
    with pytest.raises(
        RunError,
        match="(?s)failed too often: more than runner_args.max_failures=0 failures.*Traceback.*the game has crashed",
    ):
        watch(runner(partial(remakes.on_host, str(tmp_path)), num_actors=1, max_failures=0), 1)


def test_actors_that_nobody_has_room_for_and_clusters_that_are_not_there_are_refused(address):
    with pytest.raises(RunError, match="the actors need 8 cores .*cpus_per_actor.* cluster has 6"):
        next(runner(cpus_per_actor=4.0)(1))
    with pytest.raises(RunError, match="the actors need {'roof': 2.0} .runner_args.actor_resources.* has none or less"):
        next(runner(actor_resources={"roof": 1.0})(1))
    with pytest.raises(
        RunError, match="3 actors need {'CPU': 2.0} each, and only 2 of them find that on one node .*num_actors"
    ):
        next(runner(cpus_per_actor=2.0, reanalyse_actors=1)(1))
    with pytest.raises(
        RunError, match="object_store_mb=80: a cycle's rows, num_envs . rollout_length = 4 . 100000, take .* MB, and 2"
    ):
        next(runner(ray_address="", object_store_mb=80, rollout_length=100_000)(1))
    with pytest.raises(RunError, match="ray_address=127.0.0.1:9: cannot join this cluster: no Ray answers there"):
        next(runner(ray_address="127.0.0.1:9")(1))
    with pytest.raises(ValueError, match="num_envs=4 cannot be divided evenly among num_actors=3"):
        runner(num_actors=3)


def test_actors_whose_room_others_use_are_told_of_instead_of_being_waited_for(address, monkeypatch):
    from tandem.cluster.start import cluster
    from tandem.runners.actors import placement

    monkeypatch.setattr(placement, "SECONDS_TO_PLACE", 1.0)
    desk = {"CPU": 1.0, "desk": 1.0}
    with cluster(address, {}, 0, ""):
        with placement.reserved(1, desk):
            words = ".runner_args: num_actors.* of {'CPU': 6.0, 'desk': 2.0} .* only {'CPU': 5.0, 'desk': 1.0} are free"
            with pytest.raises(RunError, match=f"2 actors need {desk} each {words}"):
                next(runner(actor_resources={"desk": 1.0})(1))
        monkeypatch.undo()  # a loaded machine takes longer than that second to hand over what is free
        with placement.reserved(2, desk) as options:  # given back
            assert options


def test_a_run_on_a_cluster_does_nothing_for_anybody_without_the_clusters_token(address):
    from tandem.cluster.start import cluster

    with cluster(address, {}, 0, ""):
        ports = [port for _, port in listening([psutil.Process()])]
        assert ports  # Ray has it listen on all interfaces, because actors on other machines answer it
        for ip, port in itertools.product(["127.0.0.1", *outer_addresses()], ports):
            assert {says(ip, port, method, "") for method in METHODS} == {"UNAUTHENTICATED", "UNIMPLEMENTED"}


def test_jax_finds_in_an_actor_the_platform_and_the_threads_that_it_was_told_before(address):
    from tandem.cluster.start import cluster
    from tandem.runners.actors import placement

    wants = placement.wanted(1.0, {})
    with cluster(address, {}, 0, ""):
        probe = placement.ray.remote(**placement.actor_options(wants, 3))(Probe).remote()
        found = placement.ray.get(
            probe.look.remote(["JAX_PLATFORMS", "NPROC", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"])
        )
        placement.ray.kill(probe)
    assert not found["imported"] and found["platforms"] == ["cpu"] and found["threads"] == 3
    assert found["told"] == {"JAX_PLATFORMS": "cpu", "NPROC": "3", "OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": ""}


def test_a_team_dreams_while_its_actors_know_how_to_act_alone(address):
    parts, steps = remakes.dreaming_parts(), remakes.DREAMT_STEPS
    acted_with = jax.eval_shape(lambda key: parts["learner"].acting(parts["learner"].init(key)), jax.random.key(0))
    assert set(acted_with) == {"actor", "tokenizer"}  # and neither the critic nor the dynamics
    config = ray_async.Config(
        num_actors=ACTORS, num_envs=16, rollout_length=8, updates_per_step=1 / 8, report_every=steps // 2,
        ray_address=address,
    )  # fmt: skip
    clocks = {"t_max": steps, "max_minutes": 0, "eval_episodes": 4, "eval_every": steps}
    metrics = small_runs.last(ray_async.make(config, **parts, remake=remakes.dreaming, **clocks), 1)
    assert 0 < metrics["imagine/length"] <= 2 and metrics["model/obs_loss"] > 0
    assert 0 < metrics["train/entropy"] and 0 <= metrics["eval/policy/return"] <= 8


def test_the_climbing_game_is_learned_and_a_run_that_starts_ray_leaves_none_behind():
    config = ray_async.Config(num_envs=32, rollout_length=4, updates_per_step=1 / 8, report_every=2048, num_actors=1)
    parts = small_runs.parts("plies", matrix_game.Config())
    before = set(psutil.Process().children(recursive=True))
    metrics = small_runs.last(ray_async.make(config, **parts, remake=remakes.climbing, **small_runs.CLOCKS), 1)
    assert metrics["eval/search/optimal"] == 1.0 and metrics["eval/search/return"] == 11.0
    assert set(psutil.Process().children(recursive=True)) <= before
