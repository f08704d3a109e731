"""Planning in turns with a tree over each agent's own actions: commitments are known at its root, but not
below.

For comparison with `plies`, whose whole tree knows the commitments.
"""

import dataclasses

from tandem.core import EnvSpec, Key, Model, Planner
from tandem.ops.distributions import draw
from tandem.ops.masking import masked_logits
from tandem.planners.search.own_actions import own_root, own_step
from tandem.planners.search.trees import TreeConfig, make_search, make_worth
from tandem.planners.search.turns import OrderConfig, Start, one_by_one, planner_in_turns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TreeConfig, OrderConfig):
    pass


def make(config: Config, model: Model, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner; see the module's docstring."""
    worth = make_worth(config, model, discount)

    def tree(params, key: Key, start: Start):
        logits = masked_logits(model.team_policy.reply(params, start.own, start.plan), start.legal)
        root = own_root(model, params, key, start.latent, logits, start.agent, start.action, start.committed, draw)
        return root, own_step(model, worth, discount, start.agent, start.later, draw)

    decide = one_by_one(make_search(config), tree, lambda ply: config.max_depth or None, model)
    return planner_in_turns(config.order, decide, model, spec, discount)
