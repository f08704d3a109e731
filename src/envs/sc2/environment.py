"""A battle of StarCraft II as a HostEnvironment, over the few methods of SMAC's StarCraft2Env that it needs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tandem.core import EnvSpec, TimeStep


class StarCraftEnvironment:
    """One game and its battles.

    Of the packages' environment it uses reset(), step(actions) -> (reward, terminated, info), get_obs(), get_state(),
    get_avail_actions(), render(mode) and close(). A seed is set at the start of the game, so each `reset` with a seed
    restarts the game, which takes seconds.
    """

    def __init__(self, start: Callable[[int | None], Any], spec: EnvSpec):
        """Args: start: seed -> the package's environment, whose game its first `reset` starts."""
        self.spec = spec
        self._start, self._game, self._playing = start, None, False

    def reset(self, seed: int | None = None) -> TimeStep:
        """Begin a battle; with a seed, or in the middle of another battle, in a new game."""
        # The packages start a second game beside the first when they are reset in the middle of its first battle.
        if seed is not None or self._playing or self._game is None:
            self.close()
            self._game = self._start(seed)
        self._game.reset()
        self._playing = True
        return self._show(0.0, False, False, True, False)

    def step(self, action: np.ndarray) -> TimeStep:
        """Play the actions [N] int, which must be legal.

        Raises:
          RuntimeError: no battle has begun, or the game stopped during the battle.
        """
        if not self._playing:
            raise RuntimeError("the battle is over: reset the environment before the next step")
        reward, ended, info = self._game.step(np.asarray(action).tolist())
        if "battle_won" not in info:  # the packages report this way that they lost the game and have started another
            raise RuntimeError("StarCraft II stopped during a battle")
        truncated = bool(ended and info.get("episode_limit", False))
        self._playing = not ended
        return self._show(reward, bool(ended and not truncated), truncated, False, bool(info["battle_won"]))

    def render(self) -> np.ndarray:
        """Return the packages' own picture of the battle [H, W, 3] uint8."""
        game = getattr(self._game, "env", self._game)  # SMACv2's wrapper does not pass on a mode
        return np.asarray(game.render(mode="rgb_array"), np.uint8)

    def close(self) -> None:
        """End the game, if there is one."""
        game, self._game, self._playing = self._game, None, False
        if game is not None:
            game.close()

    def _show(self, reward: float, terminated: bool, truncated: bool, first: bool, won: bool) -> TimeStep:
        """Return the time step that the game shows now."""
        legal = np.asarray(self._game.get_avail_actions(), bool)
        alive = ~legal[:, 0]  # the no-op is for the dead, and they have nothing else
        return TimeStep(
            obs=np.asarray(self._game.get_obs(), np.float32),
            state=np.asarray(self._game.get_state(), np.float32),
            legal=legal,
            present=np.ones(alive.shape, bool),
            alive=alive,
            reward=np.full(self.spec.num_agents, reward, np.float32),
            terminated=np.array(terminated),
            truncated=np.array(truncated),
            first=np.array(first),
            metrics={"battle_won": np.array(won, np.float32), "units_lost": np.array((~alive).sum(), np.float32)},
        )
