"""Acting: one rollout of a batch of environments by any planner, and greedy evaluation on fresh ones."""

import jax
import jax.numpy as jnp

from tandem.core import (
    Array, Environment, Key, Params, Plan, Planner, PolicyExtras, PyTree, TimeStep, Transition, pytree, transition,
)  # fmt: skip
from tandem.envs.auto_reset import auto_reset_step
from tandem.ops.masking import entropy
from tandem.ops.team import team_reward


@pytree
class Actors:
    """E environments and statistics of their running episodes."""

    env: PyTree  # [E, ...]
    timestep: TimeStep  # [E, ...] to act on next
    carry: PyTree  # the planner's
    episode_return: Array  # [E] team return so far
    episode_length: Array  # [E] int32


@pytree
class Episodes:
    """Sums over finished episodes, and sums of the planner's metrics over all steps."""

    count: Array  # []
    sums: dict[str, Array]  # {name: []}
    plans: dict[str, Array]  # a group of metrics: {"count": [], "search/<name>": []}; {} if the planner reports none


def start(env: Environment, planner: Planner, key: Key, num_envs: int) -> Actors:
    """Return E freshly reset environments, each with a key of its own."""
    state, timestep = jax.vmap(env.reset)(jax.random.split(key, num_envs))
    return Actors(
        env=state,
        timestep=timestep,
        carry=planner.init(num_envs),
        episode_return=jnp.zeros(num_envs),
        episode_length=jnp.zeros(num_envs, jnp.int32),
    )


def collect(
    env: Environment,
    planner: Planner,
    params: Params,
    actors: Actors,
    key: Key,
    num_steps: int,
    env_step: Array,
    progress: Array,
) -> tuple[Actors, Transition, Episodes]:
    """Return the actors `num_steps` later, rows [E, T, ...] for the replay, and the episodes that ended.

    Args:
      env_step: [] int32, the run's environment steps before this rollout; written into the rows.
      progress: [] in [0, 1], for the planner's schedules.
    """
    num_envs = actors.episode_length.shape[0]
    step_envs = jax.vmap(lambda key, state, action: auto_reset_step(env, key, state, action))

    def step(actors: Actors, inputs: tuple[Key, Array]):
        plan_key, env_key = jax.random.split(inputs[0])
        seen = actors.timestep
        carry, plan = planner.plan(params, actors.carry, seen, plan_key, True, progress)
        state, timestep, outcome = step_envs(jax.random.split(env_key, num_envs), actors.env, plan.action)
        made_at = jnp.full(num_envs, env_step + inputs[1] * num_envs, jnp.int32)
        row = transition(seen, plan, outcome, made_at)
        actors, episodes = _count(env, actors, outcome, plan)
        return actors.replace(env=state, timestep=timestep, carry=carry), (row, episodes)

    steps = (jax.random.split(key, num_steps), jnp.arange(num_steps))
    actors, (rows, episodes) = jax.lax.scan(step, actors, steps)
    rows = jax.tree.map(lambda x: x.swapaxes(0, 1), rows)
    return actors, rows, jax.tree.map(lambda x: jnp.sum(x, axis=0), episodes)


def evaluate(env: Environment, planner: Planner, params: Params, key: Key, num_episodes: int) -> dict[str, Array]:
    """Return {metric: [num_episodes]} of greedy play, each episode on a fresh environment.

    "entropy" is [num_episodes, N]: the entropy of each agent's policy in nats, averaged over the steps at which the
    agent was alive.
    """
    reset_key, key = jax.random.split(key)
    actors = start(env, planner, reset_key, num_episodes)
    step_envs = jax.vmap(env.step)
    zero = jnp.zeros(num_episodes)
    scores = {"return": zero, "length": zero} | dict.fromkeys(env.spec.metric_names, zero)
    each = jnp.zeros((num_episodes, env.spec.num_agents))

    def running(loop) -> Array:
        return jnp.any(loop[2])

    def step(loop):
        actors, key, active, scores, (total, count) = loop
        key, plan_key, env_key = jax.random.split(key, 3)
        carry, plan = planner.plan(params, actors.carry, actors.timestep, plan_key, False, jnp.ones(()))
        state, outcome = step_envs(jax.random.split(env_key, num_episodes), actors.env, plan.action)
        reward = team_reward(outcome.reward, env.spec.shared_reward)
        latest = {"return": scores["return"] + reward, "length": scores["length"] + 1.0} | outcome.metrics
        scores = {name: jnp.where(active, latest[name], scores[name]) for name in scores}
        acting = active[:, None] & actors.timestep.alive
        entropies = (total + jnp.where(acting, policy_entropy(plan.extras), 0.0), count + acting)
        active &= ~(outcome.terminated | outcome.truncated)
        return actors.replace(env=state, timestep=outcome, carry=carry), key, active, scores, entropies

    loop = (actors, key, jnp.ones(num_episodes, bool), scores, (each, each))
    _, _, _, scores, (total, count) = jax.lax.while_loop(running, step, loop)
    return scores | {"entropy": total / jnp.maximum(count, 1.0)}


def policy_entropy(extras: PyTree) -> Array:
    """Return the entropy [B, N] in nats of the policies in a planner's extras."""
    return extras.entropy if isinstance(extras, PolicyExtras) else entropy(extras.policy)


def as_timestep(row: Transition) -> TimeStep:
    """Return the time step that a stored row was acted on, to plan it again."""
    return TimeStep(
        obs=row.obs,
        state=row.state,
        legal=row.legal,
        present=row.present,
        alive=row.alive,
        reward=jnp.zeros_like(row.reward),
        terminated=jnp.zeros_like(row.terminated),
        truncated=jnp.zeros_like(row.truncated),
        first=row.first,
        metrics={},
    )


def of_plans(metrics: dict[str, Array]) -> dict[str, Array | float]:
    """Return one step of a planner's metrics {name: [B]} as a group of metrics, means over the environments."""
    if not metrics:
        return {}
    return {"count": 1.0} | {f"search/{name}": each.mean() for name, each in metrics.items()}


def _count(env: Environment, actors: Actors, outcome: TimeStep, plan: Plan) -> tuple[Actors, Episodes]:
    """Return the actors with updated sums of their episodes, and the episodes that ended at this step."""
    total = actors.episode_return + team_reward(outcome.reward, env.spec.shared_reward)
    length = actors.episode_length + 1
    ended = outcome.terminated | outcome.truncated
    scores = {"return": total, "length": length} | outcome.metrics
    sums = {name: jnp.sum(jnp.where(ended, score, 0.0)) for name, score in scores.items()}
    actors = actors.replace(episode_return=jnp.where(ended, 0.0, total), episode_length=jnp.where(ended, 0, length))
    plans = jax.tree.map(jnp.float32, of_plans(plan.metrics))
    return actors, Episodes(count=jnp.sum(ended, dtype=jnp.float32), sums=sums, plans=plans)
