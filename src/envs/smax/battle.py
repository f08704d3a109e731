"""JaxMARL's SMAX with more units: a subclass that adds their effects to JaxMARL's simulation step.

JaxMARL moves all units, counts cooldowns, decides who fires and deals its own six types' damage. Added to that, in
this order and within the same 1/16 s: single-target damage and bonuses, colossus beams, baneling blasts, healing of
units that are still alive.

JaxMARL's state and observations stay unchanged, because `unit_weapon_cooldowns` has other meanings for two units. A
medivac's is the share of its first 50 energy that is spent (1 = empty, negative = charged beyond 50). A baneling's is 1
once it has exploded. A medivac's actions 5, 6, ... heal its own side's unit of that number. Allies are numbered from
the first, as in SMAC, and enemies from the last, because JaxMARL numbers them backwards.

An army with only medivacs left is beaten, as in SMAC. The reward is the enemies' net loss of health. Healing subtracts
from it, so that damage that is healed earns nothing.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from tandem.core import Array, Key, PyTree
from tandem.envs.jaxmarl_bridge import smax
from tandem.envs.smax import units

NO_TARGET = 5  # actions below this have no target


class Battle(smax.SMAX):
    """JaxMARL's environment with ten unit types. The units of a battle are fixed, so their types are known when JAX
    traces.

    `U` counts the units of both sides, allies first.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Raise a ValueError if a healing side has fewer attack actions than units."""
        super().__init__(**kwargs)
        self.types = types = np.asarray(self.scenario).astype(int)  # [U], known while tracing
        names = np.array(units.NAMES)[types]
        ally = np.arange(self.num_agents) < self.num_allies
        if (names[ally] == "medivac").any() and self.num_enemies < self.num_allies:
            raise ValueError(
                "a side with medivacs needs at least as many enemies as units, so that each unit has a heal action"
            )
        self.healer, self.flies = names == "medivac", names == "medivac"
        self.fixed = np.asarray(self.unit_type_velocities)[types] == 0
        self.healable = np.isin(names, list(units.HEALABLE))
        self.same_side = ally[:, None] == ally[None, :]
        self.may_hit = units.table(units.can_hit, types, bool) & ~self.same_side
        self.may_heal = self.healer[:, None] & self.healable[None, :] & self.same_side
        self.extra = units.table(units.extra_damage, types, np.float32)
        self.healers = np.flatnonzero(names == "medivac")
        self.banelings = np.flatnonzero(names == "baneling")
        self.colossi = np.flatnonzero(names == "colossus")
        self.one_target = ~np.isin(names, ["baneling", "colossus"])
        # JaxMARL's own step deals the damage of its own types only
        self.unit_type_attacks = self.unit_type_attacks.at[len(units.JAXMARL_NAMES) :].set(0.0)

    def targets(self, attacks: Array) -> Array:
        """Return the target of each unit, [U] int32; the unit itself if it has none.

        Args:
          attacks: [U] int, attack actions, below NO_TARGET for none.
        """
        own, number = jnp.arange(self.num_agents), attacks - NO_TARGET
        ally = own < self.num_allies
        foe = jnp.where(ally, self.num_allies + number, self.num_allies - 1 - number)
        friend = jnp.where(ally, number, self.num_agents - 1 - number)
        target = jnp.where(self.healer, friend, foe)
        return jnp.where(attacks < NO_TARGET, own, jnp.clip(target, 0, self.num_agents - 1))

    def _world_step(self, key: Key, state: PyTree, actions: tuple[Array, Array]) -> PyTree:
        """Return the state 1/16 s later; the name and the arguments are JaxMARL's."""
        movements, attacks = actions
        target = self.targets(attacks)
        own = jnp.arange(self.num_agents)
        attacks = jnp.where(jnp.asarray(self.may_hit)[own, target], attacks, 0)
        after = super()._world_step(key, state, (movements, attacks))
        fired = (
            after.unit_weapon_cooldowns > state.unit_weapon_cooldowns
        )  # JaxMARL's cooldowns are set by a shot and decrease otherwise
        hits = (
            jnp.zeros(self.num_agents)
            .at[target]
            .add(jnp.where(fired & self.one_target, jnp.asarray(self.extra)[own, target], 0.0))
        )
        hits = hits + self._beams(state, target, fired)
        after = after.replace(unit_health=jnp.maximum(after.unit_health - hits, 0.0))
        after = self._blasts(state, after, fired)
        return self._heals(state, after, target)

    def _beams(self, state: PyTree, target: Array, fired: Array) -> Array:
        """Return the damage of the colossi's beams to each unit, [U]."""
        c = self.colossi
        positions = state.unit_positions
        aim = positions[target[c]] - positions[c]
        aim = aim / jnp.maximum(jnp.linalg.norm(aim, axis=-1, keepdims=True), 1e-6)
        offset = positions[None, :, :] - positions[target[c]][:, None, :]  # [C, U, 2] from the strip's centre
        deep = jnp.abs(jnp.einsum("cud,cd->cu", offset, aim)) - units.STRIP_DEPTH / 2
        across = jnp.stack([-aim[:, 1], aim[:, 0]], axis=-1)
        wide = jnp.abs(jnp.einsum("cud,cd->cu", offset, across)) - units.STRIP_WIDTH / 2
        gap = jnp.hypot(jnp.maximum(deep, 0.0), jnp.maximum(wide, 0.0))
        radius = self.unit_type_radiuses[self.types]
        touched = (gap <= radius[None, :]) & self.may_hit[c] & fired[c][:, None]
        return jnp.where(touched, self.extra[c], 0.0).sum(axis=0)

    def _blasts(self, state: PyTree, after: PyTree, fired: Array) -> PyTree:
        """Return the state after the explosion of banelings that attacked or were killed.

        A baneling that another's blast kills explodes in the next step, 1/16 s later.
        """
        b = self.banelings
        waiting = state.unit_weapon_cooldowns[b] <= 0.0
        exploding = waiting & (fired[b] | (after.unit_health[b] <= 0.0))
        positions = state.unit_positions
        near = jnp.linalg.norm(positions[None, :, :] - positions[b][:, None, :], axis=-1) < units.BLAST_RADIUS
        touched = near & self.may_hit[b] & exploding[:, None]
        health = after.unit_health - jnp.where(touched, self.extra[b], 0.0).sum(axis=0)
        health = health.at[b].set(jnp.where(exploding, 0.0, health[b]))
        exploded = jnp.where(exploding, 1.0, state.unit_weapon_cooldowns[b])
        return after.replace(
            unit_health=jnp.maximum(health, 0.0), unit_weapon_cooldowns=after.unit_weapon_cooldowns.at[b].set(exploded)
        )

    def _heals(self, state: PyTree, after: PyTree, target: Array) -> PyTree:
        """Return the state with the medivacs' targets healed and the energy paid."""
        h = self.healers
        patient, spent = target[h], state.unit_weapon_cooldowns[h]
        distance = jnp.linalg.norm(state.unit_positions[patient] - state.unit_positions[h], axis=-1)
        alive = state.unit_alive & (after.unit_health > 0.0)
        works = jnp.asarray(self.may_heal)[h, patient] & alive[h] & alive[patient]
        works = works & (distance < self.unit_type_attack_ranges[self.types[h]])
        full = self.unit_type_health[self.types][patient]
        energy = (1.0 - spent) * units.FIRST_ENERGY
        most = jnp.minimum(units.HEAL_PER_SECOND * self.time_per_step, energy * units.HEAL_PER_ENERGY)
        healed = jnp.where(works, jnp.minimum(most, full - after.unit_health[patient]), 0.0)
        energy = energy - healed / units.HEAL_PER_ENERGY + units.ENERGY_PER_SECOND * self.time_per_step
        spent = 1.0 - jnp.minimum(energy, units.MOST_ENERGY) / units.FIRST_ENERGY
        return after.replace(
            unit_health=after.unit_health.at[patient].add(healed),
            unit_weapon_cooldowns=after.unit_weapon_cooldowns.at[h].set(spent),
        )

    def _push_units_away(self, state: PyTree, firmness: float = 1.0) -> PyTree:
        """Return the state with overlapping units moved apart; flying units do not collide, rooted ones do not move."""
        pushed = super()._push_units_away(state.replace(unit_alive=state.unit_alive & ~self.flies), firmness)
        positions = jnp.where(self.fixed[:, None], state.unit_positions, pushed.unit_positions)
        return state.replace(unit_positions=positions)

    def get_avail_actions(self, state: PyTree) -> dict[str, Array]:
        """Return each agent's legal actions; a medivac's are the units of its side that it can heal (the enemies' are
        JaxMARL's).
        """
        legal = super().get_avail_actions(state)
        distance = jnp.linalg.norm(state.unit_positions[:, None, :] - state.unit_positions[None, :, :], axis=-1)
        reach = distance < self.unit_type_attack_ranges[self.types][:, None]
        for i in range(self.num_allies):
            agent = self.agents[i]
            if self.healer[i]:
                shots = (reach[i] & self.may_heal[i] & state.unit_alive & state.unit_alive[i])[: self.num_allies]
                shots = jnp.zeros(self.num_enemies, bool).at[: self.num_allies].set(shots)
            elif self.may_hit[i, self.num_allies :].all():
                continue
            else:
                shots = legal[agent][NO_TARGET:].astype(bool) & self.may_hit[i, self.num_allies :]
            legal[agent] = legal[agent].at[NO_TARGET:].set(shots.astype(legal[agent].dtype))
        return legal

    def compute_reward(self, state: PyTree, health_before: Array, health_after: Array) -> dict[str, Array]:
        """Return each agent's reward: the other side's net loss as a share of its full health, plus the bonus."""
        lost = (health_before - health_after) / self.unit_type_health[state.unit_types]
        fights = state.unit_alive & ~self.healer
        n = self.num_allies
        allies, enemies = fights[:n].any(), fights[n:].any()
        of_allies = lost[n:].mean() + jnp.where(allies & ~enemies, self.won_battle_bonus, 0.0)
        of_enemies = lost[:n].mean() + jnp.where(enemies & ~allies, self.won_battle_bonus, 0.0)
        return {agent: of_allies if i < n else of_enemies for i, agent in enumerate(self.agents)}
