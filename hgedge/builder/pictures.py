"""The pictures of a calibration set, cropped and normalised as the engine's input will be."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from hgedge import geometry
from hgedge.builder.calibration import CalibrationSet, at_least
from hgedge.datasets import Person
from hgedge.errors import QuantizationError, SourceError
from hgedge.progress import Progress
from hgedge.runtime.preprocess import crop, normalise
from hgedge.sources.images import read_picture
from hgedge.spec import InputSpec

log = logging.getLogger(__name__)

MAX_UNREADABLE = 0.05  # share of the pictures that may fail to decode
MAX_MEANINGLESS = 0.5  # share that may show nothing: films fade to black
# of neighbours: the least of 4,700 photographs has 0.68; noise 0.05, as the poorest JPEG 0.34
MIN_CORRELATION = 0.5
LOOKED_AT = 256  # pixels a side, in the middle


class Pictures:
    """The normalised (C, H, W) float32 crops of a calibration set.

    Attributes:
        taken: Pictures of the set that were taken so far; iteration goes on after them.
        used: Those that were given.
        unreadable: Those that could not be read.
        meaningless: Those given that show nothing, see `shows_something`.
    """

    def __init__(self, chosen: CalibrationSet, spec: InputSpec, progress: Progress) -> None:
        self.chosen, self.spec, self.progress = chosen, spec, progress
        self.taken = self.used = self.unreadable = self.meaningless = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        out = np.empty((*self.spec.hw, self.spec.channels), np.uint8)
        for chosen in self.chosen.pictures[self.taken :]:
            self.taken += 1
            try:
                picture = chosen.read() if isinstance(chosen, Person) else read_picture(chosen)
            except SourceError as error:
                log.warning("calibration skips a picture: %s", error)
                self.unreadable += 1
                continue
            whole = geometry.whole_frame_box(picture.shape[:2])
            box = chosen.box_xyxy if isinstance(chosen, Person) else whole
            crop(picture, geometry.frame_from_input(box, self.spec.hw), out)
            self.used += 1
            self.meaningless += not shows_something(picture)
            self.progress("calibrate", self.used, len(self.chosen.pictures))
            yield normalise(out[None], self.spec)[0]

    def check_enough(self) -> None:
        """Raise QuantizationError where too few pictures could be read, or too few show something."""
        if self.unreadable > MAX_UNREADABLE * len(self.chosen.pictures):
            raise QuantizationError(
                f"{self.unreadable} of {len(self.chosen.pictures)} calibration pictures of {self.chosen.origin} "
                "cannot be read; remove or replace them"
            )
        at_least(self.used, self.chosen.origin)
        if self.meaningless > MAX_MEANINGLESS * self.used:
            raise QuantizationError(
                f"{self.meaningless} of {self.used} calibration pictures of {self.chosen.origin} are noise or of one "
                "colour, and ranges of such are not those of photographs; give pictures like those that it will see"
            )


def shows_something(picture: np.ndarray) -> bool:
    """Whether neighbouring pixels tell something of each other, as in any photograph or drawing, but not in noise.

    Args:
        picture: (H, W, 3) uint8.
    """
    height, width = picture.shape[:2]
    top, left = max(0, (height - LOOKED_AT) // 2), max(0, (width - LOOKED_AT) // 2)
    grey = picture[top : top + LOOKED_AT, left : left + LOOKED_AT].mean(axis=2)
    grey -= grey.mean()
    variance = (grey**2).mean()
    neighbours = [(grey[:, 1:], grey[:, :-1]), (grey[1:], grey[:-1])]
    return any((one * other).mean() > MIN_CORRELATION * variance > 0 for one, other in neighbours if one.size)
