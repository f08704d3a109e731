"""No search: a team whose policies may know what teammates do, use one skill together, or act in turns.

Every agent takes the skill from its own prior. They draw with the same luck: random numbers that a team can agree on
before an episode begins. So agents whose priors are alike use the same skill, and nobody has to tell anybody.

Agents that neither act in turns nor share luck act alone, and can be exported. They use the likeliest skill then, as in
evaluations.
"""

import dataclasses

import jax
import jax.numpy as jnp

from tandem.core import Alone, Array, EnvSpec, Model, Planner, TimeStep, setting
from tandem.ops.distributions import CATEGORICAL, draw_by_luck
from tandem.planners.policies.acting import planned, sampled, sampled_setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    also_sampled: bool = sampled_setting()
    shared_luck: bool = setting(True, "agents draw a skill by the same random number; False: each by its own")


TURNS = "agents act in turns, and see the actions of those before them"
LUCK = "agents draw a skill by the same luck; with planner_args.shared_luck=false each takes its own likeliest skill"


def make(config: Config, model: Model, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner: it samples skills and actions while exploring, and plays the likeliest ones otherwise."""
    del discount
    face, agents = model.coordination, spec.num_agents

    def skills(prior: Array, key: Array, explore: bool) -> Array:
        """Return the skill of each agent [B, N] by logits [B, N, K]."""
        if not explore:
            return jnp.argmax(prior, axis=-1)
        luck = jax.random.uniform(key, (prior.shape[0], 1 if config.shared_luck else agents))
        return draw_by_luck(jnp.broadcast_to(luck, prior.shape[:-1]), prior)

    def plan(params, carry, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        del progress
        skill_key, key = jax.random.split(key)
        memory, known = face.see(params, carry, timestep.obs[:, None], timestep.first[:, None])
        skill = skills(face.prior(params, known)[:, 0], skill_key, explore)

        def outputs(action: Array, visible: Array) -> Array:
            every = face.logits(params, known, action[:, None], visible)[:, 0]  # [B, N, K, A]
            return jnp.take_along_axis(every, skill[..., None, None], axis=2)[:, :, 0]

        def choose(logits: Array, key: Array) -> Array:
            if explore:
                return CATEGORICAL.sample(key, logits, timestep.legal)
            return CATEGORICAL.mode(logits, timestep.legal)

        nobody, before = jnp.zeros(skill.shape, jnp.int32), jnp.tril(jnp.ones((agents, agents), bool), -1)
        if not face.turns:
            logits = outputs(nobody, jnp.zeros_like(before))
            action = choose(logits, key)
        else:

            def commit(action: Array, turn: tuple[Array, Array]):
                agent, key = turn
                here = jnp.arange(agents) == agent
                return jnp.where(here[None], choose(outputs(action, before), key), action), None

            action, _ = jax.lax.scan(commit, nobody, (jnp.arange(agents), jax.random.split(key, agents)))
            logits = outputs(action, before)
        return memory, planned(CATEGORICAL, logits, timestep.legal, action)

    def of_likeliest(params, memory, obs: Array, first: Array):
        memory, known = face.see(params, memory, obs[:, None], first[:, None])
        prior = face.prior(params, known)  # [B, 1, N, K]
        every = face.logits(params, known, jnp.zeros(prior.shape[:-1], jnp.int32), jnp.zeros((agents, agents), bool))
        used = jax.nn.one_hot(jnp.argmax(prior, axis=-1), prior.shape[-1])[..., None]
        return memory, jnp.sum(every * used, axis=-2)[:, 0]

    shares = face.num_skills > 1 and config.shared_luck
    alone = None if face.turns or shares else Alone(face.memory, of_likeliest, CATEGORICAL)
    planner = Planner(init=face.memory, plan=plan, plays="policy", alone=alone, not_alone=TURNS if face.turns else LUCK)
    return sampled(planner) if config.also_sampled else planner
