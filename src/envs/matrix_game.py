"""Small cooperative games with known optima: climbing, penalty (Claus and Boutilier, 1998) and the two-step game of QMIX
(Rashid et al., 2018, section 6.1), each for two or more agents.

The generalisations, which equal the originals for two agents:

  climbing, penalty   the team earns what its worst pair earns: the minimum over i < j of payoff[a_i, a_j]. Everyone on
                      the same good action stays the optimum (11 and 10), and one deviator still costs the whole team.
  two_step            the first agent chooses between game A (7 whatever is played) and game B (8 if all play action 1,
                      0 if none does, 1 otherwise). The optimum stays 8.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from src.core import Array, Discrete, EnvSpec, Environment, Key, TimeStep, Vector, pytree, setting
from src.envs import matrix_scene
from src.envs.names import check_name

CLIMBING = ((11.0, -30.0, 0.0), (-30.0, 7.0, 6.0), (0.0, 0.0, 5.0))
NUM_ACTIONS = {"climbing": 3, "penalty": 3, "two_step": 2}
# The last of a game's situations is "over"; two_step has the choice, game A and game B before it.
NUM_SITUATIONS = {"climbing": 2, "penalty": 2, "two_step": 4}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    scenario: str = setting("climbing", "the game", choices=tuple(NUM_ACTIONS))
    num_agents: int = setting(2, "number of agents", low=2, high=1000)
    relabel: bool = setting(
        False, "each agent numbers the moves differently, so that a common habit (all play 0, as untrained argmax does) is no luck"
    )
    penalty: float = setting(-100.0, "payoff k of the penalty game's miscoordinated corners", high=0.0)


@pytree
class GameState:
    """Where the team stands."""

    situation: Array  # [] int32, the last one is "over"


def optimum(config: Config) -> float:
    """Return the largest return a team can reach in one episode."""
    check_name("env_args.scenario", config.scenario, NUM_ACTIONS)
    return {"climbing": 11.0, "penalty": 10.0, "two_step": 8.0}[config.scenario]


def make(config: Config) -> Environment:
    """Build the game; its global state and its observations tell the situation, and each agent who it is."""
    best = optimum(config)
    if config.num_agents < 2:
        raise ValueError(f"env_args.num_agents: a matrix game needs at least 2 agents, got {config.num_agents}")
    if config.penalty > 0:
        raise ValueError(f"env_args.penalty: must be 0 or less, got {config.penalty}")
    num_agents, num_situations = config.num_agents, NUM_SITUATIONS[config.scenario]
    spec = EnvSpec(
        num_agents=num_agents,
        obs=Vector(1 + num_situations + num_agents),
        state=Vector(num_situations),
        actions=Discrete(NUM_ACTIONS[config.scenario]),
        episode_limit=2 if config.scenario == "two_step" else 1,
        shared_reward=True,
        metric_names=("optimal",),
    )
    payoff = None if config.scenario == "two_step" else _payoff(config)
    play = _two_step if payoff is None else _one_shot(payoff, num_situations - 1)
    shift = jnp.arange(1, num_agents + 1) if config.relabel else jnp.zeros(num_agents, jnp.int32)

    def moves(action: Array) -> Array:
        """Return what the agents' actions [N] are in the game: agent i's action 0 is move i + 1, and so on around."""
        return (action + shift) % spec.actions.size

    def show(situation: Array, reward: Array, first: bool) -> TimeStep:
        over = situation == num_situations - 1
        where = jax.nn.one_hot(situation, num_situations)
        common = jnp.concatenate([jnp.ones(1), where])
        obs = jnp.concatenate([jnp.tile(common, (num_agents, 1)), jnp.eye(num_agents)], axis=1)
        return TimeStep(
            obs=obs,
            state=where,
            legal=jnp.ones((num_agents, spec.actions.size), bool),
            present=jnp.ones(num_agents, bool),
            alive=jnp.ones(num_agents, bool),
            reward=jnp.full(num_agents, reward, jnp.float32),
            terminated=over,
            truncated=jnp.array(False),
            first=jnp.array(first),
            # Only the last step of these games is paid, so its reward is the return.
            metrics={"optimal": jnp.where(over, jnp.isclose(reward, best), False).astype(jnp.float32)},
        )

    def reset(key: Key) -> tuple[GameState, TimeStep]:
        del key
        start = jnp.int32(0)
        return GameState(situation=start), show(start, jnp.float32(0.0), True)

    def step(key: Key, state: GameState, action: Array) -> tuple[GameState, TimeStep]:
        del key
        situation, reward = play(state.situation, moves(action))
        return GameState(situation=situation), show(situation, reward, False)

    drawing = matrix_scene.make(num_agents, spec.actions.size, payoff)
    if config.relabel:
        scene = drawing.scene
        drawing = dataclasses.replace(drawing, scene=lambda state, action: scene(state, None if action is None else np.asarray(moves(action))))
    return Environment(spec=spec, reset=reset, step=step, drawing=drawing)


def _payoff(config: Config) -> np.ndarray:
    """Return the two-agent payoffs [A, A] of a one-shot game."""
    k = config.penalty
    table = CLIMBING if config.scenario == "climbing" else ((10.0, 0.0, k), (0.0, 2.0, 0.0), (k, 0.0, 10.0))
    return np.array(table, np.float32)


def _one_shot(payoff: np.ndarray, over: int):
    """Return play(situation [], action [N]) -> (situation [], reward []) for a game of a single step."""
    payoff = jnp.asarray(payoff)

    def play(situation: Array, action: Array) -> tuple[Array, Array]:
        del situation
        rows, columns = np.triu_indices(action.shape[0], k=1)
        return jnp.int32(over), payoff[action[rows], action[columns]].min()

    return play


def _two_step(situation: Array, action: Array) -> tuple[Array, Array]:
    """Return (situation [], reward []): 0 choose, 1 game A, 2 game B, 3 over."""
    in_game_b = jnp.where(action.all(), 8.0, jnp.where(action.any(), 1.0, 0.0))
    reward = jnp.stack([0.0, 7.0, in_game_b, 0.0])[situation]
    following = jnp.where(situation == 0, 1 + action[0], 3)
    return following.astype(jnp.int32), reward
