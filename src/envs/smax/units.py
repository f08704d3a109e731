"""The units of SMAC's maps that JaxMARL lacks, in JaxMARL's units, and which units each can hit.

JaxMARL's conventions (its `SMAX.__init__`): health includes shields; speed in map units per second; cooldowns in
seconds of StarCraft II's "faster" clock; ranges from centre to centre, 2.0 for every melee unit; no armour and no
regeneration. Its own six types keep their numbers and their effects on one another.

Sources of the numbers below: Liquipedia, "Legacy of the Void" page of each unit (hit points, shields, damage, bonus,
cooldown,
range, speed, sight, splash radius); radii are half of the sizes in SMAClite (https://arxiv.org/abs/2305.05566), whose
statistics
come from there too, but the spine crawler's, half the side of its 2x2 footprint. Our decisions:

- medivac: heals 12.6 health/s at 1 energy for 3 health (Liquipedia, "Heal"), starts with 50 energy of 200, gains
0.7875/s
  (0.5625 on the "normal" clock). Only biological units, not itself, not a building. Flies: nobody collides with it,
  and units without a weapon against air (marauder, zealot, zergling, baneling, colossus, spine crawler) cannot hit
  it.
- baneling: range is JaxMARL's melee range; explodes where it stands when it attacks and when it is killed, and hits
every
  enemy within 2.2. 16 damage, 35 against light units. Its 80 against buildings is left out: no map has both.
- colossus: two beams of 10 (+5 against light) on all enemies that touch a strip 2.8 wide and 0.3 deep across the line
of
  fire, at the target. Shields 150 and health 200. Collides, unlike in StarCraft II.
- spine crawler: 25 (+5 against armoured), does not move and is not pushed.
- stalkers (+5) and marauders (+10) have their bonus against armoured units where the target is one of these four.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from tandem.envs.jaxmarl_bridge import smax


@dataclasses.dataclass(frozen=True)
class Unit:
    """One new unit type: speed, ranges and radius in map units, cooldown in seconds."""

    name: str
    shorthand: str
    speed: float
    attack: float
    attack_range: float
    sight: float
    radius: float
    health: float
    cooldown: float


# The medivac's cooldown is the share of its first 50 energy that is spent (see battle.py); 1.0 scales the observation
# to [0, 1]. The baneling's is 1 once it has exploded.
NEW = (
    Unit("medivac", "d", speed=3.5, attack=0.0, attack_range=4.0, sight=11.0, radius=0.75, health=150.0, cooldown=1.0),
    Unit("baneling", "b", speed=3.5, attack=16.0, attack_range=2.0, sight=8.0, radius=0.375, health=30.0, cooldown=1.0),
    Unit(
        "colossus", "c", speed=3.15, attack=20.0, attack_range=7.0, sight=10.0, radius=1.0, health=350.0, cooldown=1.07
    ),
    Unit(
        "spine_crawler",
        "S",
        speed=0.0,
        attack=25.0,
        attack_range=7.0,
        sight=11.0,
        radius=1.0,
        health=300.0,
        cooldown=1.32,
    ),
)
JAXMARL_NAMES = ("marine", "marauder", "stalker", "zealot", "zergling", "hydralisk")  # index = JaxMARL's unit type
NAMES = (*JAXMARL_NAMES, *(unit.name for unit in NEW))

LIGHT = {"marine", "zealot", "zergling", "hydralisk"}
ARMOURED = {"marauder", "stalker", "medivac", "colossus", "spine_crawler"}
HEALABLE = {"marine", "marauder", "zealot", "zergling", "hydralisk", "baneling"}  # biological and no building
AGAINST_AIR = {"marine", "stalker", "hydralisk"}
BONUS = {"baneling": (LIGHT, 19.0), "colossus": (LIGHT, 10.0), "spine_crawler": (ARMOURED, 5.0),
         "stalker": (ARMOURED, 5.0), "marauder": (ARMOURED, 10.0)}  # fmt: skip

HEAL_PER_SECOND, HEAL_PER_ENERGY = 12.6, 3.0
FIRST_ENERGY, MOST_ENERGY, ENERGY_PER_SECOND = 50.0, 200.0, 0.7875
BLAST_RADIUS = 2.2
STRIP_WIDTH, STRIP_DEPTH = 2.8, 0.3


def statistics() -> dict[str, Any]:
    """Return SMAX's constructor arguments for all ten types: JaxMARL's numbers, then those of the new units."""
    plain = smax.SMAX()
    own = {
        "velocities": "speed", "attacks": "attack", "attack_ranges": "attack_range", "sight_ranges": "sight",
        "radiuses": "radius", "health": "health", "weapon_cooldowns": "cooldown",
    }  # fmt: skip
    arguments: dict[str, Any] = {
        f"unit_type_{theirs}": jnp.concatenate(
            [getattr(plain, f"unit_type_{theirs}"), jnp.array([getattr(unit, ours) for unit in NEW])]
        )
        for theirs, ours in own.items()
    }
    arguments["unit_type_names"] = list(NAMES)
    arguments["unit_type_shorthands"] = [*plain.unit_type_shorthands, *(unit.shorthand for unit in NEW)]
    return arguments


def extra_damage(attacker: str, target: str) -> float:
    """Return the damage of one hit beyond JaxMARL's: all of a new unit's damage, or the bonus of a unit of JaxMARL.

    JaxMARL's step deals no damage for new units (`battle.py` passes 0), because their damage depends on the target.
    """
    new = {unit.name: unit.attack for unit in NEW}
    if attacker not in new and target not in new:
        return 0.0
    attributes, bonus = BONUS.get(attacker, (set(), 0.0))
    return new.get(attacker, 0.0) + (bonus if target in attributes else 0.0)


def can_hit(attacker: str, target: str) -> bool:
    """Return whether the attacker has a weapon that reaches the target's height."""
    return attacker != "medivac" and (target != "medivac" or attacker in AGAINST_AIR)


def table(function: Any, types: np.ndarray, dtype: type) -> np.ndarray:
    """Return function(name of unit i, name of unit j) for all units, [U, U].

    Args:
      types: [U] unit types.
    """
    return np.array([[function(NAMES[i], NAMES[j]) for j in types] for i in types], dtype)
