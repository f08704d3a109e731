"""Acting by a policy alone: what planners without search share."""

from src.core import Array, Distribution, Key, Plan, PolicyExtras


def act(distribution: Distribution, outputs: Array, legal: Array, key: Key, explore: bool) -> Plan:
    """Return the plan of policies with outputs [B, N, P]: a sample of each while exploring, else the likeliest actions."""
    action = distribution.sample(key, outputs, legal) if explore else distribution.mode(outputs, legal)
    return planned(distribution, outputs, legal, action)


def planned(distribution: Distribution, outputs: Array, legal: Array, action: Array) -> Plan:
    """Return the plan of actions [B, N] that policies with outputs [B, N, P] have chosen."""
    extras = PolicyExtras(
        log_prob=distribution.log_prob(outputs, legal, action),
        policy=distribution.describe(outputs, legal),
        entropy=distribution.entropy(outputs, legal),
    )
    return Plan(action=action, extras=extras)
