"""A dataset in memory: whole episodes, one after the other, with what followed each of their ends.

What a row was followed by is the next row, and only where an episode ends it is stored beside the rows. That saves
storing every observation twice.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tandem.core import EnvSpec, Transition
from tandem.ops.streams import FOLLOWED_BY, successors
from tandem.ops.team import team_reward

ROW = ("obs", "state", "legal", "present", "alive", "first", "action", "reward", "terminated", "truncated")
BEHAVIOUR = ("log_prob", "policy", "entropy")  # of the policy that acted, as in PolicyExtras; where they are known
METRIC = "metrics."  # begins the names of an episode's own metrics among the ends

Arrays = dict[str, np.ndarray]


class Dataset(NamedTuple):
    """R rows of E episodes, on the host."""

    rows: Arrays  # [R, ...] by name: those of ROW, and those of BEHAVIOUR where they are known
    # "row" [E] int64, the last row of each episode; next_obs, next_state, next_legal, next_alive [E, ...] that followed
    # it; and the episode's metrics [E] as "metrics.NAME"
    ends: Arrays
    card: dict[str, Any]  # what is said of it: datasets/card.py

    @property
    def size(self) -> int:
        return len(self.rows["first"])


def successor(data: Dataset, name: str) -> np.ndarray:
    """Return what followed every row [R, ...], of one of the fields in FOLLOWED_BY."""
    return successors(data.rows[FOLLOWED_BY[name]], data.ends[name], data.ends["row"])


def spec_of(spec: EnvSpec) -> dict[str, Any]:
    """Return what a card says of an environment's spec."""
    return {
        "num_agents": spec.num_agents, "obs": list(spec.obs.shape), "state": spec.state.size,
        "actions": spec.actions.size, "continuous": spec.actions.continuous, "episode_limit": spec.episode_limit,
        "shared_reward": spec.shared_reward,
    }  # fmt: skip


def lengths(data: Dataset) -> np.ndarray:
    """Return the rows of each episode [E]."""
    return np.diff(data.ends["row"], prepend=-1)


def returns(data: Dataset) -> np.ndarray:
    """Return the team's undiscounted return of each episode [E]."""
    team = team_reward(data.rows["reward"].astype(np.float64), data.card["spec"]["shared_reward"])
    return np.add.reduceat(team, data.ends["row"] - lengths(data) + 1)


def chosen(data: Dataset, episodes: np.ndarray) -> Dataset:
    """Return the dataset of some episodes [e] in this order."""
    length, last = lengths(data)[episodes], data.ends["row"][episodes]
    index = np.concatenate([np.arange(end - count + 1, end + 1) for end, count in zip(last, length)])
    ends = {name: array[episodes] for name, array in data.ends.items()} | {"row": np.cumsum(length) - 1}
    return Dataset({name: array[index] for name, array in data.rows.items()}, ends, data.card)


def taken(data: Dataset, share: float, seed: int = 0, others: bool = False) -> Dataset:
    """Return a share of the episodes, drawn without repetition, in their order, or all others; at least one."""
    total = len(data.ends["row"])
    count = min(max(1, round(share * total)), total - others)
    if not count:
        raise ValueError("there is one episode, which cannot be both taken and left")
    drawn = np.random.default_rng(seed).choice(total, count, replace=False)
    return chosen(data, np.setdiff1d(np.arange(total), drawn) if others else np.sort(drawn))


def joined(parts: Sequence[Dataset]) -> Dataset:
    """Return one dataset of several, one after the other; what is not known of all is left out.

    Raises:
      ValueError: they are of different shapes, or of different environments; the message names all fields.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if odd := [said for other in parts[1:] for said in differences(first.card["spec"], other.card["spec"])]:
        raise ValueError("these datasets do not fit together: " + "; ".join(dict.fromkeys(odd)))
    begins = np.cumsum([0, *(part.size for part in parts[:-1])])
    rows = {name: np.concatenate([part.rows[name] for part in parts]) for name in _common(part.rows for part in parts)}
    ends = {name: np.concatenate([part.ends[name] for part in parts]) for name in _common(part.ends for part in parts)}
    ends["row"] = np.concatenate([part.ends["row"] + begin for part, begin in zip(parts, begins)])
    return Dataset(rows, ends, _joined_card([part.card for part in parts]))


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return a few words for each field in which two cards' specs differ; what one does not know is no difference."""
    return [
        f"{name} {one[name]} against {other[name]}"
        for name in one
        if None not in (one[name], other.get(name)) and one[name] != other[name]
    ]


def _common(records: Iterator[Arrays]) -> list[str]:
    names = [list(record) for record in records]
    return [name for name in names[0] if all(name in other for other in names)]


def _joined_card(cards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the card of joined datasets: what they agree in, all origins, and the references of all."""
    first = cards[0]
    origins = [origin for card in cards for origin in card["origins"]]
    known = [card["references"] for card in cards if card.get("references")]
    references = None
    if len(known) == len(cards):
        references = {
            "random": float(np.mean([each["random"] for each in known])),
            "expert": float(max(each["expert"] for each in known)),
        }
    same = {key: first[key] for key in ("format", "env", "env_args", "task", "spec", "packages")}
    same["commit"] = first.get("commit") if len({card.get("commit") for card in cards}) == 1 else None
    differing = [key for key in ("env", "env_args", "task") if any(card[key] != first[key] for card in cards)]
    levels = dict.fromkeys(origin["level"] for origin in origins)
    return same | {
        "level": "+".join(levels), "origins": origins, "references": references, "differing": differing,
        "behaviour_known": all(card["behaviour_known"] for card in cards),
    }  # fmt: skip


def of_episodes(
    rows: Transition, last: np.ndarray, metrics: Arrays, card: dict[str, Any], behaviour: Arrays
) -> Dataset:
    """Return the dataset of whole episodes, whose rows are not copied.

    Args:
      rows: [R, ...], one episode after the other; next_* are those of the episodes' ends, [E, ...].
      last: [E] the episodes' last rows.
      metrics: [E] of the episodes, by name.
      behaviour: what is known of the policy that acted, [R, ...] by the names in BEHAVIOUR.
    """
    ends = {name: np.asarray(getattr(rows, name)) for name in FOLLOWED_BY} | {"row": last}
    ends |= {f"{METRIC}{name}": each for name, each in metrics.items()}
    return Dataset({name: np.asarray(getattr(rows, name)) for name in ROW} | behaviour, ends, card)


def from_rows(rows: Transition, card: dict[str, Any], behaviour: Arrays) -> Dataset:
    """Return the whole episodes among rows [R, ...] in the order of time; what has no beginning or no end is left out.

    Args:
      rows: streams of one environment after the other; `first` is set where an episode or another stream begins.
      behaviour: what is known of the policy that acted, [R, ...] by the names in BEHAVIOUR.
    """
    last, firsts = np.flatnonzero(rows.terminated | rows.truncated), np.flatnonzero(rows.first)
    begin = np.append(firsts, -1)[np.searchsorted(firsts, last, side="right") - 1]  # -1: nothing begins before
    whole = begin > np.concatenate([[-1], last[:-1]])
    begin, last = begin[whole], last[whole]
    if not len(last):
        raise ValueError("there is no whole episode among these rows")
    index = np.concatenate([np.arange(a, b + 1) for a, b in zip(begin, last)])
    ends = {name: np.asarray(getattr(rows, name))[last] for name in FOLLOWED_BY}
    ends["row"] = np.cumsum(last - begin + 1) - 1
    kept = {name: np.asarray(getattr(rows, name))[index] for name in ROW}
    return Dataset(kept | {name: array[index] for name, array in behaviour.items()}, ends, card)
