"""Films of real episodes, and beside them what is imagined of them.

On the left is what happened, on the right what was imagined: the environment's own scene where observations say where
things are, else the observations themselves.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tandem.analysis.canvas import Canvas, Place, draw_picture, draw_scene
from tandem.analysis.episodes import Episode
from tandem.analysis.film import HEIGHT, HOLD_SECONDS, NOWHERE, WIDTH, Film, Frames, is_picture, pace
from tandem.analysis.imagined import Imagined
from tandem.analysis.imagined_panels import Line, draw_lines, draw_strips
from tandem.scene import Drawing, Scene

MIDDLE, TOP, FLOOR = WIDTH // 2, 74, 430  # where the scenes meet, begin and end
NAMES, EDGE = 24, 16  # pixels for the names above the scenes, and to the edges


def make_film(drawing: Drawing | None, episodes: Sequence[Episode], imagined: Sequence[Imagined], title: str) -> Film:
    """Return the film of episodes and what is imagined of them."""
    lengths = [len(episode.reward) for episode in episodes]
    stride, fps = pace(lengths, max(getattr(episode.states, "stride", 1) for episode in episodes))
    frames, repeats, starts = [], [], []
    for number, (episode, dream) in enumerate(zip(episodes, imagined, strict=True)):
        starts.append(len(frames))
        steps = [*range(0, lengths[number], stride), lengths[number]]
        pair = Pair(drawing, episode, dream, title, f"episode {number + 1} of {len(episodes)}")
        frames += [partial(pair.frame, step) for step in steps]
        repeats += [1] * (len(steps) - 1) + [max(1, round(HOLD_SECONDS * fps))]
    return Film(frames=Frames(frames), repeats=repeats, fps=fps, starts=starts)


class Pair:
    """An episode and what is imagined of it, ready to be drawn."""

    def __init__(self, drawing: Drawing | None, episode: Episode, imagined: Imagined, title: str, place: str):
        self.episode, self.imagined, self.title, self.place = episode, imagined, title, place
        actions = [*episode.action, None]
        self.scenes = _scenes(drawing, episode.states, actions) if drawing else [NOWHERE] * len(actions)
        self.imagined_scenes: list[Scene] = []
        if drawing and drawing.rebuilt:
            self.imagined_scenes = _scenes(drawing, _states(drawing, episode, imagined), actions)
        bounds = np.array([scene.bounds for scene in (*self.scenes, *self.imagined_scenes)])
        self.bounds = (*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0))
        self.scale = np.abs(episode.obs).max(axis=(0, 1))

    def frame(self, step: int) -> np.ndarray:
        """Return the picture of a step, [544, 960, 3] uint8."""
        canvas = Canvas(WIDTH, HEIGHT)
        left, right = (0, TOP + NAMES, MIDDLE, FLOOR), (MIDDLE, TOP + NAMES, WIDTH, FLOOR)
        if is_picture(self.episode.states[step]):
            draw_picture(canvas, self.episode.states[step], left)
        else:
            draw_scene(canvas, self.scenes[step], left, self.bounds)
        if self.imagined_scenes:
            draw_scene(canvas, self.imagined_scenes[step], right, self.bounds)
        else:
            inside = (MIDDLE + EDGE, TOP + NAMES + 4, WIDTH - EDGE, FLOOR - 4)
            draw_strips(canvas, inside, self.episode.obs[step], self.imagined.obs[step], self.scale)
        self._header(canvas, step)
        self._lines(canvas, step)
        return canvas.pixels()

    def _header(self, canvas: Canvas, step: int) -> None:
        imagined, length = self.imagined, len(self.episode.reward)
        canvas.box((0, 0, WIDTH, TOP), "panel")
        canvas.text(EDGE, 20, self.title, 17)
        canvas.text(WIDTH - EDGE, 20, f"step {step} of {length}", 17, "text", "rm")
        canvas.text(EDGE, 50, self.place, 14, "quiet")
        ended = imagined.ended is not None and step >= imagined.ended
        said = [f"imagined end at step {imagined.ended}"] if ended else []
        if imagined.parted is not None and step >= imagined.parted:
            said.insert(0, f"parted at step {imagined.parted}")
        canvas.text(WIDTH - EDGE, 50, "; ".join(said), 14, "imagined", "rm")
        ahead = step - imagined.context + 1
        name = f"imagined, {ahead} ahead, with the real actions" if ahead > 0 else "real, as the model's tokens show it"
        if not self.imagined_scenes:
            name = f"seen: above real, below {f'imagined, {ahead} ahead' if ahead > 0 else 'as tokens show it'}"
        canvas.text(MIDDLE / 2, TOP + 14, "real", 14, "text", "mm")
        canvas.text(MIDDLE * 1.5, TOP + 14, name, 14, "imagined" if ahead > 0 else "text", "mm")
        canvas.line((MIDDLE, TOP), (MIDDLE, FLOOR), "grid", 1.0)

    def _lines(self, canvas: Canvas, step: int) -> None:
        episode, imagined = self.episode, self.imagined
        canvas.box((0, FLOOR, WIDTH, HEIGHT), "panel")
        parted = [] if imagined.parted is None else [(imagined.parted, "imagined")]
        marks = [(imagined.context - 1, "quiet"), *parted]
        rewards = [
            Line("real", np.append(np.nan, episode.reward), "text"),
            Line("imagined", np.append(np.nan, imagined.reward), "imagined"),
        ]
        draw_lines(canvas, _chart(0), "team reward", rewards, step, marks)
        errors = [Line("nothing changes", imagined.still, "quiet"), Line("imagined", imagined.error, "imagined")]
        draw_lines(canvas, _chart(MIDDLE), "error of observations", errors, step, marks)


def _chart(left: float) -> Place:
    return left + EDGE, FLOOR + 8, left + MIDDLE - EDGE, HEIGHT - 12


def _scenes(drawing: Drawing, states: Sequence, actions: Sequence) -> list[Scene]:
    return [drawing.scene(state, action) for state, action in zip(states, actions, strict=True)]


def _states(drawing: Drawing, episode: Episode, imagined: Imagined) -> list:
    """Return states [T + 1] that look like what is imagined; the first knows what nobody sees there."""
    states, state = [], episode.states[0]
    for obs in imagined.obs:
        state = drawing.rebuilt(state, obs)
        states.append(state)
    return states
