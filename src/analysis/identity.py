"""Decides whether two runs are the same experiment: by their configuration, without the place of records."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tandem.config import schema

ABSENT = "absent"  # shown if a configuration has no such key


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration as {"planner_args.num_simulations": 8, ...}."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def essence(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that determine a run's results, flat, as read from JSON."""
    kept = {key: value for key, value in config.items() if key not in schema.bookkeeping()}
    return json.loads(json.dumps(flat(kept), sort_keys=True))


def fingerprint(config: Mapping[str, Any]) -> str:
    """Return a text that is equal for two configurations if and only if they make the same run."""
    return hashlib.sha256(json.dumps(essence(config), sort_keys=True).encode()).hexdigest()[:12]


def as_asked(config: Mapping[str, Any], asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a run's configuration with an open number of actors if `asked` leaves it to the machine."""
    wanted, found = asked.get("runner_args", {}), config.get("runner_args", {})
    if wanted.get("num_actors") != 0 or "num_actors" not in found:
        return config
    return {**config, "runner_args": {**found, "num_actors": 0}}


def without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration that all seeds of an experiment share."""
    return {key: value for key, value in config.items() if key != "seed"}


def differences(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for each flat configuration its values of the keys that are not the same in all of them."""
    keys = sorted({key for config in configs for key in config})
    differing = [key for key in keys if len({json.dumps(config.get(key, ABSENT)) for config in configs}) > 1]
    return [{key: config.get(key, ABSENT) for key in differing} for config in configs]
