"""Real episodes, and what a sequence model imagines of them: the same beginning, the same actions.

A dream is as long as those from which the team learns. A longer one goes on from its own last observations, because
a transformer knows no positions beyond.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from tandem.analysis.episodes import Episode
from tandem.core import Array, Dreamt, Key, Params, SequenceModel
from tandem.ops.open_loop import Errors, Happened, Start, errors, foresee

ENDED = 0.5  # probability below which a dream's going on counts as its end
PARTED = 0.5  # share of a still picture's error from which on a dream and what happened have parted


class Imagined(NamedTuple):
    """What is imagined of an episode of T steps."""

    context: int  # so many of its first observations are real
    obs: np.ndarray  # [T + 1, N, O] as the team sees them: encoded and decoded
    reward: np.ndarray  # [T] the team's; not a number where nothing is imagined
    continues: np.ndarray  # [T] probability that the episode goes on; not a number where nothing is imagined
    # [T + 1] mean absolute difference, over the living, from what they would really have seen, encoded and decoded as
    # well, so that rounding does not count; not a number where obs is real
    error: np.ndarray
    still: np.ndarray  # [T + 1] the same of supposing that nothing changes from the last real observation on

    @property
    def parted(self) -> int | None:
        """The first step at which what is imagined is more than half as wrong as to suppose that nothing changes."""
        return _first(self.error > PARTED * self.still)

    @property
    def ended(self) -> int | None:
        """The first step at which the imagined episode is over, more likely than not."""
        return _first(np.append(False, self.continues < ENDED))


def _first(flags: np.ndarray) -> int | None:
    found = np.flatnonzero(flags)
    return int(found[0]) if len(found) else None


def context_of(episodes: Sequence[Episode], context: int) -> int:
    """Return how many real observations dreams begin with: as many as in training, if the episodes are that long."""
    return min(context, *(len(episode.reward) for episode in episodes))


def imagine(
    world: SequenceModel, params: Params, episodes: Sequence[Episode], context: int, horizon: int, key: Key
) -> list[Imagined]:
    """Return what is imagined of episodes, in dreams of `horizon` steps, each from the last `context` observations.

    Args:
      context: no more than the steps of the shortest episode.
    """
    longest = max(len(episode.reward) for episode in episodes)
    obs, alive = (
        np.stack([_padded(x, longest + 1) for x in each]) for each in zip(*((e.obs, e.alive) for e in episodes))
    )
    action = np.stack([_padded(episode.action, longest + horizon) for episode in episodes])
    for i, episode in enumerate(episodes):
        alive[i, len(episode.reward) :] = False  # so that nothing moves after the end
    alive = np.pad(alive, [(0, 0), (0, horizon), (0, 0)])
    given, rewards, continues = obs[:, :context], [], []
    piece = jax.jit(partial(_piece, world))
    while given.shape[1] <= longest:
        now = given.shape[1]  # the step that is imagined next
        past, ahead = slice(now - context, now - 1), slice(now - 1, now - 1 + horizon)
        first = np.zeros((len(episodes), context), bool)
        first[:, 0] = now == context
        dreamt = jax.device_get(
            piece(
                params, given[:, -context:], action[:, past], first, action[:, ahead], alive[:, ahead],
                jax.random.fold_in(key, now),
            )
        )  # fmt: skip
        given = np.concatenate([given, dreamt.obs.swapaxes(0, 1)], axis=1)
        rewards.append(dreamt.reward)
        continues.append(dreamt.continues)
    seen = np.asarray(jax.jit(world.see)(params, obs))
    given = np.concatenate([seen[:, :context], given[:, context:]], axis=1)
    told = [np.concatenate(each).T for each in (rewards, continues)]
    return [_imagined(episode, context, given[i], seen[i], *(x[i] for x in told)) for i, episode in enumerate(episodes)]


def _piece(
    world: SequenceModel, params: Params, obs: Array, past: Array, first: Array, action: Array, alive: Array, key: Key
) -> Dreamt:
    carry, _ = world.begin(params, obs, past, first, action.shape[1])
    return foresee(world, params, carry, action, alive, key)


def _padded(x: np.ndarray, length: int) -> np.ndarray:
    """Return x [T, ...] with its last row repeated up to a length."""
    return x[np.minimum(np.arange(length), len(x) - 1)]


def _imagined(
    episode: Episode, context: int, obs: np.ndarray, truth: np.ndarray, reward: np.ndarray, continues: np.ndarray
) -> Imagined:
    """Return what is imagined of an episode.

    Args:
      obs: [T + 1 or more, N, O], as is `truth`, what would have been seen.
      reward: from the first imagined step on, as is `continues`.
    """
    length = len(episode.reward)
    obs, truth, acted = obs[: length + 1], truth[: length + 1], episode.alive[:length]

    def error(guess: np.ndarray) -> np.ndarray:
        away = np.abs(guess - truth[1:]).mean(axis=-1)
        found = (away * acted).sum(axis=-1) / np.maximum(acted.sum(axis=-1), 1)
        return np.append(np.full(context, np.nan), found[context - 1 :])

    def late(x: np.ndarray) -> np.ndarray:
        return np.append(np.full(context - 1, np.nan), x)[:length]

    return Imagined(
        context=context, obs=obs, reward=late(reward), continues=late(continues), error=error(obs[1:]),
        still=error(np.broadcast_to(obs[context - 1], obs[1:].shape)),
    )  # fmt: skip


def open_loop(
    world: SequenceModel,
    params: Params,
    episodes: Sequence[Episode],
    context: int,
    horizon: int,
    count: int,
    key: Key,
) -> Errors:
    """Return the errors by step of dreams from `count` starts, drawn uniformly over what the episodes have of them."""
    draw_key, dream_key = jax.random.split(key)
    start, real = starts(episodes, context, horizon, count, draw_key)
    return jax.device_get(jax.jit(partial(errors, world))(params, start, real, dream_key))


def starts(episodes: Sequence[Episode], context: int, horizon: int, count: int, key: Key) -> tuple[Start, Happened]:
    """Return rows with `context` rows up to them, and what happened from each of them on."""
    possible = [(e, s) for e, episode in enumerate(episodes) for s in range(len(episode.reward) - context + 1)]
    chosen = np.asarray(jax.random.randint(key, (count,), 0, len(possible)))
    pairs = [_cut(episodes[e], s, context, horizon) for e, s in (possible[i] for i in chosen)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *pairs)


def _cut(episode: Episode, start: int, context: int, horizon: int) -> tuple[Start, Happened]:
    """Return the rows from `start` on, and what happened after them; after the end its row is repeated."""
    length, last = len(episode.reward), start + context - 1
    past, ahead = np.arange(start, last + 1), np.minimum(np.arange(last, last + horizon), length - 1)
    legal, over = np.concatenate([episode.legal, episode.last_legal[None]]), ahead == length - 1
    before = Start(
        obs=episode.obs[past], action=episode.action[past[:-1]], first=past == 0, legal=legal[last],
        alive=episode.alive[last],
    )  # fmt: skip
    after = Happened(
        action=episode.action[ahead], alive=episode.alive[ahead], next_obs=episode.obs[ahead + 1],
        next_legal=legal[ahead + 1], reward=episode.reward[ahead].astype(np.float32),
        terminated=over & ~np.bool_(episode.cut_off), truncated=over & np.bool_(episode.cut_off),
    )  # fmt: skip
    return before, after
