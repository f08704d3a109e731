"""The switch riddle (Foerster et al. 2016, section 5.2), JaxMARL's: prisoners who share one light bulb.

Every day one of N >= 3 prisoners, drawn at random, is in the room: alone in seeing the bulb, and alone in choosing.
Whoever tells that all have been there frees everybody (1) or, if it is not so, ends everybody (-1); after 4 N - 6
days it is over (0).

Three things differ from JaxMARL. Only the prisoner in the room has a choice, because the others' actions never counted.
The last day is a truncation. And `remember` shows every prisoner the day, and whether it has been in the room. World
models here have no memory, so without that they cannot count.

No team can get more than `upper_bound` on average: the chance that everybody has been there by the last day.
"""

import dataclasses
from math import comb
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Array, Discrete, EnvSpec, Environment, Key, PyTree, TimeStep, Vector, setting
from tandem.envs.jaxmarl_bridge import SwitchRiddle, strong_types
from tandem.envs.time_limit import ending
from tandem.scene import Box, Disc, Drawing, Scene

NOTHING, SWITCH, TELL = range(3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    num_agents: int = setting(3, "number of prisoners", low=3, high=20)
    remember: bool = setting(True, "show each prisoner the day, and whether it has been in the room")


def upper_bound(num_agents: int) -> float:
    """Return the probability that all have been in the room by the last day, by inclusion and exclusion."""
    days = 4 * num_agents - 6
    return sum((-1) ** k * comb(num_agents, k) * ((num_agents - k) / num_agents) ** days for k in range(num_agents))


def make(config: Config) -> Environment:
    """Build the riddle; its global state is who is in the room, who has been, the bulb and the day."""
    num_agents, days = config.num_agents, 4 * config.num_agents - 6
    world = SwitchRiddle(num_agents=num_agents)
    world.max_steps = 2**30  # the time limit is ours
    spec = EnvSpec(
        num_agents=num_agents,
        obs=Vector(4 if config.remember else 2),
        state=Vector(2 * num_agents + 2),
        actions=Discrete(3),
        episode_limit=days,
        shared_reward=True,
        metric_names=("freed",),
    )

    def show(state: PyTree, reward: Array) -> TimeStep:
        here = jax.nn.one_hot(state.agent_in_room, num_agents)
        been, day = state.has_been.astype(jnp.float32), state.step / days
        seen = [here, here * state.bulb_state] + ([been, jnp.full(num_agents, day)] if config.remember else [])
        terminated, truncated = ending(state.done, state.step, days)
        return TimeStep(
            obs=jnp.stack(seen, axis=1),
            state=jnp.concatenate([here, been, jnp.stack([state.bulb_state.astype(jnp.float32), day])]),
            legal=(here[:, None] > 0) | (jnp.arange(3)[None] == NOTHING),
            present=jnp.ones(num_agents, bool),
            alive=jnp.ones(num_agents, bool),
            reward=jnp.full(num_agents, reward, jnp.float32),
            terminated=terminated,
            truncated=truncated,
            first=state.step == 0,
            metrics={"freed": (reward > 0).astype(jnp.float32)},
        )

    def reset(key: Key) -> tuple[PyTree, TimeStep]:
        state = strong_types(world.reset(key)[1])
        return state, show(state, jnp.float32(0.0))

    def step(key: Key, state: PyTree, action: Array) -> tuple[PyTree, TimeStep]:
        actions = {agent: action[i] for i, agent in enumerate(world.agents)}
        _, state, rewards, _, _ = strong_types(world.step_env(key, state, actions))
        return state, show(state, rewards[world.agents[0]].astype(jnp.float32))

    return Environment(spec=spec, reset=reset, step=step, drawing=_drawing(num_agents))


def _drawing(num_agents: int) -> Drawing:
    """Return the room with its bulb, and beside it those who wait; who has been there is marked."""

    def scene(state: Any, action: np.ndarray | None) -> Scene:
        inside = int(state.agent_in_room)
        bulb = "on" if bool(state.bulb_state) else "off"
        figures = [Box(0.0, 0.0, 2.0, 2.0, "good" if bulb == "on" else "paper", f"bulb {bulb}")]
        for i in range(num_agents):
            note = "has been" if int(state.has_been[i]) else ""
            x, y = (1.0, 0.5) if i == inside else (3.0 + i, 0.5)
            figures.append(Disc(x, y, 0.3, i, str(i), note))
        return Scene(tuple(figures), (-0.2, -0.4, 3.6 + num_agents, 2.2), f"day {int(state.step)}")

    return Drawing(
        agents=tuple(f"prisoner {i}" for i in range(num_agents)),
        actions=(("nothing", "switch", "tell"),) * num_agents,
        scene=scene,
    )
