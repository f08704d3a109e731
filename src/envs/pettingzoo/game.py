"""A scenario of PettingZoo, opened and preprocessed by SuperSuit."""

import dataclasses
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tandem.envs.pettingzoo.scenarios import Scenario

INSTALL = "python -m pip install "  # and PACKAGES, which the extra `pettingzoo` of pyproject.toml pins
PACKAGES = (
    "pettingzoo==1.27.0 mpe2==1.1.1 supersuit==3.11.0 pygame-ce==2.5.8 pymunk==7.3.1 box2d==2.3.10 ale-py==0.12.1 "
    "multi-agent-ale-py==0.1.12"
)


@dataclasses.dataclass(frozen=True)
class Game:
    """What is played, and how to read it."""

    env: Any  # SuperSuit's and PettingZoo's wrappers over a ParallelEnv
    sticky: Any  # the wrapper of sticky actions, or None
    state_size: int  # 0: the game tells no global state
    read_state: Callable[[], np.ndarray]  # -> [state_size] float32

    def reset(self, seed: int | None, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Begin an episode and return the observations; `random` decides which actions will stick."""
        observations, _ = self.env.reset(seed=seed)
        if self.sticky is not None:  # SuperSuit gives all agents one stream, and all would stick at the same frames
            for modifier in self.sticky.modifiers.values():
                modifier.np_random = np.random.default_rng(random.integers(2**63))
        return observations


def load(module: str) -> ModuleType:
    """Import a module of the packages, which pygame lets draw into memory only.

    Raises:
      ImportError: it is not installed; the message says how to.
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{error}; install the extra 'pettingzoo': {INSTALL}{PACKAGES}", name=error.name) from error


def open_game(scenario: Scenario, config: Any, cycles: int) -> Game:
    """Return the scenario, its own limit set to `cycles` frames; nothing has been played yet.

    Raises:
      ValueError: `config.scenario_args` has an argument that the scenario does not take.
      ImportError: see `load`.
    """
    ours = {"max_cycles", "render_mode", "auto_rom_install_path"} & set(config.scenario_args)
    if ours:
        raise ValueError(
            f"env_args.scenario_args.{min(ours)}: is set here, not by you; env_args.episode_limit ends episodes"
        )
    arguments = scenario.more(config.scenario_args) | config.scenario_args
    has_state = scenario.has_state(arguments)
    if scenario.roms:
        arguments["auto_rom_install_path"] = str(Path(load("ale_py").__file__).parent / "roms")
    module = load(scenario.module)
    try:
        env = module.parallel_env(max_cycles=cycles, render_mode="rgb_array", **arguments)
    except Exception as error:  # of any kind: some makers assert, others fail while the game is made
        if not config.scenario_args:  # which are then not to blame
            raise
        given = ", ".join(f"{name}={value}" for name, value in config.scenario_args.items())
        raise ValueError(f"env_args.scenario_args: {scenario.version} does not take {given}: {error}") from error
    state_size, read_state = _state(env, config) if has_state else (0, _nothing)
    env, sticky = _preprocessed(env, config)
    return Game(env=env, sticky=sticky, state_size=state_size, read_state=read_state)


def flat(values: Any) -> np.ndarray:
    """Return [size] float32, bytes scaled to [0, 1]."""
    values = np.asarray(values)
    scale = np.float32(1 / 255) if values.dtype == np.uint8 else np.float32(1)
    return values.reshape(-1).astype(np.float32) * scale


def _nothing() -> np.ndarray:
    return np.zeros(0, np.float32)


def _is_image(space: Any) -> bool:
    return space.dtype == np.uint8 and len(space.shape) == 3


def _preprocessed(env: Any, config: Any) -> tuple[Any, Any]:
    """Return the environment under SuperSuit's wrappers, and the one of them that makes actions stick (or None)."""
    sticky = None
    images = all(_is_image(env.observation_space(agent)) for agent in env.possible_agents)
    if images and config.max_frames > 1:
        env = _wrapped("max_observation_v0", env, config.max_frames)
    if config.sticky_actions > 0:
        env = sticky = _wrapped("sticky_actions_v0", env, config.sticky_actions)
    if config.frame_skip > 1:
        if not hasattr(env.unwrapped, "np_random"):  # SuperSuit draws from it, even where nothing is random
            env.unwrapped.np_random = np.random.default_rng(0)
        env = _wrapped("frame_skip_v0", env, config.frame_skip)
    if images and config.greyscale and _channels(env) == 3:
        env = _wrapped("color_reduction_v0", env, "full")
    if images and config.resize:
        env = _wrapped("resize_v1", env, *config.resize)
    if config.frame_stack > 1:
        env = _wrapped("frame_stack_v2", env, config.frame_stack)
    return env, sticky


def _wrapped(name: str, env: Any, *arguments: Any) -> Any:
    """Return the environment under one of SuperSuit's wrappers; a game that needs none does not need SuperSuit."""
    return getattr(load("supersuit"), name)(env, *arguments)


def _channels(env: Any) -> int:
    return env.observation_space(env.possible_agents[0]).shape[-1]


def _state(env: Any, config: Any) -> tuple[int, Callable[[], np.ndarray]]:
    """Return the size of the global state and how to read it; images are reduced as the observations are."""
    space = env.state_space
    if not _is_image(space):
        return int(np.prod(space.shape)), lambda: flat(env.state())
    transforms = load("supersuit.utils.basic_transforms")

    def reduce(image: np.ndarray) -> np.ndarray:
        if config.greyscale and image.shape[-1] == 3:
            image = transforms.color_reduction.change_observation(image, space, "full")[..., None]
        return transforms.resize.change_observation(image, space, (*config.resize, True)) if config.resize else image

    return reduce(np.zeros(space.shape, np.uint8)).size, lambda: flat(reduce(env.state()))
