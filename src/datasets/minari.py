"""A dataset as one of Minari's (https://minari.farama.org), version 0.5.4, which tools for one agent open.

Minari knows one agent, one reward and T + 1 observations of an episode of T steps. So the team is that agent: its
observation and its action are dicts, with an entry for each member, and its reward is the team's. What else is known
stands among the infos: state, legal and alive [T + 1, ...], rewards, log_prob and policy [T, N, ...].
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tandem.datasets.dataset import Arrays, Dataset, lengths
from tandem.datasets.store import DatasetError, new_folder
from tandem.ops.streams import FOLLOWED_BY
from tandem.ops.team import team_reward

DATA = "data"  # the folder of Minari's files, within that of a dataset
NAME = re.compile(r"[-\w]+-v\d+")
KNOWN = ("log_prob", "policy")  # of the policy that acted


def write(folder: Path, data: Dataset) -> int:
    """Write the folder, whole or not at all, and return how many rows it has.

    `minari.load_dataset` finds it by its name, if MINARI_DATASETS_PATH is the folder around it.

    Raises:
      DatasetError: it cannot be written, has no name of Minari's, or Minari is not installed.
    """
    if not NAME.fullmatch(folder.name):
        raise DatasetError(f"--out={folder}: Minari's datasets are called NAME-v0, of letters, digits, - and _")
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
        from minari.dataset.minari_storage import MinariStorage
    except ImportError as error:
        raise DatasetError("--to=minari needs the packages minari and h5py: pip install 'tandem[data]'") from error
    seen, played = _spaces(data.card["spec"])
    with new_folder(folder) as partial:
        storage = MinariStorage.new(partial / DATA, seen, played, data_format="hdf5", jpeg_encoding=False)
        storage.update_metadata(_told(folder.name, data) | {"minari_version": minari.__version__})
        storage.update_episodes(EpisodeBuffer(**each) for each in _episodes(data))
    return data.size


def _spaces(spec: dict[str, Any]) -> tuple[Any, Any]:
    """Return the spaces of the team's observation and action, with an entry for each agent."""
    from gymnasium import spaces

    agents = range(spec["num_agents"])
    seen = [spaces.Box(-np.inf, np.inf, tuple(spec["obs"]), np.float32) for _ in agents]
    numbers = spec["continuous"]
    played = [spaces.Box(-1, 1, (spec["actions"],)) if numbers else spaces.Discrete(spec["actions"]) for _ in agents]
    return spaces.Dict(_by_agent(seen)), spaces.Dict(_by_agent(played))


def _told(name: str, data: Dataset) -> dict[str, Any]:
    """Return what Minari's metadata say of the dataset."""
    card = data.card
    told = {
        "dataset_id": name, "description": f"{card['task']}, {card['level']}", "card": card,
        "algorithm_name": ", ".join(dict.fromkeys(str(origin.get("algorithm")) for origin in card["origins"])),
    }  # fmt: skip
    references = card.get("references")
    scores = {"ref_min_score": references["random"], "ref_max_score": references["expert"]} if references else {}
    return told | scores


def _episodes(data: Dataset) -> Iterator[dict[str, Any]]:
    """Yield the fields of each episode's `minari.EpisodeBuffer`."""
    team = team_reward(data.rows["reward"], data.card["spec"]["shared_reward"])
    after = {own: name for name, own in FOLLOWED_BY.items()}
    for i, (last, length) in enumerate(zip(data.ends["row"], lengths(data))):
        rows: Arrays = {name: array[last - length + 1 : last + 1] for name, array in data.rows.items()}
        whole = {own: np.concatenate([rows[own], data.ends[name][i : i + 1]]) for own, name in after.items()}
        infos = {own: whole[own] for own in ("state", "legal", "alive") if whole[own][0].size}
        infos |= {"rewards": rows["reward"]} | {name: rows[name] for name in KNOWN if name in rows}
        yield {
            "observations": _by_agent(np.moveaxis(whole["obs"], 1, 0)),
            "actions": _by_agent(np.moveaxis(rows["action"], 1, 0)),
            "rewards": team[last - length + 1 : last + 1],
            "terminations": rows["terminated"],
            "truncations": rows["truncated"],
            "infos": infos,
        }


def _by_agent(values: Any) -> dict[str, Any]:
    """Return what belongs to each agent by its name."""
    return {f"agent_{i}": value for i, value in enumerate(values)}
