"""StarCraft II itself, through SMAC (Samvelyan et al., 2019, https://arxiv.org/abs/1902.04043) or SMACv2 (Ellis et
al., 2022, https://arxiv.org/abs/2212.07489). Both packages and the game are the user's to install;
docs/host_environments.md says how.

Episodes are SMAC's: a battle that is won or lost has terminated, one that outlasts the map's limit is truncated. Dead
units see zeros and may only play action 0, SMAC's no-op. The global state is SMAC's. All agents get the team's
reward.
"""

import copy
import dataclasses
import functools
from typing import Any

from tandem.core import Discrete, EnvSpec, RunPlan, Vector, setting
from tandem.envs.sc2.environment import StarCraftEnvironment
from tandem.envs.sc2.installed import game_class

# SMACv2's three generated maps, with the teams of its paper: unit types, the probability of each, and the types that
# may not fight alone.
GENERATED = {
    "10gen_terran": (("marine", "marauder", "medivac"), (0.45, 0.45, 0.1), ("medivac",)),
    "10gen_zerg": (("zergling", "baneling", "hydralisk"), (0.45, 0.1, 0.45), ("baneling",)),
    "10gen_protoss": (("stalker", "zealot", "colossus"), (0.45, 0.45, 0.1), ()),
}
OURS = ("map_name", "difficulty", "seed", "continuing_episode")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    package: str = setting(
        "smac",
        "the package that runs the game: smac, or smacv2 with teams that are drawn for each battle",
        choices=("smac", "smacv2"),
    )
    map_name: str = setting(
        "3m", "a map of the package: 3m, 2s3z, MMM2, ...; 10gen_terran, 10gen_zerg, 10gen_protoss of smacv2"
    )
    difficulty: str = setting(
        "7", "strength of the built-in opponent; SMAC's results are at 7", choices=tuple("123456789A")
    )
    num_units: int = setting(5, "size of the team on smacv2's generated maps", low=1)
    num_enemies: int = setting(5, "size of the enemy team on smacv2's generated maps", low=1)
    max_envs: int = setting(8, "most games that a run may have open; each is a process of about 1 GB", low=1)
    sc2_args: dict = setting({}, "other arguments of the package's StarCraft2Env: env_args.sc2_args.reward_sparse=True")


def problems(config: Config, plan: RunPlan) -> list[str]:
    """Return a sentence if a run would open more games than `max_envs`."""
    if plan.num_envs <= config.max_envs:
        return []
    most = config.max_envs
    return [
        f"runner_args.num_envs={plan.num_envs}: each environment is a program with its own memory; set "
        f"runner_args.num_envs={most} or "
        f"less, or raise env_args.max_envs={most} if there is enough memory"
    ]


def make(config: Config) -> StarCraftEnvironment:
    """Build a map; the first reset starts the game.

    Raises:
      ImportError: the package, the game or its maps are missing; the message says what to do.
      ValueError: the package does not know a map or an argument.
    """
    game = game_class(config.package, generated=config.map_name in GENERATED)
    taken = [name for name in OURS if name in config.sc2_args]
    if taken:
        raise ValueError(f"env_args.sc2_args.{taken[0]}: is set by the other env_args or by the run's seed")
    start = functools.partial(_start, game, config)
    try:
        facts = start(None).get_env_info()
    except KeyError as error:
        raise ValueError(
            f"env_args.map_name: {config.package} has no map {error}; `python -m {config.package}.bin.map_list` "
            "prints its maps"
        ) from error
    except TypeError as error:
        raise ValueError(f"env_args.sc2_args: {config.package} does not take them: {error}") from error
    spec = EnvSpec(
        num_agents=int(facts["n_agents"]),
        obs=Vector(int(facts["obs_shape"])),
        state=Vector(int(facts["state_shape"])),
        actions=Discrete(int(facts["n_actions"])),
        episode_limit=int(facts["episode_limit"]),
        shared_reward=True,
        metric_names=("battle_won", "units_lost"),
    )
    return StarCraftEnvironment(start, spec)


def _start(game: type, config: Config, seed: int | None) -> Any:
    """Return the package's environment; the game itself is not running yet."""
    arguments = copy.deepcopy(dict(config.sc2_args))
    if config.map_name in GENERATED:
        as_in_paper = {"conic_fov": False, "obs_own_pos": True, "use_unit_ranges": True}  # else equal ranges
        arguments = {"capability_config": _capabilities(config)} | as_in_paper | arguments
    # `continuing_episode` makes it report which episodes the time limit ended.
    return game(map_name=config.map_name, difficulty=config.difficulty, seed=seed, continuing_episode=True, **arguments)


def _capabilities(config: Config) -> dict[str, Any]:
    """Return how SMACv2 draws teams and start positions, as in its paper."""
    units, weights, not_alone = GENERATED[config.map_name]
    team = {"dist_type": "weighted_teams", "unit_types": list(units), "weights": list(weights), "observe": True}
    return {
        "n_units": config.num_units,
        "n_enemies": config.num_enemies,
        "team_gen": team | {"exception_unit_types": list(not_alone)},
        "start_positions": {"dist_type": "surrounded_and_reflect", "p": 0.5, "map_x": 32, "map_y": 32},
    }
