"""A whole run of `marie` on a tiny matrix game, put together without the configuration."""

from functools import lru_cache

from tandem.data import uniform
from tandem.envs import matrix_game
from tandem.learners import marie
from tandem.models.imagination import model
from tandem.models.imagination.model import Config
from tandem.planners.policies import actor
from tandem.runners import jax_sync
from tests.reference.run_plans import run_plan

NETWORK = Config(
    width=16, layers=1, heads=2, model_size=32, hidden_size=16, num_layers=1, codes=9, reward_bins=21, window=4
)
LEARNER = marie.Config(
    context=1, horizon=2, starts=64, round_every=2, warmup_updates=200, epochs=2, num_minibatches=2, model_warmup=10,
    learning_rate=4e-3, critic_learning_rate=4e-3, model_learning_rate=5e-3, entropy_weight=0.1, check_every=4,
)  # fmt: skip
T_MAX = 8192


@lru_cache(maxsize=None)
def small_dream_run(
    game: matrix_game.Config, *, change=None, t_max: int = T_MAX, dynamics: str = "transformer", **settings
):
    """Return the run, seed -> generator of (Report, RunState); `change` may alter the game, `settings` the learner."""
    env = matrix_game.make(game)
    net = model.make(marie.dataclasses.replace(NETWORK, dynamics=dynamics), env.spec)
    runner = jax_sync.Config(num_envs=16, rollout_length=8, updates_per_step=1 / 8, report_every=t_max // 2)
    planner = actor.make(actor.Config(), net, env.spec, 0.97)
    plan = run_plan(env.spec, 0.97, int(t_max * runner.updates_per_step), runner.num_envs)
    config = marie.dataclasses.replace(LEARNER, **settings)
    learner = marie.make(config, net, plan)
    replay = uniform.make(uniform.Config(capacity=t_max, batch_size=32, min_size=512), 16, learner.sequence_length)
    return jax_sync.make(
        runner, change(env) if change else env, planner, {"policy": planner}, learner, replay, t_max=t_max,
        max_minutes=0, eval_episodes=16, eval_every=t_max,
    )  # fmt: skip
