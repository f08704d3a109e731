"""JaxMARL's scripted enemies for battles with the new units: they attack units that they can hit, and medivacs heal.

A scripted medivac heals the nearest wounded unit of its side within reach. If none is within reach, it flies towards
the nearest wounded one that it sees. If it sees none, it flies towards the middle of those it sees, and stops within
two units of that.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from tandem.core import Array, Key, PyTree
from tandem.envs.jaxmarl_bridge import smax
from tandem.envs.smax.battle import NO_TARGET, Battle

STOP, CLOSE_ENOUGH = 4, 2.0
DIRECTIONS = ((0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (-1.0, 0.0))  # of the actions 0 to 3


class ScriptedEnemies(smax.HeuristicEnemySMAX):
    """JaxMARL's one-sided environment around a `Battle`."""

    def __init__(self, enemy_shoots: bool, attack_mode: str, **kwargs: Any) -> None:
        super().__init__(enemy_shoots=enemy_shoots, attack_mode=attack_mode, **kwargs)
        self._env = Battle(**kwargs)
        make_policy = smax.heuristic_enemy.create_heuristic_policy
        self.heuristic_policy = make_policy(self._env, 1, shoot=enemy_shoots, attack_mode=attack_mode)

    def get_enemy_actions(self, key: Key, policy_state: PyTree, enemy_obs: Array) -> tuple[dict[str, Array], PyTree]:
        """Return each enemy's action and the script's memory.

        Args:
          enemy_obs: [E, O] what each enemy sees, in JaxMARL's order of units (`_seen_friends`).
        """
        actions, policy_state = super().get_enemy_actions(key, policy_state, enemy_obs * self._can_be_aimed_at())
        for unit in self._env.healers:
            if unit >= self.num_allies:
                number = int(unit) - self.num_allies
                actions[self.enemy_agents[number]] = self._tend(enemy_obs[number], int(unit))
        return actions, policy_state

    def _can_be_aimed_at(self) -> np.ndarray:
        """Return a mask of observations [E, O], zero for allies that the enemy's weapon cannot hit."""
        world = self._env
        features, friends = len(world.unit_features), world.num_enemies - 1
        aim = world.may_hit[world.num_allies :, : world.num_allies][
            :, ::-1
        ]  # JaxMARL shows allies to enemies backwards
        mask = np.ones((world.num_enemies, world.obs_size), np.float32)
        mask[:, friends * features : (world.num_agents - 1) * features] = np.repeat(aim, features, axis=1)
        return mask

    def _tend(self, obs: Array, unit: int) -> Array:
        """Return the action, [] int32, of the enemy medivac that is unit number `unit` and sees `obs` [O]."""
        world = self._env
        friends = [
            i for i in range(world.num_agents - 1, world.num_allies - 1, -1) if i != unit
        ]  # as JaxMARL shows them
        if not friends:
            return jnp.int32(STOP)
        rows = obs[: len(friends) * len(world.unit_features)].reshape(len(friends), -1)
        kind = int(world.types[unit])
        health, offset = rows[:, 0], rows[:, 1:3] * world.unit_type_sight_ranges[kind]
        distance = jnp.linalg.norm(offset, axis=-1)
        wounded = (health > 0) & (health < 1) & world.healable[np.array(friends)]
        nearest = jnp.argmin(jnp.where(wounded, distance, jnp.inf))
        heals = wounded[nearest] & (distance[nearest] < world.unit_type_attack_ranges[kind])
        number = jnp.array([world.num_agents - 1 - i for i in friends])[nearest]
        middle = offset.sum(axis=0) / jnp.maximum((health > 0).sum(), 1)
        goal = jnp.where(wounded.any(), offset[nearest], middle)
        move = jnp.where(jnp.linalg.norm(goal) < CLOSE_ENOUGH, STOP, jnp.argmax(jnp.array(DIRECTIONS) @ goal))
        return jnp.where(heals, NO_TARGET + number, move).astype(jnp.int32)
