"""A task that exists in tests only: observations of n agents with landmarks, teammates and targets in them."""

import numpy as np

from tandem.core import Discrete, EnvSpec, Vector
from tandem.envs.layout import laid_out

FIRST = 3  # the action that aims at the first target; one more plain action comes behind them
EACH = {"own": 3, "landmark": 2, "ally": 4, "enemy": 3}  # features of a row; places come first, but for the own


def space(agents: int, landmarks: int, targets: int) -> Vector:
    pieces = [("own", 1, 3), ("landmark", landmarks, 2), ("ally", agents - 1, 4), ("enemy", targets, 3)]
    return laid_out(
        pieces,
        first_actions={"enemy": FIRST},
        absent={"ally": 0.0, "enemy": 0.0},
        places=dict.fromkeys(("landmark", "ally", "enemy"), (0, 1)),
    )


def spec(agents: int = 3, landmarks: int = 4, targets: int = 2) -> EnvSpec:
    obs = space(agents, landmarks, targets)
    return EnvSpec(
        num_agents=agents,
        obs=obs,
        state=Vector(agents * obs.size),
        actions=Discrete(FIRST + targets + 1),
        episode_limit=5,
        shared_reward=True,
    )


def observations(of: EnvSpec, batch: int, seed: int = 0) -> np.ndarray:
    """Return random observations [batch, N, O]; some teammates and targets are not there."""
    draw = np.random.default_rng(seed)
    obs = draw.normal(size=(batch, of.num_agents, of.obs.size)).astype(np.float32)
    for block in of.obs.entities:
        if block.absent:
            ((start, width),) = block.parts
            gone = draw.random((batch, of.num_agents, block.count)) < 0.3
            rows = obs[..., start : start + block.count * width].reshape(batch, of.num_agents, block.count, width)
            rows[gone] = 0.0
            obs[..., start : start + block.count * width] = rows.reshape(batch, of.num_agents, -1)
    return obs


def permuted(of: EnvSpec, obs: np.ndarray, kind: str, order: list[int]) -> np.ndarray:
    """Return observations in which the things of a kind come in another order."""
    block = next(block for block in of.obs.entities if block.kind == kind)
    ((start, width),) = block.parts
    after = obs.copy()
    rows = obs[..., start : start + block.count * width].reshape(*obs.shape[:-1], block.count, width)
    after[..., start : start + block.count * width] = rows[..., order, :].reshape(*obs.shape[:-1], -1)
    return after
