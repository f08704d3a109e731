"""The scenarios of `pettingzoo`: where each lies in the packages, and what the packages do not tell about it."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from tandem.envs.names import check_name

Says = Callable[[Mapping[str, Any]], bool]  # judges by `scenario_args`


def _yes(arguments: Mapping[str, Any]) -> bool:
    return True


def _no(arguments: Mapping[str, Any]) -> bool:
    return False


def _rewards_shared(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments.get("shared_reward", True))


def _walkers_end_together(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments.get("terminate_on_fall", True))


def _shared_unless_walkers_fall_alone(arguments: Mapping[str, Any]) -> bool:
    return _rewards_shared(arguments) and _walkers_end_together(arguments)


def _no_walker_removed(arguments: Mapping[str, Any]) -> bool:
    return not arguments.get("remove_on_fall", True)


def _keep_walkers(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what keeps `state()` working at a fall that ends the episode; it changes nothing else there."""
    return {"remove_on_fall": False} if _walkers_end_together(arguments) else {}


def _nothing(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {}


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One environment of PettingZoo's parallel API."""

    module: str
    cycles: int = 25  # frames of an episode, PettingZoo's default
    team: tuple[str, ...] = ()  # words in the names of the agents trained by default; () = all
    shared: Says = _no  # every agent of the team always gets the same reward
    has_state: Says = _yes  # `state()` works to the end of every episode
    more: Callable[[Mapping[str, Any]], dict[str, Any]] = _nothing  # arguments that are added to `scenario_args`
    # Frames by which PettingZoo's own limit lies beyond ours: multiwalker calls the end at its limit a termination.
    spare_cycles: int = 1
    roms: bool = False  # needs the ROMs that ale-py brings
    size: str = ""  # the argument that says how many agents the team has; "" = none does

    @property
    def version(self) -> str:
        """Return the name with its version: "pursuit_v5"."""
        return self.module.rpartition(".")[2]

    @property
    def name(self) -> str:
        """Return the name without its version."""
        return re.sub(r"_v\d+$", "", self.version)


_ALL = (
    Scenario("mpe2.simple_v3"),
    Scenario("mpe2.simple_spread_v3", size="N"),
    Scenario("mpe2.simple_speaker_listener_v4", shared=_yes),
    Scenario("mpe2.simple_reference_v3"),
    Scenario("mpe2.simple_tag_v3", team=("adversary",), shared=_yes),
    Scenario("mpe2.simple_world_comm_v3", team=("adversary",)),
    Scenario("mpe2.simple_push_v3", team=("agent",)),
    Scenario("mpe2.simple_adversary_v3", team=("agent",), shared=_yes),
    Scenario("mpe2.simple_crypto_v3", team=("alice", "bob"), shared=_yes),
    Scenario("mpe2.collect_treasure_v1"),
    Scenario("mpe2.simple_formation_v1", shared=_yes),
    Scenario("mpe2.simple_line_v1", shared=_yes),
    Scenario("pettingzoo.sisl.pursuit_v5", cycles=500, shared=_rewards_shared, size="n_pursuers"),
    Scenario(
        "pettingzoo.sisl.multiwalker_v9",
        cycles=500,
        shared=_shared_unless_walkers_fall_alone,
        has_state=_no_walker_removed,
        more=_keep_walkers,
        size="n_walkers",
    ),
    Scenario("pettingzoo.butterfly.pistonball_v6", cycles=125, shared=_yes, size="n_pistons"),
    Scenario("pettingzoo.butterfly.knights_archers_zombies_v11", cycles=900),
    # Its reward per frame is max_reward over its limit, so the limit must be the true one.
    Scenario("pettingzoo.butterfly.cooperative_pong_v6", cycles=900, shared=_yes, spare_cycles=0),
    Scenario("pettingzoo.atari.space_invaders_v2", cycles=100_000, has_state=_no, roms=True),
)
SCENARIOS = {scenario.name: scenario for scenario in _ALL}


def find(given: str) -> Scenario:
    """Return the scenario called so, with or without its version.

    Raises:
      ValueError: there is none, or it has another version here.
    """
    name = re.sub(r"_v\d+$", "", given)
    if name == "waterworld":
        raise ValueError(
            f"env_args.scenario: '{given}' is not in pettingzoo 1.27.0, which removed it (1.25.0 has it, with "
            "pymunk below 7); "
            "of SISL there are pursuit and multiwalker"
        )
    check_name("env_args.scenario", name, SCENARIOS)
    if given not in (name, SCENARIOS[name].version):
        raise ValueError(
            f"env_args.scenario: '{given}' is not in the pinned packages; they have {SCENARIOS[name].version}"
        )
    return SCENARIOS[name]


def sized(scenario: Scenario, num_agents: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with those of a team of `num_agents`; 0 = the scenario's own size.

    Raises:
      ValueError: the scenario has one size only, or the arguments say another.
    """
    if not num_agents:
        return dict(arguments)
    if not scenario.size:
        takers = ", ".join(name for name, each in SCENARIOS.items() if each.size)
        raise ValueError(
            f"env_args.num_agents={num_agents}: {scenario.name} has a fixed number of agents; only {takers} take it"
        )
    if scenario.size in arguments:
        raise ValueError(
            f"env_args.num_agents={num_agents} and env_args.scenario_args.{scenario.size}={arguments[scenario.size]} "
            "both set the size of the team; give one of them"
        )
    return {**arguments, scenario.size: num_agents}
