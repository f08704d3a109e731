"""A stand-in of SMAC's StarCraft2Env: the methods that src/envs/sc2 calls, with the shapes that SMAC documents for
its map 3m.

Three marines stand against three on a plain, each with 45 health; a marine that is ordered to shoot takes 9 from its
target within 6, and the other side walks up and shoots at whoever is nearest. Actions, legality, observations, state,
reward and `info` are laid out as SMAC lays them out: 0 no-op (of the dead alone), 1 stop, 2 to 5 north, south, east,
west, 6 on: attack.
"""

from typing import Any, ClassVar

import numpy as np

MAPS = {"3m": 3}
LIMIT, HEALTH, DAMAGE, SHOOTS, SEES, STRIDE = 60, 45.0, 9.0, 6.0, 9.0, 2.0
STEPS = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)], float)  # north, south, east, west
KILL, WIN, SCALE = 10.0, 200.0, 20.0


class StarCraft2Env:
    """One battle; `running` counts the games that have been started and not closed."""

    running: ClassVar[int] = 0
    breaks_at: ClassVar[int] = 0  # the step at which the game is lost, as when its process dies; 0 = never

    def __init__(
        self, map_name: str = "8m", difficulty: str = "7", seed: int | None = None, continuing_episode: bool = False,
        reward_sparse: bool = False,
    ):  # fmt: skip
        self.n = MAPS[map_name]
        self._random, self._says_limit, self._sparse = np.random.default_rng(seed), continuing_episode, reward_sparse
        self._process, self._episodes = 0, 0

    def get_env_info(self) -> dict[str, int]:
        n = self.n
        obs = 4 + 5 * n + 5 * (n - 1) + 1
        state = 4 * n + 3 * n + n * (6 + n)
        return {"state_shape": state, "obs_shape": obs, "n_actions": 6 + n, "n_agents": n, "episode_limit": LIMIT}

    def reset(self) -> tuple[list[np.ndarray], np.ndarray]:
        if self._episodes == 0:  # also in the middle of the first battle: the game that ran is forgotten, as in SMAC
            self._process = 1
            type(self).running += 1
        self.steps, self.last_action = 0, np.zeros((self.n, 6 + self.n))
        heights = self._random.uniform(-1, 1, (2, self.n)) + 3 * np.arange(self.n)
        self.place = np.stack([np.repeat([[9.0], [23.0]], self.n, axis=1), heights], axis=-1)  # [side, unit, 2]
        self.health = np.full((2, self.n), HEALTH)  # [side, unit]
        return self.get_obs(), self.get_state()

    def step(self, actions: list[int]) -> tuple[float, bool, dict[str, Any]]:
        legal = self.get_avail_actions()
        for unit, action in enumerate(actions):
            assert legal[unit][action] == 1, f"Agent {unit} cannot perform action {action}"
        self.steps += 1
        if self.steps == type(self).breaks_at:
            return 0, True, {}
        self.last_action = np.eye(6 + self.n)[np.array(actions)]
        before = self.health[1].copy()
        self._play(actions)
        reward = float((before - self.health[1]).sum() + KILL * ((before > 0) & (self.health[1] == 0)).sum())
        info: dict[str, Any] = {"battle_won": False}
        won, lost = (self.health[1] == 0).all(), (self.health[0] == 0).all()
        if won and not lost:
            info["battle_won"] = True
            reward += WIN
        ended = bool(won or lost)
        if not ended and self.steps >= LIMIT:
            ended = True
            if self._says_limit:
                info["episode_limit"] = True
        self._episodes += ended
        return float(info["battle_won"]) if self._sparse else reward / ((KILL * self.n + WIN) / SCALE), ended, info

    def get_obs(self) -> list[np.ndarray]:
        return [self._seen_by(unit).astype(np.float32) for unit in range(self.n)]

    def get_state(self) -> np.ndarray:
        ours = (
            np.column_stack([self.health[0] / HEALTH, np.zeros(self.n), self._centred(0)])
            * (self.health[0] > 0)[:, None]
        )
        theirs = np.column_stack([self.health[1] / HEALTH, self._centred(1)]) * (self.health[1] > 0)[:, None]
        return np.concatenate([ours.ravel(), theirs.ravel(), self.last_action.ravel()]).astype(np.float32)

    def get_avail_actions(self) -> list[list[int]]:
        return [self._legal(unit) for unit in range(self.n)]

    def render(self, mode: str = "human") -> np.ndarray:
        assert mode == "rgb_array"
        frame = np.zeros((32, 32, 3), np.uint8)
        for side in range(2):
            for x, y in self.place[side][self.health[side] > 0]:
                frame[int(np.clip(y + 8, 0, 31)), int(np.clip(x, 0, 31)), 2 * side] = 255
        return frame

    def close(self) -> None:
        type(self).running -= self._process
        self._process = 0

    def _centred(self, side: int) -> np.ndarray:
        return (self.place[side] - 16.0) / 32.0

    def _distances(self, unit: int, side: int) -> np.ndarray:
        return np.linalg.norm(self.place[side] - self.place[0][unit], axis=-1)

    def _legal(self, unit: int) -> list[int]:
        if self.health[0][unit] == 0:
            return [1] + [0] * (5 + self.n)
        targets = (self._distances(unit, 1) <= SHOOTS) & (self.health[1] > 0)
        return [0, 1, 1, 1, 1, 1, *targets.astype(int).tolist()]

    def _seen_by(self, unit: int) -> np.ndarray:
        """Return four moves, five numbers of each enemy and of each other ally, and the unit's own health."""
        others = [i for i in range(self.n) if i != unit]
        if self.health[0][unit] == 0:
            return np.zeros(4 + 5 * self.n + 5 * len(others) + 1)
        legal = self._legal(unit)
        enemies = self._units(unit, 1, list(range(self.n)), legal[6:])
        allies = self._units(unit, 0, others, [1] * len(others))
        return np.concatenate([legal[2:6], enemies, allies, [self.health[0][unit] / HEALTH]])

    def _units(self, unit: int, side: int, which: list[int], flags: list[int]) -> np.ndarray:
        distances, relative = self._distances(unit, side), self.place[side] - self.place[0][unit]
        rows = np.column_stack([distances / SEES, relative / SEES, self.health[side] / HEALTH])[which]
        seen = (distances < SEES) & (self.health[side] > 0)
        return (np.column_stack([flags, rows]) * seen[which][:, None]).ravel()

    def _play(self, actions: list[int]) -> None:
        shots = []
        for unit, action in enumerate(actions):
            if 2 <= action <= 5:
                self.place[0][unit] += STRIDE * STEPS[action - 2]
            elif action > 5:
                shots.append((1, action - 6))
        for enemy in np.flatnonzero(self.health[1] > 0):
            distances = np.where(
                self.health[0] > 0, np.linalg.norm(self.place[0] - self.place[1][enemy], axis=-1), np.inf
            )
            nearest = int(distances.argmin())
            if distances[nearest] <= SHOOTS:
                shots.append((0, nearest))
            elif np.isfinite(distances[nearest]):
                self.place[1][enemy] += (self.place[0][nearest] - self.place[1][enemy]) / distances[nearest]
        for side, target in shots:
            self.health[side][target] = max(0.0, self.health[side][target] - DAMAGE)
