"""PettingZoo's parallel environments (Terry et al., 2021, https://arxiv.org/abs/2009.14471): particle worlds (package
mpe2), SISL's pursuit and multiwalker, the butterfly games, and Atari's Space Invaders with the ROMs that ale-py
brings.

What differs from PettingZoo:

  episodes      end by truncation after `episode_limit` steps, whatever the game itself calls it
  padding       observations are flattened and padded with zeros and actions masked, so that agents share a network
  images        are reduced by SuperSuit and scaled to [0, 1]; the global state is reduced in the same way
  continuous    actions become a choice among `action_bins` values in each dimension, one number for the whole action
  opponents     agents outside the team play at random

The global state is the game's own `state()`, or, where it has none, the team's observations one after the other.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from tandem.core import Discrete, EnvSpec, Image, Vector, setting
from tandem.envs.pettingzoo import actions, measures, scenarios
from tandem.envs.pettingzoo.environment import PettingZooEnvironment
from tandem.envs.pettingzoo.game import open_game


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    scenario: str = setting("simple_spread", "the game, with or without its version")
    scenario_args: dict = setting({}, "arguments of PettingZoo's own maker: env_args.scenario_args.n_pistons=5")
    num_agents: int = setting(
        0,
        "size of the team in simple_spread, pursuit, multiwalker and pistonball; 0 = the scenario's",
        low=0,
        high=1000,
    )
    team: tuple[str, ...] = setting(
        (), "words in the names of the trained agents; others play at random; [] = the scenario's"
    )
    agent_returns: bool = setting(False, "report each agent's own return as a metric, return_<agent>")
    episode_limit: int = setting(
        0, "steps per episode; 0 = PettingZoo's own limit, in steps of frame_skip frames", low=0
    )
    action_bins: int = setting(
        3, "values of each dimension of a continuous action, evenly spaced over its range", low=2, high=1000
    )
    frame_skip: int = setting(1, "frames for which an action is played; rewards are summed", low=1, high=1000)
    frame_stack: int = setting(
        1, "observations that are seen together, the newest and those before it", low=1, high=1000
    )
    sticky_actions: float = setting(
        0.0, "probability, at each frame and agent, of repeating the last action", low=0.0, high=0.99
    )
    resize: tuple[int, ...] = setting(
        (84, 84), "width and height of images in pixels; [] = as they are", low=1, high=4096
    )
    greyscale: bool = setting(True, "whether images show brightness instead of colours")
    flatten: bool = setting(True, "whether networks get images as rows of numbers; False: as images, for encoder=conv")
    max_frames: int = setting(
        1, "each pixel is its greatest over so many frames; 2 for Atari, because it flickers", low=1, high=1000
    )


def make(config: Config) -> PettingZooEnvironment:
    """Build a scenario; the game begins with the first reset.

    Raises:
      ValueError: for a scenario, team or argument that does not exist.
      ImportError: PettingZoo or what it needs is not installed.
    """
    scenario = scenarios.find(config.scenario)
    if len(config.resize) not in (0, 2):
        raise ValueError(f"env_args.resize: expected width and height or [], got {list(config.resize)}")
    arguments = scenarios.sized(scenario, config.num_agents, config.scenario_args)
    config = dataclasses.replace(config, scenario_args=arguments)
    limit = config.episode_limit or math.ceil(scenario.cycles / config.frame_skip)
    game = open_game(scenario, config, limit * config.frame_skip + scenario.spare_cycles)
    everyone = list(game.env.possible_agents)
    team = _team(config.team or scenario.team, everyone)
    choices = {agent: actions.of_space(game.env.action_space(agent), config.action_bins) for agent in everyone}
    obs_size = max(math.prod(game.env.observation_space(agent).shape) for agent in team)
    measured = measures.of_scenario(scenario.name)
    returns = [f"return_{agent}" for agent in team] if config.agent_returns else []
    spec = EnvSpec(
        num_agents=len(team),
        obs=Vector(obs_size) if config.flatten else _image([game.env.observation_space(agent) for agent in team]),
        state=Vector(game.state_size or len(team) * obs_size),
        actions=Discrete(max(choices[agent].num for agent in team)),
        episode_limit=limit,
        shared_reward=scenario.shared(config.scenario_args) and set(team) <= set(_team(scenario.team, everyone)),
        metric_names=tuple(sorted([*measured.counts, *measured.finals, *measured.changes, *returns])),
    )
    return PettingZooEnvironment(game, spec, team, choices, measured, config.agent_returns)


def _image(spaces: list[Any]) -> Image:
    """Return the space of a team that sees images, all of one size.

    Raises:
      ValueError: somebody sees something else.
    """
    shapes = {space.shape for space in spaces}
    if len(shapes) > 1 or any(space.dtype != np.uint8 or len(space.shape) not in (2, 3) for space in spaces):
        raise ValueError("env_args.flatten=False: these agents do not all see images of one size; set it to true")
    return Image((*shapes.pop(), 1)[:3])


def _team(words: tuple[str, ...], everyone: list[str]) -> list[str]:
    """Return the agents with one of the words in their names, or all if there are no words.

    Raises:
      ValueError: a word is in nobody's name.
    """
    for word in words:
        if not any(word in agent for agent in everyone):
            raise ValueError(f"env_args.team: '{word}' is in no agent's name; there are {', '.join(everyone)}")
    return [agent for agent in everyone if not words or any(word in agent for word in words)]
