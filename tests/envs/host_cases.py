"""Host environments in many settings, and random play in them; for the conformance suite and whoever else wants one."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tandem.core import HostEnvironment, TimeStep
from tandem.envs import pettingzoo, sc2
from tandem.envs.pettingzoo.scenarios import SCENARIOS
from tests.envs.defaults import LIMIT, default_cases

ATARI = {"frame_skip": 4, "frame_stack": 4, "sticky_actions": 0.25, "max_frames": 2}
# Fewer pistons, and enough frames for the invaders to move.
QUICKER: dict[str, dict[str, Any]] = {
    "pistonball": {"scenario_args": {"n_pistons": 5}},
    "space_invaders": {"frame_skip": 8},
}
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("simple_spread", {"scenario_args": {"continuous_actions": True, "N": 2}, "action_bins": 2, "agent_returns": True}),
    ("simple_tag_v3", {"team": ("adversary", "agent"), "frame_skip": 2, "frame_stack": 3}),
    ("simple_push", {"team": ("adversary",), "sticky_actions": 0.5}),
    ("pursuit", {"scenario_args": {"shared_reward": False, "n_pursuers": 3}, "frame_skip": 2}),
    ("multiwalker", {"scenario_args": {"n_walkers": 2, "terminate_on_fall": False}, "action_bins": 2, "frame_skip": 3}),
    ("pistonball", {"scenario_args": {"n_pistons": 5, "continuous": False}, "resize": (), "frame_skip": 2}),
    ("knights_archers_zombies", {"team": ("archer",), "scenario_args": {"obs_method": "image"}, "resize": (44, 33)}),
    ("cooperative_pong", {"greyscale": False, "resize": (31, 17), **ATARI}),
    ("space_invaders", {"resize": (42, 42), "flatten": False, **ATARI}),
]


def chosen() -> Iterator[tuple[str, Any]]:
    """Yield (registry name, Config) with short episodes of our own choice; StarCraft's end when the stand-in's do."""
    for scenario in SCENARIOS:
        yield "pettingzoo", pettingzoo.Config(scenario=scenario, episode_limit=LIMIT, **QUICKER.get(scenario, {}))
    for scenario, settings in SETTINGS:
        yield "pettingzoo", pettingzoo.Config(scenario=scenario, episode_limit=LIMIT, **settings)
    yield "sc2", sc2.Config()


def cases() -> list[tuple[str, Any]]:
    """Return the chosen cases, and the default settings of each other environment of the registry."""
    return [*chosen(), *default_cases(chosen(), host=True)]


def random_action(random: np.random.Generator, timestep: TimeStep, continuous: bool = False) -> np.ndarray:
    """Return legal actions [N], or numbers [N, A]."""
    if continuous:
        return np.where(timestep.legal, 2.0 * random.normal(size=timestep.legal.shape), 0.0).astype(np.float32)
    return np.array([random.choice(np.flatnonzero(legal)) for legal in timestep.legal])


def episode(
    env: HostEnvironment, seed: int | None, random: np.random.Generator, most: int = 1000
) -> tuple[list[TimeStep], list]:
    """Return the time steps of an episode of random play, `most` steps at most, and the actions between them."""
    timesteps, actions = [env.reset(seed)], []
    while len(actions) < most and not (timesteps[-1].terminated or timesteps[-1].truncated):
        actions.append(random_action(random, timesteps[-1], env.spec.actions.continuous))
        timesteps.append(env.step(actions[-1]))
    return timesteps, actions


def smac_installed(monkeypatch: Any, folder: Any) -> None:
    """Put the stand-in in smac's place, and a folder where the game would be."""
    import sys

    from tests.reference import starcraft

    monkeypatch.setitem(sys.modules, "smac.env", starcraft)
    monkeypatch.setenv("SC2PATH", str(folder))
    for part in ("Versions", "Maps/SMAC_Maps"):
        (folder / part).mkdir(parents=True)
