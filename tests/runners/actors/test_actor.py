"""What runs in an actor's process, without Ray around it: its random numbers, its evaluations."""

import itertools

import jax
import numpy as np
import pytest

from tandem.data import uniform
from tandem.runners import ray_async
from tandem.runners.actors import placement
from tandem.runners.collect import as_timestep
from tandem.runners.loop import keys
from tandem.runners.actors.actor import Actor, Order, Published, Replanner, Seat, packed
from tandem.runners.actors.session import Session
from tests.reference.host_games import OnHost
from tests.runners import remakes
from tests.runners.counting import make_env, make_learner, telling
from tests.runners.test_collect import assert_sums_of_steps

ACTORS, ENVS, STEPS, SEED = 3, 2, 5, 7


def runner() -> ray_async.AsyncRunner:
    config = ray_async.Config(num_envs=ACTORS * ENVS, rollout_length=STEPS, num_actors=ACTORS)
    learner = make_learner()
    replay = uniform.make(
        uniform.Config(capacity=400, batch_size=2, min_size=30), ACTORS * ENVS, learner.sequence_length
    )
    clocks = dict(t_max=60, max_minutes=0.0, eval_episodes=5, eval_every=48)
    parts = (make_env(shared=False), remakes.planner(), remakes.players(), learner, replay)
    return ray_async.make(config, *parts, remake=remakes.compiled, **clocks)


def seat(index: int, num_envs: int = ENVS) -> Seat:
    return Seat(
        index=index,
        num_envs=num_envs,
        all_envs=ACTORS * ENVS,
        rollout_length=STEPS,
        seed=SEED,
        env_timeout=0.0,
        max_failures=3,
    )


def test_no_actor_has_a_random_key_of_the_learner_the_evaluations_or_another_actor():
    state = runner().initial(SEED)
    actors = [Actor(remakes.compiled, seat(i), (0, 0), packed(one)).key for i, one in enumerate(state.actors)]
    eval_key, init_key = keys(SEED)
    roots = [jax.random.key(SEED), eval_key, init_key, *jax.random.split(init_key, 3), *actors]
    roots += [jax.random.fold_in(key, cycle) for key in actors for cycle in range(4)]
    roots += [jax.random.fold_in(eval_key, step) for step in (30, 60)]
    assert any((state.key == key).all() for key in roots), "the learner's is not among those that are compared"
    for one, other in itertools.combinations([np.asarray(jax.random.key_data(key)) for key in roots], 2):
        assert (one != other).any()


def test_games_of_an_evaluation_are_shared_by_all_ways_to_play_and_closed_when_acting_goes_on():
    made = []

    def make_game() -> OnHost:
        made.append(OnHost(make_env(shared=False)))
        return made[-1]

    actor = Actor(lambda: remakes.on_host()._replace(make_env=make_game), seat(0), (0, 0), ())
    published, key = Published(0, {"updates": np.int32(0)}), np.asarray(jax.random.key_data(jax.random.key(0)))
    spec_alone = len(made)
    first = actor.collect(published, Order(0, 0, 0.0))
    for name in ("search", "policy"):
        scores, failures = actor.evaluate(name, published.params, key, [3, 4, 5])
        assert scores["return"].shape == (3,) and failures == ()
    training, trials = made[spec_alone : spec_alone + ENVS], made[spec_alone + ENVS :]
    assert len(trials) == ENVS and not any(game.closed for game in trials)
    second = actor.collect(published, Order(1, STEPS * ACTORS * ENVS, 0.0))
    assert [game.closed for game in trials] == [1] * ENVS and not any(game.closed for game in training)
    cut = ~(first.rows.terminated | first.rows.truncated)[:, -1] & second.rows.first[:, 0]
    assert not cut.any(), "an evaluation cut an episode that is learned from"
    actor.evaluate("search", published.params, key, [6])
    actor.close()
    assert [game.closed for game in training] == [1] * ENVS and made[-1].closed == 1


def test_an_evaluation_whose_first_games_fail_is_tried_on_where_training_works():
    made = []

    def make_game() -> OnHost:
        made.append(len(made))
        if trouble and len(made) <= trouble[-1]:
            raise OSError("the port is taken")
        return OnHost(make_env(shared=False))

    trouble = []
    actor = Actor(lambda: remakes.on_host()._replace(make_env=make_game), seat(0), (0, 0), ())
    published, key = Published(0, {"updates": np.int32(0)}), np.asarray(jax.random.key_data(jax.random.key(0)))
    actor.collect(published, Order(0, 0, 0.0))
    trouble.append(len(made) + 3)
    scores, failures = actor.evaluate("policy", published.params, key, [3, 4, 5])
    actor.close()
    assert scores["return"].shape == (3,) and len(failures) == 3


def assert_of_numpy(*trees) -> None:
    """What goes from one process to another holds no array of a device."""
    kinds = {type(leaf) for leaf in jax.tree.leaves(trees)}
    assert np.ndarray in kinds and all(issubclass(kind, (np.ndarray, np.generic, int, float, str)) for kind in kinds), (
        kinds
    )


def test_all_that_goes_between_processes_is_of_numpy(monkeypatch):
    sent = []
    monkeypatch.setattr(placement.ray, "put", sent.append)
    run = runner()
    state = run.initial(SEED)
    Session(run, SEED, 1, None)._publish(state)
    (published,) = sent
    compiled = Actor(remakes.compiled, seat(0), (0, 0), packed(state.actors[0])).collect(published, Order(0, 0, 0.0))
    assert jax.tree.leaves(compiled.state) and compiled.rows.first.shape == (ENVS, STEPS)
    actor = Actor(remakes.on_host, seat(0), (0, 0), ())
    on_host = actor.collect(published, Order(0, 0, 0.0))
    key = np.asarray(jax.random.key_data(jax.random.key(0)))
    scores = actor.evaluate("search", published.params, key, [3, 4, 5])
    actor.close()
    seen = as_timestep(jax.tree.map(lambda x: x[:, 0], compiled.rows))
    plans = Replanner(remakes.compiled).replan(published, seen, key, np.float32(0.5))
    for tree in (published, packed(state.actors[0]), compiled, on_host, scores, plans):
        assert_of_numpy(tree)


@pytest.mark.parametrize("remake", [remakes.compiled, remakes.on_host])
def test_a_trajectory_brings_what_the_planner_reports(remake):
    acting, run = remake(), runner()
    state = () if acting.host else packed(run.initial(SEED).actors[0])
    actor = Actor(lambda: acting._replace(planner=telling(acting.planner)), seat(0), (0, 0), state)
    brought = actor.collect(Published(0, {"updates": np.int32(0)}), Order(0, 0, 0.0))
    actor.close()
    assert_sums_of_steps(brought.plans, brought.rows)
