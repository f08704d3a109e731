"""MABrax (Rutherford et al. 2023, JaxMARL): robots simulated by brax, whose joints are shared out among several agents.

An action is an agent's torques, each in [-1, 1] and clipped to that; an agent with fewer joints than the others has
padding.
Every agent gets the robot's reward. A fall terminates (the cheetah cannot fall) and the time limit truncates: brax's
and
JaxMARL's own automatic resets, which hide both and the last observation, are left out. The global state is brax's whole
observation. What differs from JaxMARL, because there it is a mistake (each agent is to see the joints that it drives):

  halfcheetah  JaxMARL's indices count the forward position, which brax's observation leaves out: here they are one less
  ant          JaxMARL's agent k drives the leg before the one that it sees: here the torques are dealt out by what is
  seen
  humanoid     JaxMARL's indices are those of MuJoCo's observation of 376 numbers, of which brax has 244 in another
  order
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from tandem.core import Array, EnvSpec, Environment, Key, Numbers, PyTree, TimeStep, Vector, pytree, setting
from tandem.envs.groups import alike, common
from tandem.envs import mabrax_scene
from tandem.envs.jaxmarl_bridge import quiet_import, strong_types, without_the_rest
from tandem.envs.time_limit import ending

BRAX = "brax==0.14.2"
SCENARIOS = ("halfcheetah_6x1", "ant_4x2", "hopper_3x1", "walker2d_2x3", "humanoid_9|8")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    scenario: str = setting(
        "halfcheetah_6x1", "the robot, and how its joints are divided: agents x joints of each", choices=SCENARIOS
    )
    backend: str = setting(
        "positional", "brax's simulation; JaxMARL uses positional", choices=("positional", "spring", "generalized")
    )
    episode_limit: int = setting(1000, "steps per episode", low=1)


@pytree
class RobotState:
    """An episode in progress."""

    world: PyTree  # brax's state
    num_steps: Array  # [] int32


def make(config: Config) -> Environment:
    """Build a robot.

    Raises:
      ImportError: brax is not installed.
    """
    world = _make_world(config.scenario, config.backend)
    spec = _spec(config, world)
    drives = [np.asarray(world.agent_action_mapping[agent]) for agent in world.agents]
    has = jnp.arange(spec.actions.size)[None] < jnp.array([len(joints) for joints in drives])[:, None]

    def reset(key: Key) -> tuple[RobotState, TimeStep]:
        _, robot = strong_types(world.reset(key))
        state = RobotState(world=robot, num_steps=jnp.int32(0))
        return state, _show(world, spec, has, state)

    def step(key: Key, state: RobotState, action: Array) -> tuple[RobotState, TimeStep]:
        torque = jnp.clip(action, -1.0, 1.0)
        torques = {agent: torque[i, : len(joints)] for i, (agent, joints) in enumerate(zip(world.agents, drives))}
        _, robot, *_ = strong_types(world.step_env(key, state.world, torques))
        state = RobotState(world=robot, num_steps=state.num_steps + 1)
        return state, _show(world, spec, has, state)

    return Environment(spec=spec, reset=reset, step=step, drawing=mabrax_scene.make(world.sys, drives))


def _spec(config: Config, world: Any) -> EnvSpec:
    obs = [Vector(len(world.agent_obs_mapping[agent])) for agent in world.agents]
    actions = [Numbers(len(world.agent_action_mapping[agent])) for agent in world.agents]
    return EnvSpec(
        num_agents=len(world.agents),
        obs=common(obs),
        state=Vector(world.env.observation_size),
        actions=Numbers(max(each.size for each in actions)),
        groups=alike(world.agents, obs, actions),
        episode_limit=config.episode_limit,
        shared_reward=True,
        metric_names=("distance",),
    )


def _show(world: Any, spec: EnvSpec, has: Array, state: RobotState) -> TimeStep:
    """Return what the agents see; `has` [N, A] says which torques each of them has."""
    obs = world.get_obs(state.world)
    terminated, truncated = ending(state.world.done > 0, state.num_steps, spec.episode_limit)
    return TimeStep(
        obs=jnp.stack([jnp.pad(obs[agent], (0, spec.obs.size - len(obs[agent]))) for agent in world.agents]),
        state=state.world.obs,
        legal=has,
        present=jnp.ones(spec.num_agents, bool),
        alive=jnp.ones(spec.num_agents, bool),
        reward=jnp.full(spec.num_agents, state.world.reward),
        terminated=terminated,
        truncated=truncated,
        first=state.num_steps == 0,
        metrics={"distance": state.world.metrics["x_position"]},  # metres forward
    )


@lru_cache(maxsize=None)  # reading a robot's description takes seconds
def _make_world(scenario: str, backend: str) -> Any:
    """Return JaxMARL's environment, without time limit and resets, with the indices mended."""
    try:
        with quiet_import(), without_the_rest():
            from jaxmarl.environments import mabrax
            from jaxmarl.environments.mabrax import mappings
    except ImportError as error:
        raise ImportError(
            f"it simulates with brax, an optional package ({error}); install it: .venv/bin/python -m pip install {BRAX}"
        ) from error
    sees = mappings._agent_observation_mapping[scenario]
    drives = mappings._agent_action_mapping[scenario]
    if scenario.startswith("halfcheetah"):
        sees = {agent: seen - 1 for agent, seen in sees.items()}
    elif scenario.startswith("ant"):
        agents = list(drives)
        drives = {agent: drives[following] for agent, following in zip(agents, agents[1:] + agents[:1])}
    elif scenario.startswith("humanoid"):
        sees = {agent: _brax_humanoid(np.asarray(seen)) for agent, seen in sees.items()}
    with _without_advice():
        return mabrax.MABraxEnv(
            scenario, episode_length=None, auto_reset=False, backend=backend, agent_obs_mapping=sees,
            agent_action_mapping=drives,
        )  # fmt: skip


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Drop what brax and JaxMARL say of newer simulations, and what MuJoCo, of the robots' files, would print and log.

    MuJoCo's own answer to its warnings is a file MUJOCO_LOG.TXT in the working directory.
    """
    import mujoco

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda text: None)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Brax System|MABrax is deprecated")
            yield
    finally:
        mujoco.set_mju_user_warning(before)


# MuJoCo's humanoid: 45 positions and speeds, then of each of 14 bodies 10 numbers of inertia, then 6 of speed, then
# 23 forces of the joints, then forces from outside. brax has 11 of the bodies: no world, and the feet are one with
# the shins.
BODIES = (1, 2, 3, 4, 5, 7, 8, 10, 11, 12, 13)
NUM_BODIES, INERTIA, SPEED, FORCES = 14, 10, 6, 23
OWN = 45


def _brax_humanoid(seen: np.ndarray) -> np.ndarray:
    """Return the indices in brax's observation of what stands at `seen` in MuJoCo's; what brax does not have is left
    out.
    """
    bodies = np.array(BODIES)
    speeds = OWN + INERTIA * NUM_BODIES
    forces = speeds + SPEED * NUM_BODIES
    both = np.concatenate([  # at i: where in MuJoCo's observation the i-th of brax's numbers stands
        np.arange(OWN),
        (OWN + INERTIA * bodies[:, None] + np.arange(INERTIA)).ravel(),
        (speeds + SPEED * bodies[:, None] + np.arange(SPEED)).ravel(),
        forces + np.arange(FORCES),
    ])  # fmt: skip
    return np.flatnonzero(np.isin(both, seen))
