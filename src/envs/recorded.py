"""A dataset in place of a missing environment: its episodes are replayed, whatever the team does.

Actions have no consequences, so playing here only measures whether a team acts like the recorded one. The return of an
episode is the share of choices that agree with the recording, so 1 is full agreement. A choice is an action of a living
agent with more than one legal action. Rows for learning have the recorded rewards.
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Array, Discrete, EnvSpec, Environment, Image, Key, PyTree, TimeStep, Vector, pytree, setting
from tandem.datasets import store
from tandem.datasets.dataset import Dataset, chosen, lengths


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    rows: str = setting("", "folder of the dataset whose episodes are replayed; choose one that is not learned from")
    episodes: int = setting(256, "number of its episodes that are replayed, from the first on", low=1, high=4096)


@pytree
class RecordedState:
    """The position in the recording."""

    episode: Array  # [] int32
    row: Array  # [] int32, the next row to act on


def make(config: Config) -> Environment:
    """Return the environment that replays a dataset's episodes in uniformly random order.

    Raises:
      ValueError: there is no such dataset, or its actions are numbers.
    """
    if not config.rows:
        raise ValueError("env_args.rows: not given; name the folder of the dataset whose episodes are replayed")
    data = store.read(Path(config.rows).expanduser())
    if data.card["spec"]["continuous"]:
        raise ValueError(f"env_args.rows={config.rows}: its actions are numbers, which never agree exactly")
    data = chosen(data, np.arange(min(config.episodes, len(data.ends["row"]))))
    spec = _spec(data)
    rows, ends = jax.tree.map(jnp.asarray, (data.rows, data.ends))
    length = lengths(data)
    begin, free = jnp.asarray(data.ends["row"] - length + 1), data.rows["alive"] & (data.rows["legal"].sum(-1) > 1)
    choices = jnp.asarray(np.maximum(np.add.reduceat(free.sum(-1), np.asarray(begin)), 1))
    free = jnp.asarray(free)

    def shown(state: RecordedState, over: Array, reward: Array) -> TimeStep:
        """Return the time step after `reward`; after the last row, its recorded successor."""

        def seen(name: str) -> Array:
            return jnp.where(over, ends[f"next_{name}"][state.episode], rows[name][state.row])

        return TimeStep(
            obs=seen("obs"), state=seen("state"), legal=seen("legal"), alive=seen("alive"),
            present=rows["present"][state.row], reward=reward, first=state.row == begin[state.episode],
            terminated=over & rows["terminated"][state.row], truncated=over & rows["truncated"][state.row], metrics={},
        )  # fmt: skip

    def reset(key: Key) -> tuple[PyTree, TimeStep]:
        episode = jax.random.randint(key, (), 0, len(length))
        state = RecordedState(episode=episode, row=jnp.int32(begin[episode]))
        return state, shown(state, jnp.array(False), jnp.zeros(spec.num_agents))

    def step(key: Key, state: RecordedState, action: Array) -> tuple[PyTree, TimeStep]:
        del key
        alike = (action == rows["action"][state.row]) & free[state.row]
        share = alike / choices[state.episode]
        reward = jnp.full(spec.num_agents, share.sum()) if spec.shared_reward else share
        over = state.row == ends["row"][state.episode]
        after = state.replace(row=jnp.where(over, state.row, state.row + 1))
        timestep = shown(after, over, reward.astype(jnp.float32))
        return after, timestep.replace(first=jnp.array(False))

    return Environment(spec=spec, reset=reset, step=step)


def _spec(data: Dataset) -> EnvSpec:
    told = data.card["spec"]
    shape = tuple(told["obs"])
    return EnvSpec(
        num_agents=told["num_agents"],
        obs=Vector(*shape) if len(shape) == 1 else Image(shape),
        state=Vector(told["state"]),
        actions=Discrete(told["actions"]),
        episode_limit=told["episode_limit"] or int(lengths(data).max()),
        shared_reward=told["shared_reward"],
    )
