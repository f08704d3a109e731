"""Q-learning from recorded data, of values that know what imitating the team taught (`models.coordination_q`).

As `q_offline`, but the data's policy is imitated as learner `coordination` does, with predictions of teammates' actions
and with skills. The backup is the best value net of a divergence from that policy (`ops.backups.soft_behaviour`).
"""

import dataclasses

from tandem.core import Array, Batch, Learner, Model, Params, RunPlan, Transition
from tandem.learners import coordination, q_offline
from tandem.learners.q import Learned
from tandem.learners.q_offline import Imitation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(q_offline.Config):
    neighbours_weight: float = coordination.neighbours_weight_setting()
    skill_weight: float = coordination.skill_weight_setting()


METRICS = (*q_offline.METRICS, *coordination.KNOWN)
problems = q_offline.problems


def make(config: Config, model: Model, plan: RunPlan) -> Learner:
    """Return the learner.

    Raises:
      ValueError: as `q_offline.make`.
    """

    def imitated(params: Params, traj: Transition, learned: Learned) -> tuple[Array, dict[str, Array]]:
        weight = learned.weight
        batch = Batch(traj=traj, index=weight, weight=weight, priority=weight)  # the other two are not read
        total, metrics = coordination.loss(config, model.coordination, params, batch)
        return total, {name: metrics[name] for name in coordination.KNOWN}

    return q_offline.assemble(config, model, plan, Imitation(imitated, coordination.KNOWN))
