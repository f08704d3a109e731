"""The maps: SMAC's (Samvelyan et al., 2019, https://arxiv.org/abs/1902.04043) and JaxMARL's random ones of SMACv2.

Numbers of units and episode limits come from SMAC's map registry and the table in its documentation. 2m_vs_1m is not
from SMAC: it is an easier map of the same kind, with 3m's limit. SMACv2's random maps last 200 steps, as its 10gen_*
maps do; JaxMARL draws their units from all of its six types. 4m, 5m, 6m, 10m and 12m are those that teams of other
sizes are tested on in ODIS (Zhang et al., ICLR 2023), with its limits. There is no terrain: corridor has no choke
point, 2c_vs_64zg no cliffs.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp

from tandem.envs.jaxmarl_bridge import smax
from tandem.envs.smax.units import JAXMARL_NAMES, NAMES

Army = dict[str, int]  # {unit: number}, in the order of the agents


@dataclasses.dataclass(frozen=True)
class Map:
    """One battle."""

    allies: Army
    enemies: Army
    limit: int  # environment steps
    jaxmarl: bool = False  # JaxMARL has it too

    @property
    def new_units(self) -> bool:
        """Whether the map needs units that JaxMARL lacks."""
        return not {*self.allies, *self.enemies} <= set(JAXMARL_NAMES)


def _mirror(army: Army, limit: int, **kwargs: bool) -> Map:
    return Map(army, army, limit, **kwargs)


_MMM = {"medivac": 1, "marauder": 2, "marine": 7}
MAPS = {
    "2m_vs_1m": Map({"marine": 2}, {"marine": 1}, 60),
    "3m": _mirror({"marine": 3}, 60, jaxmarl=True),
    "4m": _mirror({"marine": 4}, 75),
    "5m": _mirror({"marine": 5}, 90),
    "6m": _mirror({"marine": 6}, 100),
    "8m": _mirror({"marine": 8}, 120, jaxmarl=True),
    "10m": _mirror({"marine": 10}, 120),
    "12m": _mirror({"marine": 12}, 150),
    "25m": _mirror({"marine": 25}, 150, jaxmarl=True),
    "5m_vs_6m": Map({"marine": 5}, {"marine": 6}, 70, jaxmarl=True),
    "8m_vs_9m": Map({"marine": 8}, {"marine": 9}, 120),
    "10m_vs_11m": Map({"marine": 10}, {"marine": 11}, 150, jaxmarl=True),
    "27m_vs_30m": Map({"marine": 27}, {"marine": 30}, 180, jaxmarl=True),
    "MMM": _mirror(_MMM, 150),
    "MMM2": Map(_MMM, {"medivac": 1, "marauder": 3, "marine": 8}, 180),
    "2s3z": _mirror({"stalker": 2, "zealot": 3}, 120, jaxmarl=True),
    "3s5z": _mirror({"stalker": 3, "zealot": 5}, 150, jaxmarl=True),
    "3s5z_vs_3s6z": Map({"stalker": 3, "zealot": 5}, {"stalker": 3, "zealot": 6}, 170, jaxmarl=True),
    "3s_vs_3z": Map({"stalker": 3}, {"zealot": 3}, 150),
    "3s_vs_4z": Map({"stalker": 3}, {"zealot": 4}, 200),
    "3s_vs_5z": Map({"stalker": 3}, {"zealot": 5}, 250, jaxmarl=True),
    "1c3s5z": _mirror({"colossus": 1, "stalker": 3, "zealot": 5}, 180),
    "2m_vs_1z": Map({"marine": 2}, {"zealot": 1}, 150),
    "corridor": Map({"zealot": 6}, {"zergling": 24}, 400),
    "6h_vs_8z": Map({"hydralisk": 6}, {"zealot": 8}, 150, jaxmarl=True),
    "2s_vs_1sc": Map({"stalker": 2}, {"spine_crawler": 1}, 300),
    "so_many_baneling": Map({"zealot": 7}, {"baneling": 32}, 100),
    "bane_vs_bane": _mirror({"zergling": 20, "baneling": 4}, 200),
    "2c_vs_64zg": Map({"colossus": 2}, {"zergling": 64}, 400),
}
RANDOM_MAPS = ("smacv2_5_units", "smacv2_10_units", "smacv2_20_units")
RANDOM_LIMIT = 200
NAMES_OF_MAPS = (*MAPS, *RANDOM_MAPS)


def scenario(allies: Army, enemies: Army) -> Any:
    """Return the battle in JaxMARL's form: all units' types [U], allies first, and the size of each side."""
    types = [NAMES.index(name) for army in (allies, enemies) for name, count in army.items() for _ in range(count)]
    return smax.Scenario(jnp.array(types, jnp.uint8), sum(allies.values()), sum(enemies.values()), False, False)


def episode_limit(name: str) -> int:
    """Return the environment steps of an episode on the map of this name."""
    return MAPS[name].limit if name in MAPS else RANDOM_LIMIT
