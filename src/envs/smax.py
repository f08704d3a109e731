"""JaxMARL's SMAX battles (Rutherford et al., 2023, https://arxiv.org/abs/2311.10090): the allies against scripted enemies.

A battle that is won or lost terminates; one that the time limit ends is truncated (JaxMARL tells no difference). A dead ally
may only stop, and sees zeros. The reward is the team's and every ally gets it: the enemies' loss of health as a share of
their whole health, plus `won_battle_bonus` for a victory.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp

from src.core import Array, Environment, EnvSpec, Key, PyTree, TimeStep, pytree, setting
from src.envs import smax_scene
from src.envs.names import check_name
from src.envs.jaxmarl_bridge import smax, strong_types
from src.envs.time_limit import ending

DEFAULT_EPISODE_LIMIT = 100  # JaxMARL's, for every map


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    map_name: str = setting("3m", "SMAX map: 3m, 2s3z, 5m_vs_6m, smacv2_5_units, ...")
    enemy_shoots: bool = setting(True, "whether the enemies shoot back")
    attack_mode: str = setting("closest", "whom an enemy attacks", choices=("closest", "random"))
    see_enemy_actions: bool = setting(True, "whether the enemies' last actions are observed")
    observation_type: str = setting("unit_list", "features per unit, or per segment of view", choices=("unit_list", "conic"))
    walls_cause_death: bool = setting(True, "whether the edge of the map kills")
    won_battle_bonus: float = setting(1.0, "reward of a victory", low=0.0)
    world_steps_per_env_step: int = setting(8, "steps of the simulation per action", low=1)
    episode_limit: int = setting(0, f"steps per episode; 0: the maps' default, {DEFAULT_EPISODE_LIMIT}", low=0)


@pytree
class SmaxState:
    """An episode in progress."""

    world: PyTree  # JaxMARL's state
    num_steps: Array  # [] int32


def make(config: Config) -> Environment:
    """Build a battle.

    Raises:
      ValueError: for a map, attack mode or observation type that does not exist.
    """
    world = _make_world(config)
    num_actions = 5 + world.num_enemies  # four directions, stop, and a shot at each enemy
    spec = EnvSpec(
        num_agents=world.num_allies,
        obs_size=world.obs_size,
        state_size=world.state_size,
        num_actions=num_actions,
        episode_limit=config.episode_limit or DEFAULT_EPISODE_LIMIT,
        shared_reward=True,
        metric_names=("allies_alive", "enemies_alive", "won"),
    )

    def show(obs: dict, state: SmaxState, reward: Array) -> TimeStep:
        alive = state.world.state.unit_alive
        allies, enemies = alive[: spec.num_agents], alive[spec.num_agents :]
        over = jnp.logical_not(allies.any() & enemies.any())
        terminated, truncated = ending(over, state.num_steps, spec.episode_limit)
        available = world.get_avail_actions(state.world)
        return TimeStep(
            obs=jnp.stack([obs[agent] for agent in world.agents]),
            state=obs["world_state"].astype(jnp.float32),
            legal=jnp.stack([available[agent] for agent in world.agents]).astype(bool),
            alive=allies,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            first=state.num_steps == 0,
            metrics={
                "allies_alive": allies.sum().astype(jnp.float32),
                "enemies_alive": enemies.sum().astype(jnp.float32),
                "won": (allies.any() & jnp.logical_not(enemies.any())).astype(jnp.float32),
            },
        )

    def reset(key: Key) -> tuple[SmaxState, TimeStep]:
        obs, inner = strong_types(world.reset(key))
        state = SmaxState(world=inner, num_steps=jnp.int32(0))
        return state, show(obs, state, jnp.zeros(spec.num_agents))

    def step(key: Key, state: SmaxState, action: Array) -> tuple[SmaxState, TimeStep]:
        actions = {agent: action[i] for i, agent in enumerate(world.agents)}
        obs, inner, rewards, _, _ = strong_types(world.step_env(key, state.world, actions))
        state = SmaxState(world=inner, num_steps=state.num_steps + 1)
        return state, show(obs, state, jnp.stack([rewards[agent] for agent in world.agents]).astype(jnp.float32))

    return Environment(spec=spec, reset=reset, step=step, drawing=smax_scene.make(world))


def _make_world(config: Config) -> Any:
    """Return JaxMARL's environment, with its own time limit out of the way."""
    check_name("env_args.map_name", config.map_name, smax.smax_env.MAP_NAME_TO_SCENARIO)
    check_name("env_args.attack_mode", config.attack_mode, ("closest", "random"))
    check_name("env_args.observation_type", config.observation_type, ("unit_list", "conic"))
    settings = dataclasses.asdict(config)
    scenario = smax.smax_env.map_name_to_scenario(settings.pop("map_name"))
    del settings["episode_limit"]
    return smax.HeuristicEnemySMAX(scenario=scenario, max_steps=2**30, **settings)
