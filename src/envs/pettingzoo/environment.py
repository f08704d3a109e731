"""One environment of PettingZoo as a HostEnvironment."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tandem.core import EnvSpec, TimeStep
from tandem.envs.pettingzoo import measures
from tandem.envs.pettingzoo.actions import Actions
from tandem.envs.pettingzoo.game import Game, flat


class PettingZooEnvironment:
    """A team in a game; agents outside the team, if there are any, play at random.

    An agent that dies sees zeros and may only play action 0, which does nothing, because the game gets the actions of
    the living alone. At an episode's end those who played until then count as alive and keep their last observation.
    """

    def __init__(
        self,
        game: Game,
        spec: EnvSpec,
        team: Sequence[str],
        actions: Mapping[str, Actions],
        measured: measures.Measures,
        agent_returns: bool,
    ):
        """Args: team: names of the trained agents; actions: of everyone; agent_returns: every agent's return is a
        metric.
        """
        self.spec = spec
        self._game, self._team, self._actions, self._measured = game, tuple(team), actions, measured
        self._with_returns, self._no_metrics = agent_returns, dict.fromkeys(spec.metric_names, np.zeros((), np.float32))
        sizes = np.array([actions[agent].num for agent in team])
        self._legal = np.arange(spec.actions.size)[None, :] < sizes[:, None]  # [N, A]
        self._idle = np.arange(spec.actions.size) == 0  # [A]
        self._random: np.random.Generator | None = None
        self._playing = False

    def reset(self, seed: int | None = None) -> TimeStep:
        """Begin an episode; with None go on with the environment's own stream, which begins as with seed 0."""
        if seed is None and self._random is None:
            seed = 0
        if seed is not None:
            self._random = np.random.default_rng(seed)
        observations = self._game.reset(seed, self._random)
        self._num_steps, self._playing = 0, True
        self._returns = np.zeros(self.spec.num_agents, np.float32)
        self._meter = measures.Meter(self._measured, self._game.env.unwrapped)
        nothing = np.zeros(self.spec.num_agents, np.float32)
        return self._show(observations, np.ones(self.spec.num_agents, bool), nothing, False, False)

    def step(self, action: np.ndarray) -> TimeStep:
        """Play the actions [N] int of the team.

        Raises:
          RuntimeError: no episode has begun.
        """
        if not self._playing:
            raise RuntimeError("the episode is over: reset the environment before the next step")
        env, playing = self._game.env, list(self._game.env.agents)
        observations, rewards, terminations, truncations, _ = env.step(self._chosen(playing, action))
        self._num_steps += 1
        self._meter.count()
        reward = np.array([rewards.get(agent, 0.0) for agent in self._team], np.float32)
        self._returns = self._returns + reward
        living = set(env.agents)
        over = living.isdisjoint(self._team)
        cut_off = any(truncations[agent] and not terminations[agent] for agent in playing if agent in self._team)
        terminated = over and not cut_off
        truncated = not terminated and (over or self._num_steps >= self.spec.episode_limit)
        self._playing = not (terminated or truncated)
        # A game that goes on without the team ends for it, too: its last members are shown as they were.
        alive = np.array([agent in (playing if over else living) for agent in self._team])
        return self._show(observations, alive, reward, terminated, truncated)

    def render(self) -> np.ndarray:
        """Return the game's picture [H, W, 3] uint8."""
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "The system font", UserWarning
            )  # pygame takes another; nothing is to be done
            return np.asarray(self._game.env.render(), np.uint8)

    def close(self) -> None:
        """Let go of the game. PettingZoo's own `close` would end pygame for all other environments of this process."""
        self._playing = False

    def _chosen(self, playing: Sequence[str], action: np.ndarray) -> dict[str, Any]:
        """Return the actions of all who still play."""
        numbers = dict(zip(self._team, np.asarray(action).tolist(), strict=True))
        return {
            agent: self._actions[agent][
                numbers[agent] if agent in numbers else self._random.integers(self._actions[agent].num)
            ]
            for agent in playing
        }

    def _show(
        self,
        observations: Mapping[str, np.ndarray],
        alive: np.ndarray,
        reward: np.ndarray,
        terminated: bool,
        truncated: bool,
    ) -> TimeStep:
        """Return the time step; `alive` [N] says whose observations count."""
        obs = np.zeros((self.spec.num_agents, self.spec.obs.size), np.float32)
        for i in np.flatnonzero(alive):
            seen = flat(observations[self._team[i]])
            obs[i, : seen.size] = seen
        return TimeStep(
            obs=obs.reshape(-1, *self.spec.obs.shape),
            state=self._game.read_state() if self._game.state_size else obs.reshape(-1).copy(),
            legal=np.where(alive[:, None], self._legal, self._idle),
            present=np.ones(alive.shape, bool),
            alive=alive,
            reward=reward,
            terminated=np.array(terminated),
            truncated=np.array(truncated),
            first=np.array(self._num_steps == 0),
            metrics=self._metrics() if terminated or truncated else dict(self._no_metrics),
        )

    def _metrics(self) -> dict[str, np.ndarray]:
        """Return the metrics of an episode that has ended."""
        returns = zip(self._team, self._returns, strict=True) if self._with_returns else ()
        values = self._meter.read() | {f"return_{agent}": value for agent, value in returns}
        return {name: np.array(value, np.float32) for name, value in values.items()}
