"""Payoff tables [A_1, ..., A_N] with an entry for each joint action: given by the user, or random."""

import math
from typing import Any

import numpy as np

MOST_ENTRIES = 1_000_000  # limited, because a table is a constant of the compiled program


def checked(payoff: Any) -> np.ndarray:
    """Return nested lists of numbers as a table; agent i's actions are the entries of the lists at depth i.

    Raises:
      ValueError: an entry is not a number, lists have different shapes, or there are fewer than two agents.
    """
    shape = _shape(payoff, "env_args.payoff")
    if len(shape) < 2:
        raise ValueError("env_args.payoff: one list is a game of one agent, expected 2 or more; nest a list for each")
    return np.array(payoff, np.float32)


def drawn(number: int, num_agents: int, num_actions: int) -> np.ndarray:
    """Return the random game with this number: its payoffs are independent and uniform between -10 and 10.

    Raises:
      ValueError: the table would be too large.
    """
    if num_actions**num_agents > MOST_ENTRIES:
        raise ValueError(
            f"env_args.num_actions={num_actions}: {num_agents} agents have {num_actions**num_agents:,} joint actions; "
            f"a random game has at most {MOST_ENTRIES:,}"
        )
    return np.random.default_rng(number).uniform(-10.0, 10.0, (num_actions,) * num_agents).astype(np.float32)


def _shape(payoff: Any, place: str) -> tuple[int, ...]:
    """Return the lengths of nested lists from the outside in; messages call them `place`."""
    if not isinstance(payoff, (list, tuple)):
        if isinstance(payoff, bool) or not isinstance(payoff, (int, float)) or not math.isfinite(payoff):
            raise ValueError(f"{place}: got {payoff!r}, expected a finite number")
        return ()
    if not payoff:
        raise ValueError(f"{place}: the list is empty, expected an entry for each action")
    first, *others = (_shape(item, f"{place}[{i}]") for i, item in enumerate(payoff))
    for i, shape in enumerate(others, start=1):
        if shape != first:
            raise ValueError(
                f"{place}[{i}]: it is {_words(shape)}, but {place}[0] is {_words(first)}; give them the same shape"
            )
    return (len(payoff), *first)


def _words(shape: tuple[int, ...]) -> str:
    return f"a list of shape {' x '.join(map(str, shape))}" if shape else "a number"
