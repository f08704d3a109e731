"""Penalties on the values of unseen actions in plain Python, of one row of a team."""

import math


def log_sum_exp(numbers) -> float:
    most = max(numbers)
    return most + math.log(sum(math.exp(x - most) for x in numbers))


def agent(values, legal, action) -> list[float]:
    gaps = []
    for i, played in enumerate(action):
        gaps.append(log_sum_exp([q for q, may in zip(values[i], legal[i], strict=True) if may]) - values[i][played])
    return gaps


def joint(values, action, team, drawn) -> float:
    """Return the penalty given the joint actions that were drawn."""
    totals = [team([values[i][b] for i, b in enumerate(joint)]) for joint in (*drawn, action)]
    return log_sum_exp(totals) - totals[-1]


def counterfactual(values, legal, action, alive, team, behaviour, temperature) -> float:
    played = [values[i][a] for i, a in enumerate(action)]
    gaps, strayed = [], []
    for i in range(len(action)):
        if not alive[i]:
            continue
        totals = {b: team([*played[:i], values[i][b], *played[i + 1 :]]) for b in range(len(legal[i])) if legal[i][b]}
        soft = log_sum_exp(list(totals.values()))
        gaps.append(soft - team(played))
        policy = {b: math.exp(total - soft) for b, total in totals.items()}
        strayed.append(sum(p * (math.log(p) - math.log(max(behaviour[i][b], 1e-5))) for b, p in policy.items()))
    if not gaps:
        return 0.0
    weights = [math.exp(temperature * (kl - max(strayed))) for kl in strayed]
    return sum(w * gap for w, gap in zip(weights, gaps, strict=True)) / sum(weights)


def maximum(values, legal, action, team) -> float:
    best = [max(q for q, may in zip(values[i], legal[i], strict=True) if may) for i in range(len(action))]
    return team(best) - team([values[i][a] for i, a in enumerate(action)])
