"""No search: every agent acts by the policy of an actor-critic, from its own observations, past ones included."""

import dataclasses

from src.core import ActorCritic, Array, EnvSpec, Plan, Planner, PolicyExtras, TimeStep


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    pass


def make(config: Config, model: ActorCritic, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner: it samples while exploring and plays the likeliest legal action otherwise.

    Its carry is the model's memory. While exploring the critic remembers as well, for the learner goes on from there.
    """
    del config, spec, discount
    known = model.distribution

    def plan(params, carry, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        del progress
        obs, first = timestep.obs[:, None], timestep.first[:, None]
        memory, outputs, _ = model.policy(params, carry, obs, first)
        if explore:
            after, _ = model.value(params, carry, obs, timestep.state[:, None], first)
            memory = memory | {"critic": after["critic"]}
        outputs, legal = outputs[:, 0], timestep.legal
        action = known.sample(key, outputs, legal) if explore else known.mode(outputs, legal)
        extras = PolicyExtras(
            log_prob=known.log_prob(outputs, legal, action), policy=known.describe(outputs, legal),
            entropy=known.entropy(outputs, legal), memory=carry,
        )  # fmt: skip
        return memory, Plan(action=action, extras=extras)

    return Planner(init=model.memory, plan=plan)
