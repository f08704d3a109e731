"""Writes episodes as one HTML file that plays them: the scene as SVG, and each agent's policies, values and actions.

The file needs only a browser, because it contains its style, its program and its data. A content security policy keeps
it from loading anything. `page/` has the three files from which it is made.
"""

import base64
import html
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tandem.analysis.episodes import Episode
from tandem.analysis.film import NOWHERE, is_picture
from tandem.analysis.palette import pale, rgb
from tandem.records.places import replace_file
from tandem.scene import Box, Disc, Drawing, Line, Scene

PARTS = Path(__file__).parent / "page"
MOST_STEPS = 1500  # of all episodes together; of longer ones every second, third, ... step is shown
DIGITS = 4  # of probabilities, values and places
PLAYERS = {"search": "the search", "autoregressive": "the policy, agent after agent", "policy": "the policy alone"}


def write(document: dict[str, Any], path: Path) -> Path:
    """Write the page of a document and return its path."""
    replace_file(path, page(document))
    return path


def page(document: dict[str, Any]) -> str:
    """Return the HTML of a document as `describe` returns it."""
    text = (PARTS / "page.html").read_text(encoding="utf-8")
    data = json.dumps(document, separators=(",", ":"), allow_nan=False)
    for name, content in (
        ("TITLE", html.escape(document["title"])),
        ("STYLE", (PARTS / "page.css").read_text(encoding="utf-8")),
        ("PROGRAM", (PARTS / "page.js").read_text(encoding="utf-8")),
        ("DATA", data.replace("<", "\\u003c")),  # so that no text in it can end the surrounding script
    ):
        text = text.replace(f"@{name}@", content)
    return text


def describe(
    drawing: Drawing | None, episodes: Sequence[Episode], title: str, player: str, discount: float
) -> dict[str, Any]:
    """Return the content of the page for JSON.

    Args:
      player: name of the player, a key of PLAYERS or of a scripted policy.
      discount: of the returns from each step on, with which values are compared.
    """
    kept = max(getattr(episode.states, "stride", 1) for episode in episodes)  # of pictures, not all may be
    stride = kept * math.ceil(sum(len(episode.reward) for episode in episodes) / MOST_STEPS / kept)
    return {
        "title": title,
        "player": PLAYERS.get(player, "a scripted policy"),
        "searches": player == "search",
        "continuous": episodes[0].action.ndim == 3,
        "agents": _agents(drawing, episodes),
        "episodes": [_episode(drawing, episode, max(1, stride), discount) for episode in episodes],
    }


def _agents(drawing: Drawing | None, episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    """Return each agent's name, colours and names of actions; padding of agents with fewer actions is left out."""
    possible = np.concatenate([episode.legal for episode in episodes]).any(axis=0)  # [N, A]
    found = []
    for i, mine in enumerate(possible):
        last = int(np.flatnonzero(mine).max(initial=0)) + 1
        names = drawing.actions[i][:last] if drawing else [str(action) for action in range(last)]
        name = drawing.agents[i] if drawing else f"agent {i}"
        found.append({"name": name, "colour": rgb(i), "pale": pale(i), "actions": list(names)})
    return found


def _episode(drawing: Drawing | None, episode: Episode, stride: int, discount: float) -> dict[str, Any]:
    """Return one episode; lists over steps have an entry for each step shown, scenes one more for the end."""
    length = len(episode.reward)
    shown = list(range(0, length, stride))
    frames = [_frame(drawing, episode, step) for step in [*shown, length]]
    bounds = np.array([frame.pop("bounds") for frame in frames])
    return {
        "steps": [*shown, length],
        "frames": frames,
        "bounds": rounded([*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0)]),
        "earned": rounded([float(episode.reward[:step].sum()) for step in [*shown, length]]),
        "action": rounded(episode.action[shown]),
        "alive": episode.alive[[*shown, length]].tolist(),
        "legal": episode.legal[shown].tolist(),
        "policy": None if episode.policy is None else rounded(episode.policy[shown]),
        "network": None if episode.network is None else rounded(episode.network[shown]),
        "value": None if episode.value is None else rounded(episode.value[shown]),
        "searchValue": None if episode.search_value is None else rounded(episode.search_value[shown]),
        "toGo": rounded(returns_to_go(episode.reward, discount)[shown]),
        "cutOff": episode.cut_off,
        "end": {name.replace("_", " "): rounded(value) for name, value in episode.metrics.items()},
    }


def returns_to_go(reward: np.ndarray, discount: float) -> np.ndarray:
    """Return the discounted sums [T] of the rewards [T] from each step to the episode's end."""
    total, found = 0.0, np.zeros(len(reward))
    for step in reversed(range(len(reward))):
        total = found[step] = reward[step] + discount * total
    return found


def _frame(drawing: Drawing | None, episode: Episode, step: int) -> dict[str, Any]:
    """Return the picture before a step is taken: an environment's own, or figures."""
    state = episode.states[step]
    if is_picture(state):
        return {"picture": _as_url(state), "bounds": (0.0, 0.0, float(state.shape[1]), float(state.shape[0]))}
    action = episode.action[step] if step < len(episode.action) else None
    scene: Scene = drawing.scene(state, action) if drawing else NOWHERE
    return {"figures": [_figure(each) for each in scene.figures], "caption": scene.caption, "bounds": scene.bounds}


def _figure(figure: Disc | Box | Line) -> list:
    """Return a figure as a list that begins with its kind; colours are "#rrggbb", or null for none."""
    if isinstance(figure, Disc):
        place = rounded([figure.x, figure.y, figure.radius])
        health = None if figure.health is None else rounded(figure.health)
        return ["disc", *place, rgb(figure.colour), figure.label, figure.note, health]
    if isinstance(figure, Box):
        edges = rounded([figure.left, figure.bottom, figure.right, figure.top])
        return ["box", *edges, rgb(figure.colour), figure.label, rgb(figure.ink), rgb(figure.frame)]
    return ["line", *rounded([*figure.start, *figure.end]), rgb(figure.colour)]


def _as_url(picture: np.ndarray) -> str:
    """Return a picture [height, width, 3] uint8 as a data URL."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def rounded(values: Any) -> Any:
    """Return numbers as nested lists with a few digits; numbers that are not finite are None."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iub":
        return values.tolist()
    if isinstance(values, list | tuple | np.ndarray) and np.ndim(values):
        return [rounded(value) for value in values]
    return round(float(values), DIGITS) if math.isfinite(values) else None
