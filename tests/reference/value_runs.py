"""Whole runs of the value learners on tiny games, put together without the configuration; compiled once for all tests
that start them.
"""

import dataclasses
from functools import cache

from tandem.data import prioritised, rollout, uniform
from tandem.envs import matrix_game
from tandem.learners import pqn, q
from tandem.models import q_network
from tandem.planners.policies import epsilon_greedy
from tandem.runners import jax_sync
from tests.reference.run_plans import run_plan

NETWORK = q_network.Config(hidden_size=16, num_layers=1)
# Random play throughout: what is learned is then the fit of every joint action, which has a known answer.
BY_LOT = epsilon_greedy.Config(epsilon_end=1.0)
Q = q.Config(
    sequence=2, td_lambda=0.0, reward_scale=1.0, learning_rate=5e-3, target_period_updates=20, loss="squared",
    max_grad_norm=100.0,
)  # fmt: skip
PQN = pqn.Config(
    epochs=2, num_minibatches=4, td_lambda=0.0, reward_scale=1.0, learning_rate=5e-3, max_grad_norm=100.0
)  # fmt: skip
MIXERS = {"iql": "none", "vdn": "sum", "qmix": "monotone", "pqn_vdn": "sum"}
REPLAY = {"capacity": 4096, "batch_size": 64, "min_size": 512}
T_MAX = 16384


@cache
def value_run(
    name: str, game: matrix_game.Config, *, change=None, memory: str = "none", replay: str = "uniform",
    t_max: int = T_MAX, report_every: int = 0, planner: epsilon_greedy.Config = BY_LOT, **settings,
):  # fmt: skip
    """Return the run of an algorithm, seed -> generator of (Report, RunState); `change` may alter the game.

    Args:
      settings: of the learner, beside those above.
    """
    env = matrix_game.make(game)
    on_policy = name.startswith("pqn")
    runner = jax_sync.Config(
        num_envs=16, rollout_length=8, updates_per_step=1 / 8, report_every=report_every or t_max
    )  # fmt: skip
    network = dataclasses.replace(NETWORK, mixer=MIXERS[name], memory=memory, layer_norm=on_policy)
    model = q_network.make(network, env.spec)
    acting = epsilon_greedy.make(planner, model, env.spec, 0.99)
    updates = t_max // 128 if on_policy else t_max // 8
    plan = run_plan(env.spec, 0.99, updates, runner.num_envs)
    module, config = (pqn, PQN) if on_policy else (q, Q)
    learner = module.make(dataclasses.replace(config, **settings), model, plan)
    kept = {"uniform": uniform, "prioritised": prioritised}[replay]
    if on_policy:
        store = rollout.make(rollout.Config(), runner.num_envs, learner.sequence_length)
    else:
        store = kept.make(kept.Config(**REPLAY), runner.num_envs, learner.sequence_length)
    return jax_sync.make(
        runner, change(env) if change else env, acting, {"policy": acting}, learner, store, t_max=t_max, max_minutes=0,
        eval_episodes=16, eval_every=t_max,
    )  # fmt: skip
