"""JaxMARL's SMAX battles (Rutherford et al., 2023, https://arxiv.org/abs/2311.10090): allies against scripted
enemies.

The maps are those of SMAC and JaxMARL's random ones (`maps`). Maps with medivacs, banelings, colossi or a spine crawler
add these to JaxMARL's simulation (`units`, `battle`, `enemies`). The others use JaxMARL's simulation unchanged.

A battle that is won or lost terminates; one that the time limit ends is truncated (JaxMARL tells no difference). An
army of
which only medivacs are left is beaten. A dead ally may only stop, and sees zeros. The reward is the team's and every
ally gets
it: the enemies' loss of health as a share of their whole health, plus `won_battle_bonus` for a victory.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from tandem.core import Array, Discrete, EnvSpec, Environment, Key, PyTree, TimeStep, pytree, setting
from tandem.envs import smax_scene
from tandem.envs.groups import alike, common
from tandem.envs.names import check_name
from tandem.envs.jaxmarl_bridge import smax, strong_types
from tandem.envs.smax import entities, maps, seen, units
from tandem.envs.smax.enemies import ScriptedEnemies
from tandem.envs.time_limit import ending


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    map_name: str = setting("3m", "one of SMAC's maps (3m, 2s3z, MMM2, corridor, ...) or smacv2_{5,10,20}_units")
    enemy_shoots: bool = setting(True, "whether the enemies shoot back")
    attack_mode: str = setting("closest", "which ally an enemy attacks", choices=("closest", "random"))
    see_enemy_actions: bool = setting(True, "whether the enemies' last actions are observed")
    observation_type: str = setting(
        "unit_list",
        "unit_list: features of each unit; conic: features of each segment of the view",
        choices=("unit_list", "conic"),
    )
    walls_cause_death: bool = setting(True, "whether units die at the edge of the map")
    won_battle_bonus: float = setting(1.0, "reward of a victory", low=0.0)
    world_steps_per_env_step: int = setting(8, "steps of the simulation per action", low=1)
    episode_limit: int = setting(
        0, "steps of 0.5 s after which an episode is truncated; 0 = the map's own, as in SMAC", low=0
    )


@pytree
class SmaxState:
    """An episode in progress."""

    world: PyTree  # JaxMARL's state
    num_steps: Array  # [] int32


def make(config: Config) -> Environment:
    """Build a battle.

    Raises:
      ValueError: the map, attack mode or observation type does not exist.
    """
    world = _make_world(config)
    actions = Discrete(5 + world.num_enemies)  # moves, stop, attacks (a medivac's heal its side)
    spaces = [entities.of_ally(world, number) for number in range(world.num_allies)]
    fights = _fights(config.map_name, world)
    spec = EnvSpec(
        num_agents=world.num_allies,
        obs=common(spaces),
        state=entities.of_state(world),
        actions=actions,
        groups=alike(world.agents, spaces, [actions] * len(spaces)),
        episode_limit=config.episode_limit or maps.episode_limit(config.map_name),
        shared_reward=True,
        metric_names=("enemies_killed", "units_lost", "won"),
    )

    def show(obs: dict, state: SmaxState, reward: Array) -> TimeStep:
        alive = state.world.state.unit_alive
        allies = alive[: spec.num_agents]
        allies_fight, enemies_fight = (side.any() for side in jnp.split(alive & fights, [spec.num_agents]))
        over = jnp.logical_not(allies_fight & enemies_fight)
        terminated, truncated = ending(over, state.num_steps, spec.episode_limit)
        available = world.get_avail_actions(state.world)
        return TimeStep(
            obs=jnp.stack([obs[agent] for agent in world.agents]),
            state=obs["world_state"].astype(jnp.float32),
            legal=jnp.stack([available[agent] for agent in world.agents]).astype(bool),
            present=jnp.ones(spec.num_agents, bool),
            alive=allies,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            first=state.num_steps == 0,
            metrics={
                "enemies_killed": jnp.logical_not(alive[spec.num_agents :]).sum().astype(jnp.float32),
                "units_lost": jnp.logical_not(allies).sum().astype(jnp.float32),
                "won": (allies_fight & jnp.logical_not(enemies_fight)).astype(jnp.float32),
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

    return Environment(spec=spec, reset=reset, step=step, drawing=smax_scene.make(world, seen.make(world)))


def _make_world(config: Config) -> Any:
    """Return JaxMARL's environment without its time limit."""
    check_name("env_args.map_name", config.map_name, maps.NAMES_OF_MAPS)
    check_name("env_args.attack_mode", config.attack_mode, ("closest", "random"))
    check_name("env_args.observation_type", config.observation_type, ("unit_list", "conic"))
    settings = dataclasses.asdict(config)
    del settings["map_name"], settings["episode_limit"]
    settings |= {"max_steps": 2**30}
    if config.map_name in maps.RANDOM_MAPS:
        return smax.HeuristicEnemySMAX(scenario=smax.map_name_to_scenario(config.map_name), **settings)
    chosen = maps.MAPS[config.map_name]
    settings |= {"scenario": maps.scenario(chosen.allies, chosen.enemies)}
    if chosen.new_units:
        return ScriptedEnemies(**settings, **units.statistics())
    return smax.HeuristicEnemySMAX(**settings)


def _fights(map_name: str, world: Any) -> np.ndarray:
    """Return which units can win a battle, [U] bool: all but medivacs."""
    if map_name in maps.RANDOM_MAPS:
        return np.ones(world.num_allies + world.num_enemies, bool)
    return np.array(units.NAMES)[np.asarray(world.scenario)] != "medivac"
