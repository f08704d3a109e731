"""What runs in an actor's process, without Ray around it: its random numbers, its evaluations."""

import itertools

import jax
import numpy as np

from src.replay import uniform
from src.runners import ray_async
from src.runners.loop import keys
from src.runners.ray_actor import Actor, Seat, packed
from tests.runners import remakes
from tests.runners.counting import make_env, make_learner

ACTORS, ENVS, STEPS, SEED = 3, 2, 5, 7


def runner() -> ray_async.AsyncRunner:
    config = ray_async.Config(num_envs=ACTORS * ENVS, rollout_length=STEPS, num_actors=ACTORS)
    learner = make_learner()
    replay = uniform.make(uniform.Config(capacity=400, batch_size=2, min_size=30), ACTORS * ENVS, learner.sequence_length)
    clocks = dict(t_max=60, max_minutes=0.0, eval_episodes=5, eval_every=48)
    parts = (make_env(shared=False), remakes.planner(), remakes.players(), learner, replay)
    return ray_async.make(config, *parts, remake=remakes.compiled, **clocks)


def seat(index: int, num_envs: int = ENVS) -> Seat:
    return Seat(
        index=index, num_envs=num_envs, all_envs=ACTORS * ENVS, rollout_length=STEPS, seed=SEED, env_timeout=0.0, max_failures=3
    )  # fmt: skip


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
