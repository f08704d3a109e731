"""A whole run of `marie` on a tiny matrix game, put together without the configuration.

Its controls, in which nothing can be learned, are the same compiled program: which of them a run is stands in its
learner's state.
"""

import dataclasses
from functools import lru_cache

import jax
import jax.numpy as jnp

from tandem.core import Array, Batch, Key, Learner, LearnerState
from tandem.data import uniform
from tandem.envs import matrix_game
from tandem.learners import marie
from tandem.models.imagination import model
from tandem.models.imagination.model import Config
from tandem.planners.policies import actor
from tandem.runners import jax_sync
from tests.reference.run_plans import run_plan

NETWORK = Config(
    width=16, layers=1, heads=2, model_size=32, hidden_size=16, num_layers=1, codes=9, reward_bins=21, window=4,
    action_bins=9,
)  # fmt: skip
LEARNER = marie.Config(
    context=1, horizon=2, starts=64, round_every=2, warmup_updates=200, epochs=2, num_minibatches=2, model_warmup=10,
    learning_rate=4e-3, critic_learning_rate=4e-3, model_learning_rate=5e-3, entropy_weight=0.1, check_every=4,
)  # fmt: skip
T_MAX, ENVS = 8192, 16
CONTROLS = ("none", "rewards shuffled over rows", "actions shuffled over rows", "a model that never learns")


@lru_cache(maxsize=None)
def small_dream_run(game, t_max: int = T_MAX, dynamics: str = "transformer", make=matrix_game.make, **settings):
    """Return the run, seed -> generator of (Report, RunState); `make` makes the game, `settings` are the learner's."""
    clocks = {"t_max": t_max, "max_minutes": 0, "eval_episodes": 16, "eval_every": t_max}
    runner = jax_sync.Config(num_envs=ENVS, rollout_length=8, updates_per_step=1 / 8, report_every=t_max // 2)
    return jax_sync.make(runner, **parts(game, t_max, dynamics=dynamics, make=make, **settings), **clocks)


def parts(
    game, t_max: int, min_size: int = 512, dynamics: str = "transformer", make=matrix_game.make, **settings
) -> dict:
    """Return what a run is made of, by the names that runners call it; `settings` are the learner's."""
    env = make(game)
    net = model.make(dataclasses.replace(NETWORK, dynamics=dynamics), env.spec)
    planner = actor.make(actor.Config(), net, env.spec, 0.97)
    plan = run_plan(env.spec, 0.97, t_max // 8, ENVS)
    learner = controlled(marie.make(dataclasses.replace(LEARNER, **settings), net, plan))
    replay = uniform.Config(capacity=t_max, batch_size=32, min_size=min_size)
    return {
        "env": env, "planner": planner, "players": {"policy": planner}, "learner": learner,
        "replay": uniform.make(replay, ENVS, learner.sequence_length),
    }  # fmt: skip


def controlled(learner: Learner) -> Learner:
    """Return a learner that takes from its batches, or from itself, what the control in its state says."""

    def init(key: Key) -> LearnerState:
        state = learner.init(key)
        return state.replace(stats=state.stats | {"control": jnp.int32(0)})

    def update(state: LearnerState, batch: Batch, key: Key):
        stats = dict(state.stats)
        control = stats.pop("control")
        traj = batch.traj
        order = jax.random.permutation(jax.random.fold_in(key, 7), traj.first.size)

        def shuffled(x: Array, which: str) -> Array:
            mixed = x.reshape(order.size, -1)[order].reshape(x.shape)
            return jnp.where(control == CONTROLS.index(which), mixed, x)

        traj = traj.replace(
            reward=shuffled(traj.reward, CONTROLS[1]), action=shuffled(traj.action, CONTROLS[2])
        )  # fmt: skip
        after, metrics, priorities = learner.update(state.replace(stats=stats), batch.replace(traj=traj), key)
        frozen = control == CONTROLS.index(CONTROLS[3])
        world = jax.tree.map(
            lambda new, old: jnp.where(frozen, old, new), after.params["world"], state.params["world"]
        )  # fmt: skip
        after = after.replace(params=after.params | {"world": world}, stats=after.stats | {"control": control})
        return after, metrics, priorities

    return learner._replace(init=init, update=update)


def under(run, seed: int, control: str):
    """Return the state from which a run under a control begins."""
    state = run.initial(seed)
    learner = state.learner
    return state.replace(learner=learner.replace(stats=learner.stats | {"control": jnp.int32(CONTROLS.index(control))}))
