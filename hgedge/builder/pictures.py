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


class Pictures:
    """The normalised (C, H, W) float32 crops of a calibration set; counts those that could not be read."""

    def __init__(self, chosen: CalibrationSet, spec: InputSpec, progress: Progress) -> None:
        self.chosen, self.spec, self.progress = chosen, spec, progress
        self.used = self.unreadable = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        out = np.empty((*self.spec.hw, self.spec.channels), np.uint8)
        for chosen in self.chosen.pictures:
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
            self.progress("calibrate", self.used, len(self.chosen.pictures))
            yield normalise(out[None], self.spec)[0]

    def check_enough(self) -> None:
        """Raise QuantizationError where too few pictures could be read."""
        if self.unreadable > MAX_UNREADABLE * len(self.chosen.pictures):
            raise QuantizationError(
                f"{self.unreadable} of {len(self.chosen.pictures)} calibration pictures of {self.chosen.origin} "
                "cannot be read; remove or replace them"
            )
        at_least(self.used, self.chosen.origin)
