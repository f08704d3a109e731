"""Episodes in a sequence model: how they begin, how a team plays them, and how far they are from what really happened.

A dream is a rollout of ordinary rows, so that whatever learns from rollouts learns from dreams. An end is drawn, as the
model says how likely it is; the rows after it have nobody alive and do not count.
"""

import jax
import jax.numpy as jnp

from tandem.core import (
    Array, Dreamt, EnvSpec, Key, Params, PolicyExtras, SequenceModel, Transition, pytree,
)  # fmt: skip
from tandem.ops.losses import masked_mean
from tandem.ops.open_loop import Happened, Start, errors
from tandem.ops.team import team_reward


@pytree
class Night:
    """What a round of dreams was, for metrics."""

    rows: Transition  # [S, H, ...]
    real: Array  # [S, H] bool: before any end
    guarded: Array  # [S, H, N] bool: no action was likely to be legal


def starts(traj: Transition, context: int, count: int, key: Key) -> Start:
    """Return `count` pieces of sequences [B, T, ...], drawn uniformly over rows that have a context before them."""
    row_key, at_key = jax.random.split(key)
    batch, length = traj.first.shape
    row = jax.random.randint(row_key, (count,), 0, batch)
    at = jax.random.randint(at_key, (count,), 0, length - context + 1)
    return piece(traj, row, at, context)


def piece(traj: Transition, row: Array, at: Array, context: int) -> Start:
    """Return the `context` rows from row `at` [S] on of sequences `row` [S]."""
    steps = at[:, None] + jnp.arange(context)[None]
    obs, action, first = (x[row[:, None], steps] for x in (traj.obs, traj.action, traj.first))
    last = at + context - 1
    return Start(
        obs=obs, action=action[:, :-1], first=first, legal=traj.legal[row, last], alive=traj.alive[row, last]
    )  # fmt: skip


def next_legal(dreamt: Dreamt, legal: Array, alive: Array) -> tuple[Array, Array]:
    """Return which actions may be played next [S, N, A], and of whom none was likely to be [S, N].

    The likeliest action is always legal; the dead keep what they had.
    """
    likely = dreamt.legal > 0.5
    best = jax.nn.one_hot(jnp.argmax(dreamt.legal, axis=-1), likely.shape[-1], dtype=bool)
    return jnp.where(alive[..., None], likely | best, legal), ~likely.any(axis=-1) & alive


def dream(
    world: SequenceModel, spec: EnvSpec, params: Params, start: Start, horizon: int, key: Key, sample_ends: bool = True
) -> Night:
    """Return `horizon` rows of play from each start by the policy in the parameters."""
    memory = world.agent.memory(start.alive.shape[0])
    carry, obs = world.begin(params, start.obs, start.action, start.first, horizon)
    known, numbers = world.agent.distribution, spec.actions.continuous  # which numbers there are never changes
    never = jnp.zeros((start.alive.shape[0], 1), bool)

    def step(loop, key: Key):
        carry, obs, legal, alive, going_on = loop
        act_key, draw_key, end_key = jax.random.split(key, 3)
        _, outputs, _ = world.agent.policy(params, memory, obs[:, None], never)
        outputs = outputs[:, 0]
        action = known.sample(act_key, outputs, legal)
        carry, dreamt = world.step(params, carry, action, alive, draw_key)
        luck = jax.random.uniform(end_key, going_on.shape) if sample_ends else jnp.full(going_on.shape, 0.5)
        ended = luck >= dreamt.continues
        after, guarded = (legal, jnp.zeros_like(alive)) if numbers else next_legal(dreamt, legal, alive)
        acting = alive & going_on[:, None]
        next_alive = alive & (dreamt.alive > 0.5)
        row = _row(spec, dreamt, obs, legal, acting, action, ended & going_on, after, next_alive & going_on[:, None])
        extras = PolicyExtras(
            log_prob=known.log_prob(outputs, legal, action), policy=known.describe(outputs, legal),
            entropy=known.entropy(outputs, legal), memory=memory,
        )  # fmt: skip
        loop = (carry, dreamt.obs, after, next_alive, going_on & ~ended)
        return loop, (row.replace(extras=extras), going_on, guarded & going_on[:, None])

    loop = (carry, obs, start.legal, start.alive, jnp.ones(start.alive.shape[:1], bool))
    _, seen = jax.lax.scan(step, loop, jax.random.split(key, horizon))
    rows, real, guarded = jax.tree.map(lambda x: x.swapaxes(0, 1), seen)
    cut_off = jnp.broadcast_to(jnp.arange(horizon)[None] == horizon - 1, real.shape)
    return Night(rows=rows.replace(truncated=cut_off & ~rows.terminated), real=real, guarded=guarded)


def _row(
    spec: EnvSpec, dreamt: Dreamt, obs: Array, legal: Array, alive: Array, action: Array, ended: Array, after: Array,
    next_alive: Array,
) -> Transition:  # fmt: skip
    """Return a row; the team's reward is every agent's, or shared out where the team's is their sum."""
    count, agents = alive.shape
    share = 1.0 if spec.shared_reward else 1.0 / agents
    nowhere = jnp.zeros((count, spec.state.size))
    return Transition(
        obs=obs, state=nowhere, legal=legal, present=jnp.ones_like(alive), alive=alive,
        first=jnp.zeros(count, bool), action=action, extras=(),
        reward=jnp.broadcast_to(share * dreamt.reward[:, None], alive.shape),
        terminated=ended, truncated=jnp.zeros(count, bool), next_obs=dreamt.obs, next_state=nowhere, next_legal=after,
        next_alive=next_alive, env_step=jnp.zeros(count, jnp.int32),
    )  # fmt: skip


def night_metrics(spec: EnvSpec, night: Night) -> dict[str, Array]:
    """Return what the dreams were like: the team's return and length, and how often no action was likely legal."""
    reward = team_reward(night.rows.reward, spec.shared_reward) * night.real
    return {
        "imagine/return": jnp.mean(jnp.sum(reward, axis=1)),
        "imagine/length": jnp.mean(jnp.sum(night.real, axis=1).astype(jnp.float32)),
        "imagine/guard": masked_mean(night.guarded.astype(jnp.float32), night.rows.alive),
    }


OPEN_LOOP = ("obs_error_1", "obs_error_4", "obs_error_last", "obs_error_still", "reward_error", "end_recall",
             "legal_agreement")  # fmt: skip


def open_loop_errors(
    world: SequenceModel, spec: EnvSpec, params: Params, traj: Transition, context: int, horizon: int, key: Key
) -> tuple[dict[str, Array], Array, Array]:
    """Return how far dreams with the real actions are from what happened, by how many steps they are ahead.

    Errors of observations are mean absolute ones; `still` is that of supposing that nothing ever changes, at the last
    step. Beside them the squared error of rewards and the rewards' variance [], over all steps (`ops/open_loop.py`).
    """
    zeros = jnp.zeros(traj.first.shape[0], jnp.int32)
    start = piece(traj, jnp.arange(traj.first.shape[0]), zeros, context)
    real = jax.tree.map(lambda x: x[:, context - 1 : context - 1 + horizon], traj)
    happened = Happened(
        action=real.action, alive=real.alive, next_obs=real.next_obs, next_legal=real.next_legal,
        reward=team_reward(real.reward, spec.shared_reward), terminated=real.terminated, truncated=real.truncated,
    )  # fmt: skip
    found = errors(world, params, start, happened, key)
    away, still = found.obs.by_step(), found.obs_still.by_step()
    at = {"1": 0, "4": min(3, horizon - 1), "last": horizon - 1}
    metrics = {f"imagine/obs_error_{name}": away[i] for name, i in at.items()}
    metrics |= {
        "imagine/obs_error_still": still[-1],
        "imagine/end_recall": found.end.overall(),
        "imagine/legal_agreement": jnp.where(found.legal.count.sum() > 0, found.legal.overall(), 1.0),
    }
    return metrics, found.reward.overall(), found.reward_mean.overall()
