"""Makes films of episodes: mp4, gif and one strip for TensorBoard."""

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from PIL import Image

from tandem.analysis.canvas import Canvas, draw_picture, draw_scene
from tandem.analysis.episodes import Episode
from tandem.analysis.panel import Choice, draw_choices, draw_header
from tandem.scene import Drawing, Scene

WIDTH, HEIGHT = 960, 544  # multiples of 16, which every player takes
PANEL = 564  # where the panel begins
SECONDS = 5.0  # that the longest episode lasts, unless that would be too fast or too slow to follow
SLOWEST, FASTEST = 1, 10  # frames per second
HOLD_SECONDS = 1.0  # on the last frame of each episode
MOST_FRAMES = 450  # of a film; of longer episodes every second, third, ... step is shown
FFMPEG_SECONDS = 30.0  # to finish a file once it has all frames
INDEX_BYTES = 1_000_000  # of the end of an mp4, where the index of its frames stands if it is whole
STRIP, STRIP_SCALE = 5, 2  # pictures in a strip, and how many times smaller than a frame they are
NOWHERE = Scene((), (0.0, 0.0, 1.0, 1.0), "no picture: the environment returns no Drawing (docs/extending.md)")


class Frames(Sequence):
    """Pictures [544, 960, 3] uint8, each drawn on request, so that memory holds only one."""

    def __init__(self, drawers: list[Callable[[], np.ndarray]]):
        self.drawers = drawers

    def __len__(self) -> int:
        return len(self.drawers)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.drawers[i]()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Film:
    """Pictures [544, 960, 3] uint8, how long each stays, and which begin an episode."""

    frames: Sequence[np.ndarray]
    repeats: list[int]  # how many times 1 / fps each frame is shown
    fps: int
    starts: list[int]  # index of each episode's first frame


def make_film(drawing: Drawing | None, episodes: list[Episode], title: str, fps: int = 0) -> Film:
    """Return the film of some episodes; `fps` 0 chooses a suitable speed."""
    lengths = [len(episode.reward) for episode in episodes]
    kept = max(getattr(episode.states, "stride", 1) for episode in episodes)  # of pictures, not all may be
    stride, fps = pace(lengths, kept, fps)
    frames, repeats, starts = [], [], []
    for number, episode in enumerate(episodes):
        starts.append(len(frames))
        steps = [*range(0, lengths[number], stride), lengths[number]]
        scenes = _scenes(drawing, episode, steps)
        bounds = np.array([scene.bounds for scene in scenes])
        seen = (*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0))
        for step, scene in zip(steps, scenes, strict=True):
            place = f"episode {number + 1} of {len(episodes)}"
            frames.append(partial(_frame, drawing, episode, step, scene, seen, title, place))
        repeats += [1] * (len(scenes) - 1) + [max(1, round(HOLD_SECONDS * fps))]
    return Film(frames=Frames(frames), repeats=repeats, fps=fps, starts=starts)


def pace(lengths: list[int], kept: int = 1, fps: int = 0) -> tuple[int, int]:
    """Return every how manieth step of episodes is shown, of those that are kept, and how many of them in a second."""
    stride = kept * max(1, math.ceil(sum(lengths) / MOST_FRAMES / kept))
    return stride, fps or int(np.clip(round(max(lengths) / stride / SECONDS), SLOWEST, FASTEST))


def write_mp4(film: Film, path: Path) -> None:
    """Write the film as H.264, which browsers play."""
    with _whole(path) as partial_path:
        _encode(film, partial_path)
        with open(partial_path, "rb") as file:
            file.seek(max(0, partial_path.stat().st_size - INDEX_BYTES))
            if b"moov" not in file.read():
                raise OSError("ffmpeg could not finish the film; is the disk full?")


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a temporary name, which becomes `path` when the file is complete."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _encode(film: Film, path: Path) -> None:
    """Send all frames to ffmpeg."""
    writer = imageio_ffmpeg.write_frames(
        str(path.absolute()),
        (WIDTH, HEIGHT),
        fps=film.fps,
        codec="libx264",
        quality=None,
        ffmpeg_timeout=FFMPEG_SECONDS,
        output_params=["-crf", "20", "-threads", "2", "-f", "mp4"],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # JAX's, of any fork; ffmpeg is executed at once
        writer.send(None)
    with contextlib.closing(writer):
        for frame, repeats in zip(film.frames, film.repeats, strict=True):
            for _ in range(repeats):
                writer.send(np.ascontiguousarray(frame))


def write_gif(film: Film, path: Path) -> None:
    """Write the film as an animation that repeats forever."""
    palette = Image.fromarray(np.concatenate([film.frames[0], film.frames[-1]])).quantize(128)
    images = (Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in film.frames)
    durations = [round(1000 * repeats / film.fps) for repeats in film.repeats]
    with _whole(path) as partial_path:
        next(images).save(partial_path, "GIF", save_all=True, append_images=images, duration=durations, loop=0)


def strip(film: Film) -> np.ndarray:
    """Return a few pictures of the first episode below each other, [height, width, 3] uint8."""
    end = film.starts[1] if len(film.starts) > 1 else len(film.frames)
    chosen = sorted(set(np.linspace(0, end - 1, STRIP).round().astype(int).tolist()))
    small = [Image.fromarray(film.frames[i]).reduce(STRIP_SCALE) for i in chosen]
    return np.concatenate([np.asarray(image) for image in small])


def _scenes(drawing: Drawing | None, episode: Episode, steps: list[int]) -> list[Scene]:
    if drawing is None:
        return [NOWHERE] * len(steps)
    actions = [*episode.action, None]
    return [drawing.scene(episode.states[step], actions[step]) for step in steps]


def _frame(
    drawing: Drawing | None, episode: Episode, step: int, scene: Scene, bounds, title: str, place: str
) -> np.ndarray:
    """Return one picture: the scene before step `step`, with the decisions there."""
    length = len(episode.reward)
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.box((PANEL - 16, 0, WIDTH, HEIGHT), "panel")
    place_of_scene = (0, 0, PANEL - 16, HEIGHT)
    if is_picture(episode.states[step]):
        draw_picture(canvas, episode.states[step], place_of_scene)
    else:
        draw_scene(canvas, scene, place_of_scene, bounds)
    ending = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in episode.metrics.items())
    lines = (place, f"step {step} of {length}", f"end: {ending}" if step == length and ending else "")
    draw_header(canvas, (PANEL, 10, WIDTH - 16, 100), title, lines, f"{episode.reward[:step].sum():.2f}")
    choices = [_choice(drawing, episode, step, agent) for agent in range(episode.alive.shape[1])]
    draw_choices(canvas, (PANEL, 118, WIDTH - 16, HEIGHT - 8), choices)
    return canvas.pixels()


def is_picture(state: Any) -> bool:
    """Return whether a state is its own picture, [height, width, 3] uint8, as of environments outside JAX."""
    return isinstance(state, np.ndarray) and state.dtype == np.uint8 and state.ndim == 3


def _choice(drawing: Drawing | None, episode: Episode, step: int, agent: int) -> Choice:
    """Return an agent's decision at a step; empty at the end of the episode."""
    name = drawing.agents[agent] if drawing else f"agent {agent}"
    alive = bool(episode.alive[step, agent])
    nothing = Choice(agent, name, alive, "" if alive else "dead", -1, np.zeros(0), ())
    if step == len(episode.reward) or not alive:
        return nothing
    if episode.action.ndim == 3:  # continuous: the action's components, from -1 (empty) to 1 (full)
        values = episode.action[step, agent, episode.legal[:, agent].any(axis=0)]  # without padding
        return nothing._replace(bars=np.clip((values + 1) / 2, 0, 1), labels=tuple(f"{value:.2f}" for value in values))
    chosen = int(episode.action[step, agent])
    possible = np.flatnonzero(episode.legal[:, agent].any(axis=0))
    last = max(int(possible.max(initial=0)), chosen) + 1  # padding of agents with fewer actions is not shown
    labels = drawing.actions[agent][:last] if drawing else tuple(str(i) for i in range(last))
    policy = np.zeros(last) if episode.policy is None else episode.policy[step, agent, :last]
    return nothing._replace(action=labels[chosen], chosen=chosen, bars=policy, labels=labels)
