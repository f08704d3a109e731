"""The description of an exported policy: a JSON text beside it."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tandem import program
from tandem.core import EnvSpec
from tandem.exports.function import Function
from tandem.hiding import hidden_in

ABOUT_ENV = ("env", "env_args", "name", "network", "network_args", "planner", "learner", "seed")


def make(function: Function, spec: EnvSpec, config: Mapping[str, Any], run: str, step: int, form: str) -> str:
    """Return the card: inputs, outputs, how to choose an action, and the policy's origin."""
    said = {
        "format": form,
        "made_by": f"Tandem {program.VERSION}",
        "run": run,
        "step": step,
        "settings": {key: config[key] for key in ABOUT_ENV},
        "num_agents": spec.num_agents,
        "groups": [
            {"name": group.name, "agents": list(group.members), "obs": group.obs.size, "actions": group.actions.size}
            for group in spec.groups
        ],
        "inputs": [dataclasses.asdict(port) for port in function.inputs],
        "outputs": [dataclasses.asdict(port) for port in function.outputs],
        "memory_at_the_beginning": [_start(array) for array in function.memory],
        "action": function.action,
    }
    return json.dumps(hidden_in(said), indent=1) + "\n"


def _start(array: np.ndarray) -> Any:
    """Return the initial memory [1, ...] of one environment, or a number if all its entries are equal."""
    return float(array.flat[0]) if array.size and np.all(array == array.flat[0]) else array[0].tolist()
