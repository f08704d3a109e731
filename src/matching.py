"""Checks which parts can work together, by their registry entries: sets of faces, kinds of extras,
data and actions.
"""

from collections.abc import Mapping
from typing import Any

from tandem.core import EnvSpec, Vector
from tandem.registry import FAMILIES, Entry


def mismatches(config: Mapping[str, Any], entries: Mapping[str, Entry]) -> list[str]:
    """Return a sentence for each pair of named parts that cannot work together."""
    return [
        *_faces(config, entries),
        *_given(config, entries, "planner", "leaves", "learns from {} targets", "leaves"),
        *_given(config, entries, "replay", "data", "learns from {}", "hands out"),
        *_programs(config, entries),
        *_held(config, entries),
    ]


def unplayable(config: Mapping[str, Any], entries: Mapping[str, Entry], spec: EnvSpec) -> list[str]:
    """Return a sentence for each part that cannot read the environment's observations or deal with its actions."""
    return _unreadable(config, entries, spec) + _unchosen(config, entries, spec)


def _unreadable(config: Mapping[str, Any], entries: Mapping[str, Entry], spec: EnvSpec) -> list[str]:
    kind, network = "vector" if isinstance(spec.obs, Vector) else "image", entries["network"]
    if kind in network.reads:
        return []
    return [
        f"network '{config['network']}' reads observations of the kind {' or '.join(sorted(network.reads))}, and "
        f"those of env '{config['env']}' are of the kind {kind}{_choose('network', lambda entry: kind in entry.reads)}"
    ]


def _unchosen(config: Mapping[str, Any], entries: Mapping[str, Entry], spec: EnvSpec) -> list[str]:
    kind = "numbers" if spec.actions.continuous else "discrete"
    words = {"numbers": "continuous", "discrete": "discrete"}

    def refused(family: str, verb: str) -> list[str]:
        if kind in entries[family].actions:
            return []
        able = " or ".join(words[each] for each in sorted(entries[family].actions))
        others = _choose(family, lambda entry: kind in entry.actions)
        return [
            f"{family} '{config[family]}' {verb} {able} actions, and those of env '{config['env']}' are "
            f"{words[kind]}{others}"
        ]

    acting = [*refused("network", "chooses among"), *refused("planner", "chooses among")]
    return acting or refused("learner", "learns from")  # of those who cannot act, nothing is learned


def _faces(config: Mapping[str, Any], entries: Mapping[str, Entry]) -> list[str]:
    shown, mistakes = entries["network"].shows, []
    for family in ("planner", "learner"):
        missing = entries[family].needs - shown
        if missing:
            mistakes.append(
                f"{family} '{config[family]}' needs a network with {_words(entries[family].needs)}; network "
                f"'{config['network']}' has "
                f"{_words(shown) or 'none of these'}"
                f"{_choose('network', lambda entry: entries[family].needs <= entry.shows)}"
            )
    return mistakes


def _given(
    config: Mapping[str, Any], entries: Mapping[str, Entry], family: str, attribute: str, wants: str, gives: str
) -> list[str]:
    """Return a sentence if a part provides another kind than the learner uses."""
    wanted, given = getattr(entries["learner"], attribute), getattr(entries[family], attribute)
    if not wanted or wanted == given:
        return []
    return [
        f"learner '{config['learner']}' {wants.format(wanted)}; {family} '{config[family]}' {gives} {given or 'none'}"
        f"{_choose(family, lambda entry: getattr(entry, attribute) == wanted)}"
    ]


def _programs(config: Mapping[str, Any], entries: Mapping[str, Entry]) -> list[str]:
    if not entries["env"].host or entries["runner"].host:
        return []
    return [
        f"env '{config['env']}' is a program outside JAX; runner '{config['runner']}' compiles its environments"
        f"{_choose('runner', lambda entry: entry.host)}"
    ]


def _held(config: Mapping[str, Any], entries: Mapping[str, Entry]) -> list[str]:
    """Return a sentence for each part that only supports recorded rows, if the runner plays."""
    if entries["runner"].recorded:
        return []
    instead = _choose("runner", lambda entry: entry.recorded)
    said = {
        "replay": "stores only recorded rows, but runner '{}' adds new ones",
        "env": "only replays recorded rows, but runner '{}' learns from playing",
    }
    return [
        f"{family} '{config[family]}' {text.format(config['runner'])}{instead}"
        for family, text in said.items()
        if entries[family].recorded
    ]


def _words(names: frozenset[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in sorted(names))


def _choose(family: str, fits: Any) -> str:
    fitting = [name for name, entry in FAMILIES[family].items() if fits(entry)]
    return f"; choose {family}={' or '.join(fitting)}" if fitting else ""
