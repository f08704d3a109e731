"""Level-Based Foraging (Christianos et al. 2020; Papoudakis et al. 2021), from Jumanji: some food is
too heavy for one agent.

Agents on a grid load food next to them. Food is eaten if the sum of the loading agents' levels reaches its level. The
team's return is 1 if all food is eaten, which is the optimum if the time suffices. With `force_coop` a piece of food
is as heavy as the three weakest agents together. So a team of two or three has to load together, and three agents of
a larger team are enough.

Two things differ from Jumanji: observations are divided by the grid's size, and an episode whose last food is eaten
on its last step has terminated.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jumanji.environments.routing.lbf.env import LevelBasedForaging
from jumanji.environments.routing.lbf.generator import RandomGenerator

from tandem.core import Array, Discrete, EnvSpec, Environment, Key, PyTree, TimeStep, Vector, setting
from tandem.envs.layout import laid_out
from tandem.envs.time_limit import ending
from tandem.scene import Box, Disc, Drawing, Scene

ACTIONS = ("stay", "up", "down", "left", "right", "load")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    grid_size: int = setting(8, "length of the grid's sides in cells", low=5, high=50)
    num_agents: int = setting(2, "number of agents", low=1, high=20)
    num_food: int = setting(2, "number of pieces of food", low=1, high=20)
    field_of_view: int = setting(8, "distance that an agent sees, in cells; with grid_size it sees everything", low=1)
    force_coop: bool = setting(True, "every piece of food needs the whole team, or any three agents of a larger one")
    penalty: float = setting(0.0, "cost of a failed attempt to load food", low=0.0)
    episode_limit: int = setting(50, "steps after which an episode is truncated", low=1)


def make(config: Config) -> Environment:
    """Build the game; its global state is the observations of all agents.

    Raises:
      ValueError: the food does not fit on the grid, or `field_of_view` exceeds the grid.
    """
    world = _world(config)
    num_agents, space = config.num_agents, _seen(config)
    spec = EnvSpec(
        num_agents=num_agents,
        obs=space,
        state=Vector(num_agents * space.size),
        actions=Discrete(len(ACTIONS)),
        episode_limit=config.episode_limit,
        shared_reward=False,
        metric_names=("eaten",),
    )

    def show(state: PyTree, seen: Any, reward: Array) -> TimeStep:
        time = jnp.full((num_agents, 1), state.step_count / config.episode_limit)
        obs = jnp.concatenate([seen.agents_view / config.grid_size, time], axis=1).astype(jnp.float32)
        eaten = state.food_items.eaten
        terminated, truncated = ending(eaten.all(), state.step_count, config.episode_limit)
        return TimeStep(
            obs=obs,
            state=obs.reshape(-1),
            legal=seen.action_mask,
            present=jnp.ones(num_agents, bool),
            alive=jnp.ones(num_agents, bool),
            reward=reward.astype(jnp.float32),
            terminated=terminated,
            truncated=truncated,
            first=state.step_count == 0,
            metrics={"eaten": jnp.mean(eaten, dtype=jnp.float32)},
        )

    def reset(key: Key) -> tuple[PyTree, TimeStep]:
        state, timestep = world.reset(key)
        return state, show(state, timestep.observation, jnp.zeros(num_agents))

    def step(key: Key, state: PyTree, action: Array) -> tuple[PyTree, TimeStep]:
        del key
        state, timestep = world.step(state, action)
        return state, show(state, timestep.observation, timestep.reward)

    return Environment(spec=spec, reset=reset, step=step, drawing=_drawing(config))


def _seen(config: Config) -> Vector:
    """Return the space of observations: row, column and level of each; positions start at the view's edge."""
    nobody = (-1 / config.grid_size, -1 / config.grid_size, 0.0)
    pieces = [("food", config.num_food, 3), ("own", 1, 3), ("ally", config.num_agents - 1, 3), ("clock", 1, 1)]
    places = dict.fromkeys(("food", "own", "ally"), (0, 1))
    return laid_out(pieces, absent={"food": nobody, "ally": nobody}, places=places)


def _world(config: Config) -> LevelBasedForaging:
    """Return Jumanji's environment."""
    if config.field_of_view > config.grid_size:
        raise ValueError(
            f"env_args.field_of_view={config.field_of_view}: at most env_args.grid_size={config.grid_size}"
        )
    try:
        generator = RandomGenerator(
            grid_size=config.grid_size,
            fov=config.field_of_view,
            num_agents=config.num_agents,
            num_food=config.num_food,
            force_coop=config.force_coop,
        )
    except (AssertionError, ValueError) as error:
        raise ValueError(f"env_args: {error or 'the grid is too small for so much food'}") from None
    return LevelBasedForaging(generator=generator, time_limit=config.episode_limit, penalty=config.penalty)


def _drawing(config: Config) -> Drawing:
    """Return the grid with agents and food, each with its level."""
    size = config.grid_size

    def scene(state: Any, action: np.ndarray | None) -> Scene:
        figures: list = [Box(-0.5, -0.5, size - 0.5, size - 0.5, "paper")]
        for place, level, eaten in zip(state.food_items.position, state.food_items.level, state.food_items.eaten):
            if not eaten:
                x, y = int(place[1]), size - 1 - int(place[0])
                figures.append(Box(x - 0.4, y - 0.4, x + 0.4, y + 0.4, "good", str(int(level))))
        for i, (place, level) in enumerate(zip(state.agents.position, state.agents.level)):
            note = "loads" if action is not None and ACTIONS[int(action[i])] == "load" else ""
            figures.append(Disc(float(place[1]), float(size - 1 - int(place[0])), 0.35, i, str(int(level)), note))
        return Scene(tuple(figures), (-0.6, -0.9, size - 0.4, size - 0.4), f"step {int(state.step_count)}")

    return Drawing(
        agents=tuple(f"agent {i}" for i in range(config.num_agents)),
        actions=(ACTIONS,) * config.num_agents,
        scene=scene,
    )
