"""The pictures that an environment outside JAX draws of one episode: a bounded number,
however long it lasts.
"""

import numpy as np
from PIL import Image


class Pictures:
    """Pictures by step. If there are too many, every second one is dropped, and the interval is doubled.

    An episode of Knights Archers Zombies has 900 pictures of 2.7 MB, which is more than
    a film needs.
    """

    def __init__(self, most: int, size: tuple[int, int]):
        """Args: size: width and height that a picture is shown in; larger ones are made smaller."""
        self.most, self.size = max(2, most), size
        self.stride = 1  # steps from one kept picture to the next
        self.kept: list[np.ndarray] = []  # of the steps 0, stride, 2 stride, ...
        self.last: np.ndarray | None = None  # of the last step
        self.steps = 0

    def append(self, picture: np.ndarray) -> None:
        """Add the picture [height, width, 3] uint8 of the next step."""
        self.last = self._small(picture)
        if self.steps % self.stride == 0:
            self.kept.append(self.last)
        self.steps += 1
        if len(self.kept) > self.most:
            self.kept, self.stride = self.kept[::2], 2 * self.stride

    def __getitem__(self, step: int) -> np.ndarray:
        """Return the picture of a step, or of the nearest one before that is kept."""
        if self.last is not None and step == self.steps - 1:
            return self.last
        return self.kept[step // self.stride]

    def __len__(self) -> int:
        return self.steps

    def _small(self, picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        scale = min(self.size[0] / width, self.size[1] / height)
        if scale >= 1.0:
            return picture
        smaller = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(Image.fromarray(picture).resize(smaller, Image.Resampling.BOX))
