"""Playing episodes that are to be kept: many environments side by side, compiled, and whole episodes out of that."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import (
    Array, Environment, Key, Params, Plan, Planner, PolicyExtras, PyTree, TimeStep, Transition, transition,
)  # fmt: skip
from tandem.envs.auto_reset import auto_reset_step
from tandem.ops.masking import TINY
from tandem.ops.streams import FOLLOWED_BY, numbered
from tandem.ops.team import team_reward
from tandem.runners.collect import start
from tandem.runners.loop import compiled_once

STEPS = 64  # of each environment in one compiled call


# What compiling takes of a core and of memory, SMAX 3m, jax 0.10.2: 17 s and 470 MB without these, 8 s and 60 MB with
# them. The program plays as fast.
QUICKLY = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}


class Played(NamedTuple):
    """Whole episodes, one after the other, on the host."""

    rows: Transition  # [R, ...]; its next_* are of the episodes' last rows alone, [E, ...]
    last: np.ndarray  # [E] int64 the episodes' last rows
    metrics: dict[str, np.ndarray]  # {name: [E]}


def earned(played: Played, shared: bool) -> float:
    """Return the team's return, summed over all episodes."""
    return float(team_reward(played.rows.reward.astype(np.float64), shared).sum())


class Recorder(NamedTuple):
    """Plays a team: the same compiled functions for all checkpoints and for any share of lots."""

    start: Callable[[Key], PyTree]  # actors; those that it began before are dead
    # params, actors, key, epsilon [] -> actors, (rows [E, T, ...], metrics {name: [E, T]})
    play: Callable[[Params, PyTree, Key, Array], tuple[PyTree, tuple[Transition, dict[str, Array]]]]
    row: Callable[[Params], Transition]  # what a row looks like: a tree of jax.ShapeDtypeStruct
    num_envs: int
    close: Callable[[], None] = lambda: None  # let go of what plays; nothing is played afterwards


def make(env: Environment, player: Planner, num_envs: int, sample: bool) -> Recorder:
    """Return what plays a team; every agent now and then plays a legal action by lot.

    Args:
      sample: actions are drawn from the policies; else they are those of evaluations, the best.
    """
    play = jax.jit(partial(_play, env, player, sample), donate_argnums=1, compiler_options=QUICKLY)
    begin = compiled_once(partial(start, env, player, num_envs=num_envs))

    def row(params: Params) -> Transition:
        key, epsilon = jax.random.key(0), jnp.zeros(())
        made = jax.eval_shape(play, params, jax.eval_shape(begin, key), key, epsilon)[1][0]
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[2:], x.dtype), made)

    return Recorder(begin, play, row, num_envs)


def _play(
    env: Environment, player: Planner, sample: bool, params: Params, actors: PyTree, key: Key, epsilon: Array
) -> tuple[PyTree, tuple[Transition, dict[str, Array]]]:
    """Return the actors STEPS later and what they did."""
    num_envs = actors.episode_length.shape[0]
    step_envs = jax.vmap(lambda key, state, action: auto_reset_step(env, key, state, action))

    def step(actors: PyTree, key: Key):
        plan_key, lots_key, env_key = jax.random.split(key, 3)
        seen = actors.timestep
        carry, plan = player.plan(params, actors.carry, seen, plan_key, sample, jnp.ones(()))
        plan = with_lots(plan, seen, lots_key, epsilon, sample)
        state, timestep, outcome = step_envs(jax.random.split(env_key, num_envs), actors.env, plan.action)
        row = transition(seen, plan, outcome, jnp.zeros(num_envs, jnp.int32))
        return actors.replace(env=state, timestep=timestep, carry=carry), (row, outcome.metrics)

    actors, made = jax.lax.scan(step, actors, jax.random.split(key, STEPS))
    return actors, jax.tree.map(lambda x: x.swapaxes(0, 1), made)


def with_lots(plan: Plan, seen: TimeStep, key: Key, epsilon: Array, sample: bool) -> Plan:
    """Return a plan in which each agent plays, with probability epsilon, any of its legal actions alike.

    Its extras are those of the mixture of both policies, without the memory: mu(a) = (1 - e) pi(a) + e / n, n legal
    actions; pi is one at the best action unless actions are sampled. Where actions are numbers, those by lot are
    uniform in [-1, 1], and there are no extras.
    """
    which_key, lot_key = jax.random.split(key)
    legal, action = seen.legal, plan.action
    lot = jax.random.uniform(which_key, action.shape[:2]) < epsilon  # [B, N]
    if jnp.issubdtype(action.dtype, jnp.floating):
        drawn = jnp.where(legal, jax.random.uniform(lot_key, action.shape, minval=-1.0, maxval=1.0), 0.0)
        return plan.replace(action=jnp.where(lot[..., None], drawn, action), extras=())
    uniform = legal / jnp.sum(legal, axis=-1, keepdims=True)
    drawn = jax.random.categorical(lot_key, jnp.log(jnp.maximum(uniform, TINY))).astype(action.dtype)
    own = plan.extras.policy if sample else jax.nn.one_hot(action, legal.shape[-1])
    action = jnp.where(lot, drawn, action)
    policy = (1.0 - epsilon) * own + epsilon * uniform
    logs = jnp.log(jnp.maximum(policy, TINY))
    extras = PolicyExtras(
        log_prob=jnp.take_along_axis(logs, action[..., None], axis=-1)[..., 0],
        policy=policy,
        entropy=-jnp.sum(policy * logs, axis=-1),
    )
    return plan.replace(action=action, extras=extras)


def episodes(recorder: Recorder, params: Params, key: Key, epsilon: float, *, rows: int = 0, count: int = 0) -> Played:
    """Return whole episodes that have at least so many rows together, or at least `count` episodes.

    Every environment contributes equally many, up to the last round: those that end first are not preferred, which
    would favour short ones.
    """
    start_key, key = jax.random.split(key)
    actors, chunks, enough = recorder.start(start_key), [], False
    while not enough:
        actors, made = recorder.play(params, actors, jax.random.fold_in(key, len(chunks)), jnp.float32(epsilon))
        chunks.append(_kept(*jax.device_get(made)))
        del made  # of which `_kept` leaves half
        ended = np.concatenate([chunk.end >= 0 for chunk in chunks], axis=1)
        count_ended = np.cumsum(ended, axis=1)
        number, rounds = count_ended - ended, int(count_ended[:, -1].min())  # of its environment's episodes, which
        enough = rounds > 0 and np.sum(number < rounds) >= rows and rounds * recorder.num_envs >= count
    env, step = np.nonzero((number < rounds) & _goes_on([chunk.first for chunk in chunks], ended))
    order = np.lexsort((step, env, number[env, step]))
    env, step = env[order], step[order]
    size = _smallest(np.flatnonzero(ended[env, step]) + 1, rows, count)
    return _picked(chunks, env[:size], step[:size])


class _Chunk(NamedTuple):
    """Rows of all environments as they were played, with what followed those that end an episode."""

    rows: list[np.ndarray | None]  # leaves [E, T, ...] of a transition without next_*
    shape: Any  # of that tree
    first: np.ndarray  # [E, T]
    end: np.ndarray  # [E, T] int32: which of the chunk's ends a row is, or -1
    at_ends: dict[str, np.ndarray]  # next_* [ends, ...]
    metrics: dict[str, np.ndarray]  # {name: [ends]}


def _kept(rows: Transition, metrics: dict[str, np.ndarray]) -> _Chunk:
    """Return what is kept of rows [E, T, ...]: of what followed them no more than the next row does not say."""
    ended = np.asarray(rows.terminated | rows.truncated)
    leaves, shape = jax.tree.flatten(rows.replace(**dict.fromkeys(FOLLOWED_BY, ())))
    at_ends = {name: np.asarray(getattr(rows, name))[ended] for name in FOLLOWED_BY}
    end = numbered(ended.reshape(-1)).reshape(ended.shape)
    of_episodes = {name: np.asarray(each)[ended] for name, each in metrics.items()}
    return _Chunk(leaves, shape, np.asarray(rows.first), end, at_ends, of_episodes)


def _goes_on(firsts: list[np.ndarray], ended: np.ndarray) -> np.ndarray:
    """Return which rows [E, T] are of an episode that ends: a program outside JAX may fail in the middle of one."""
    begun = np.cumsum(np.concatenate(firsts, axis=1), axis=1)
    begun = begun + np.arange(len(begun))[:, None] * (begun.shape[1] + 1)  # so that no two environments share a number
    return np.isin(begun, begun[ended])


def _picked(chunks: list[_Chunk], env: np.ndarray, step: np.ndarray) -> Played:
    """Return the rows at some environments and steps, in this order; the chunks are used up.

    Leaf by leaf, each let go as soon as it is copied, so that the rows lie in memory once and not twice.
    """
    before = np.cumsum([0, *(chunk.at_ends["next_alive"].shape[0] for chunk in chunks)])
    end = _gathered([np.where(c.end >= 0, c.end + begin, -1) for c, begin in zip(chunks, before)], env, step)
    last = np.flatnonzero(end >= 0)
    leaves = []
    for i in range(len(chunks[0].rows)):
        leaves.append(_gathered([chunk.rows[i] for chunk in chunks], env, step))
        for chunk in chunks:
            chunk.rows[i] = None

    def at_ends(records: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return {name: np.concatenate([each[name] for each in records])[end[last]] for name in records[0]}

    rows = jax.tree.unflatten(chunks[0].shape, leaves).replace(**at_ends([chunk.at_ends for chunk in chunks]))
    return Played(rows, last, at_ends([chunk.metrics for chunk in chunks]))


def _gathered(parts: list[np.ndarray], env: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return what parts [E, T, ...] of a stream hold at environments and steps [R], counted over all of them."""
    length = parts[0].shape[1]
    found = np.empty((len(env), *parts[0].shape[2:]), parts[0].dtype)
    for i, part in enumerate(parts):
        here = np.flatnonzero(step // length == i)
        found[here] = np.asarray(part)[env[here], step[here] - i * length]
    return found


def _smallest(sizes: np.ndarray, rows: int, count: int) -> int:
    """Return the rows of as many first episodes as are wanted; `sizes` are the rows of the first, of two, and so on."""
    by_rows = int(np.searchsorted(sizes, rows))
    return int(sizes[max(by_rows, count - 1, 0)])
