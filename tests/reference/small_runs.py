"""A whole run on a tiny matrix game, put together without the configuration; compiled
once for all tests that start it.
"""

import dataclasses
from functools import lru_cache

import jax
import jax.numpy as jnp

from tandem.core import Environment
from tandem.envs import matrix_game
from tandem.learners import mazero, ppo, ppo_distil
from tandem.models import actor_critic, world_model
from tandem.planners.policies import actor
from tandem.registry import find
from tandem.data import rollout, uniform
from tandem.runners import jax_sync
from tests.reference.run_plans import run_plan

NETWORK = world_model.Config(
    latent_size=16,
    hidden_size=32,
    attention="none",
    projection_size=8,
    encoder_size=32,
    value_bins=21,
    value_limit=6.0,
    reward_bins=21,
    reward_limit=6.0,
)
LEARNER = mazero.Config(
    unroll=1,
    n_step=1,
    reward_scale=1.0,
    learning_rate=5e-3,
    warmup_updates=10,
    value_weight=1.0,
    policy_weight=0.25,
    target_period_updates=20,
    weight_decay=0.0,
)
REPLAY = uniform.Config(capacity=8192, batch_size=64, min_size=1024)
RUNNER = jax_sync.Config(num_envs=32, rollout_length=4, updates_per_step=1 / 8, report_every=2048)
T_MAX = 6144
CLOCKS = {"t_max": T_MAX, "max_minutes": 0, "eval_episodes": 16, "eval_every": T_MAX}


@lru_cache(maxsize=None)
def small_run(
    planner: str,
    game: matrix_game.Config,
    *,
    change=None,
    num_simulations: int = 48,
    head: str = "sum",
    also: str = "",
    reward_scale: float = 1.0,
):
    """Return the run, seed -> generator of (Report, RunState); `change` may alter the game.

    Args:
      head: how policies take up commitments.
      also: a planner without search to evaluate as "autoregressive".
      reward_scale: 0 = learned.
    """
    settings = {"head": head, "also": also, "reward_scale": reward_scale} | ({"env": change} if change else {})
    return jax_sync.make(RUNNER, **parts(planner, game, num_simulations, **settings), **CLOCKS)


def parts(
    planner: str,
    game: matrix_game.Config,
    num_simulations: int = 48,
    *,
    env=lambda env: env,
    head: str = "sum",
    also: str = "",
    reward_scale: float = 1.0,
) -> dict:
    """Return what a run is made of, by the names that runners call it; `env` may alter the game."""
    task = matrix_game.make(game)
    model = world_model.make(dataclasses.replace(NETWORK, policy_head=head), task.spec)

    def made(name: str, **settings):
        entry = find("planner", name)
        return entry.make(entry.config()(**settings), model, task.spec, 0.97)

    # Where agents search apart, a strong belief in each search makes them dodge one another for ever.
    value_scale = 1.0 if planner == "independent" else 10.0
    search = made(planner, num_simulations=num_simulations, max_depth=1, value_scale=value_scale)
    return {
        "env": env(task),
        "planner": search,
        "players": {"search": search} | ({"autoregressive": made(also)} if also else {}) | {"policy": made("policy")},
        "learner": mazero.make(
            dataclasses.replace(LEARNER, reward_scale=reward_scale),
            model,
            run_plan(task.spec, 0.97, int(T_MAX * RUNNER.updates_per_step)),
        ),
        "replay": uniform.make(REPLAY, RUNNER.num_envs, LEARNER.unroll + LEARNER.n_step),
    }


# What the on-policy algorithms differ in: the network's settings, and the learner.
ACTOR = actor_critic.Config(hidden_size=16, num_layers=1)
PPO = ppo.Config(
    epochs=4,
    num_minibatches=2,
    learning_rate=5e-3,
    critic_learning_rate=5e-3,
    entropy_weight=0.02,
    value_normalisation="running",
)
DISTIL = ppo_distil.Config(
    policy_minibatches=2,
    policy_learning_rate=5e-3,
    value_minibatches=2,
    value_learning_rate=5e-3,
    distil_minibatches=2,
    distil_learning_rate=5e-3,
    entropy_weight=0.02,
    reward_normalisation=True,
)
ON_POLICY = {
    "ippo": (dataclasses.replace(ACTOR, critic_input="obs"), PPO),
    "mappo": (ACTOR, PPO),
    "mappo, recurrent": (dataclasses.replace(ACTOR, actor_memory="gru", critic_memory="gru"), PPO),
    "mappo_ns": (dataclasses.replace(ACTOR, share_parameters=False), PPO),
    "mappo_distil": (ACTOR, DISTIL),
}
ON_POLICY_T_MAX = 16384


@lru_cache(maxsize=None)
def small_on_policy_run(name: str, game, *, change=None, make=matrix_game.make):
    """Return the run of an on-policy algorithm, seed -> generator of (Report, RunState); `change` may
    alter the game.
    """
    env = make(game)
    network, settings = ON_POLICY[name]
    runner = jax_sync.Config(num_envs=16, rollout_length=8, report_every=ON_POLICY_T_MAX)
    model = actor_critic.make(network, env.spec)
    planner = actor.make(actor.Config(), model, env.spec, 0.97)
    module = ppo if isinstance(settings, ppo.Config) else ppo_distil
    learner = module.make(settings, model, run_plan(env.spec, 0.97, ON_POLICY_T_MAX // 128, runner.num_envs))
    return jax_sync.make(
        runner,
        change(env) if change else env,
        planner,
        {"policy": planner},
        learner,
        rollout.make(rollout.Config(), runner.num_envs, learner.sequence_length),
        t_max=ON_POLICY_T_MAX,
        max_minutes=0,
        eval_episodes=16,
        eval_every=ON_POLICY_T_MAX,
    )


def without_signal(env: Environment) -> Environment:
    """Return the game with the pay of a joint action drawn by lot: the same rewards as often, but nobody earns them.

    The metric "optimal" still tells what was really played.
    """

    def step(key, state, action):
        lot_key, step_key = jax.random.split(key)
        if env.spec.actions.continuous:
            lot = jax.random.normal(lot_key, action.shape)
        else:
            lot = jax.random.randint(lot_key, action.shape, 0, env.spec.actions.size)
        _, paid = env.step(step_key, state, lot)
        state, timestep = env.step(step_key, state, action)
        return state, timestep.replace(reward=paid.reward)

    return env._replace(step=step)


def separable(env: Environment) -> Environment:
    """Return the game with a pay to which each of two agents adds on its own: 6 and 4 at
    best, whatever the other does.
    """

    def step(key, state, action):
        state, timestep = env.step(key, state, action)
        pay = 6.0 * (action[0] == 2) + 4.0 * (action[1] == 0)
        return state, timestep.replace(reward=jnp.full_like(timestep.reward, pay))

    return env._replace(step=step)


def last(run, seed: int) -> dict[str, float]:
    """Return the metrics of a run's last report."""
    for report, _ in run(seed):
        pass
    return report.metrics
