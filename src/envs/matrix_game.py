"""Small cooperative games with known optima: climbing, penalty (Claus and Boutilier, 1998), the two-step game of QMIX
(Rashid et al., 2018, section 6.1), random games, and any payoff table that you write.

The first three are generalised to more agents, and equal the originals for two:

  climbing, penalty   the team earns what its worst pair earns: the minimum over i < j of payoff[a_i, a_j]. Everyone on
                      the same good action stays the optimum (11 and 10), and one deviator still costs the whole team.
  two_step            the first agent chooses between game A (7 whatever is played) and game B (8 if all play action 1,
                      0 if none does, 1 otherwise). The optimum is still 8.

A table has an entry for each joint action. Its agents may have different numbers of actions.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Array, Discrete, EnvSpec, Environment, Key, TimeStep, Vector, pytree, setting
from tandem.envs import matrix_scene, payoffs
from tandem.envs.names import check_name
from tandem.scene import Drawing

CLIMBING = ((11.0, -30.0, 0.0), (-30.0, 7.0, 6.0), (0.0, 0.0, 5.0))
SCENARIOS = ("climbing", "penalty", "two_step", "random")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    scenario: str = setting("climbing", "the game, if no payoff is given", choices=SCENARIOS)
    payoff: tuple = setting(
        (), "your own payoff table: lists nested once per agent, such as [[9, 0], [0, 5]]; it sets num_agents"
    )
    num_agents: int = setting(2, "number of agents, if no payoff is given", low=2, high=1000)
    num_actions: int = setting(3, "for scenario=random: number of actions of each agent", low=2)
    game_seed: int = setting(0, "for scenario=random: seed of the game; each number gives another game", low=0)
    relabel: bool = setting(
        False,
        "each agent numbers the moves differently, so that all playing action 0 is no longer the optimum",
    )
    penalty: float = setting(-100.0, "payoff k of the penalty game, which miscoordinated agents get", high=0.0)


@pytree
class GameState:
    """The state of a game."""

    situation: Array  # [] int32, the last one is "over"


class Game(NamedTuple):
    """The definition of a game."""

    num_actions: tuple[int, ...]  # of each agent
    num_situations: int  # the last is "over"; two_step has the choice, game A and game B before it
    episode_limit: int
    optimum: float  # the largest return of an episode
    play: Callable[[Array, Array], tuple[Array, Array]]  # situation [], moves [N] -> situation [], reward []
    drawing: Drawing


def optimum(config: Config) -> float:
    """Return the largest return that a team can get in one episode."""
    return game_of(config).optimum


def make(config: Config) -> Environment:
    """Build the game. Its global state and its observations show the situation, and each agent sees its own index.

    Raises:
      ValueError: the scenario is unknown, the payoff is no table, or there are too few agents.
    """
    game = game_of(config)
    num_agents, counts, over_at = len(game.num_actions), np.array(game.num_actions), game.num_situations - 1
    spec = EnvSpec(
        num_agents=num_agents,
        obs=Vector(1 + game.num_situations + num_agents),
        state=Vector(game.num_situations),
        actions=Discrete(max(game.num_actions)),
        episode_limit=game.episode_limit,
        shared_reward=True,
        metric_names=("optimal",),
    )
    legal = jnp.asarray(np.arange(spec.actions.size)[None] < counts[:, None])
    shift = jnp.arange(1, num_agents + 1) if config.relabel else jnp.zeros(num_agents, jnp.int32)

    def moves(action: Array) -> Array:
        """Return what the agents' actions [N] are in the game: agent i's action 0 is move i + 1, and so on around."""
        return (action + shift) % counts

    def show(situation: Array, reward: Array, first: bool) -> TimeStep:
        over = situation == over_at
        where = jax.nn.one_hot(situation, game.num_situations)
        common = jnp.concatenate([jnp.ones(1), where])
        obs = jnp.concatenate([jnp.tile(common, (num_agents, 1)), jnp.eye(num_agents)], axis=1)
        return TimeStep(
            obs=obs,
            state=where,
            legal=legal,
            present=jnp.ones(num_agents, bool),
            alive=jnp.ones(num_agents, bool),
            reward=jnp.full(num_agents, reward, jnp.float32),
            terminated=over,
            truncated=jnp.array(False),
            first=jnp.array(first),
            # Only the last step of these games has a reward, so that reward is the return.
            metrics={"optimal": jnp.where(over, jnp.isclose(reward, game.optimum), False).astype(jnp.float32)},
        )

    def reset(key: Key) -> tuple[GameState, TimeStep]:
        del key
        start = jnp.int32(0)
        return GameState(situation=start), show(start, jnp.float32(0.0), True)

    def step(key: Key, state: GameState, action: Array) -> tuple[GameState, TimeStep]:
        del key
        situation, reward = game.play(state.situation, moves(action))
        return GameState(situation=situation), show(situation, reward, False)

    drawing = _relabelled(game.drawing, moves) if config.relabel else game.drawing
    return Environment(spec=spec, reset=reset, step=step, drawing=drawing)


def _relabelled(drawing: Drawing, moves: Callable[[Array], Array]) -> Drawing:
    """Return the drawing of a game in which the agents number the moves differently."""

    def scene(state, action):
        return drawing.scene(state, None if action is None else np.asarray(moves(action)))

    return dataclasses.replace(drawing, scene=scene)


def game_of(config: Config) -> Game:
    """Return the game that the settings name.

    Raises:
      ValueError: as `make`.
    """
    if config.payoff:
        return _table_game(payoffs.checked(config.payoff))
    check_name("env_args.scenario", config.scenario, SCENARIOS)
    if config.num_agents < 2:
        raise ValueError(f"env_args.num_agents: a matrix game needs at least 2 agents, got {config.num_agents}")
    if config.scenario == "random":
        return _table_game(payoffs.drawn(config.game_seed, config.num_agents, config.num_actions))
    if config.scenario == "two_step":
        return Game((2,) * config.num_agents, 4, 2, 8.0, _two_step, matrix_scene.of_stages(config.num_agents))
    if config.penalty > 0:
        raise ValueError(f"env_args.penalty: must be 0 or less, got {config.penalty}")
    k = config.penalty
    table = CLIMBING if config.scenario == "climbing" else ((10.0, 0.0, k), (0.0, 2.0, 0.0), (k, 0.0, 10.0))
    return _pairs_game(np.array(table, np.float32), config.num_agents)


def _pairs_game(payoff: np.ndarray, num_agents: int) -> Game:
    """Return the one-shot game in which the team earns what its worst pair earns by payoff [A, A]."""
    rows, columns = np.triu_indices(num_agents, k=1)

    def play(situation: Array, action: Array) -> tuple[Array, Array]:
        del situation
        return jnp.int32(1), jnp.asarray(payoff)[action[rows], action[columns]].min()

    return Game((len(payoff),) * num_agents, 2, 1, float(payoff.max()), play, matrix_scene.of_pairs(payoff, num_agents))


def _table_game(payoff: np.ndarray) -> Game:
    """Return the one-shot game that pays the entry of a table [A_1, ..., A_N] at the joint action."""

    def play(situation: Array, action: Array) -> tuple[Array, Array]:
        del situation
        return jnp.int32(1), jnp.asarray(payoff)[tuple(action)]

    return Game(payoff.shape, 2, 1, float(payoff.max()), play, matrix_scene.of_table(payoff))


def _two_step(situation: Array, action: Array) -> tuple[Array, Array]:
    """Return (situation [], reward []): 0 choose, 1 game A, 2 game B, 3 over."""
    in_game_b = jnp.where(action.all(), 8.0, jnp.where(action.any(), 1.0, 0.0))
    reward = jnp.stack([0.0, 7.0, in_game_b, 0.0])[situation]
    following = jnp.where(situation == 0, 1 + action[0], 3)
    return following.astype(jnp.int32), reward
