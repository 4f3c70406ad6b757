"""Poses as COCO's keypoint results: what pycocotools' `loadRes` and other tools of the field read.

One JSON list, `{"image_id", "category_id", "keypoints": [x, y, score, ...], "score"}` a person, written as poses come:
a run of months takes no memory. A joint that is no number is 0, 0, 0.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.errors import ConfigError, SourceError
from hgedge.pose import Frame, Pose
from hgedge.sinks.partial import partial_file, put_in_place

PERSON = 1  # the category
NUMBER = re.compile(r"(?:COCO_\w+_)?([0-9]+)")  # names of COCO's pictures
PIXEL_DIGITS, SCORE_DIGITS = 2, 4


class CocoSink:
    """A file of COCO results.

    Nothing stands at the path until the `with` block ends; after an exception (other than Ctrl-C) nothing ever does,
    unless it is to be kept.

    Args:
        path: The file.
        keep: Keep what there is after an exception too, unless the file itself cannot be written.

    Raises:
        ConfigError: The path cannot be written to.
    """

    def __init__(self, path: Path | str, keep: bool = False) -> None:
        self.path, self._keep = Path(path), keep
        self._partial = partial_file(self.path)
        self._file = open(self._partial, "w", encoding="utf-8")
        self._separator, self._frames, self._failed = "[", 0, False
        self._pictures: set[int] = set()

    def write(self, frame: Frame, poses: Sequence[Pose]) -> None:
        """Add a frame's people.

        Args:
            frame: A picture whose name is a number has it as its id, as COCO's have; all others their position.
            poses: In any order.

        Raises:
            ConfigError: Another picture had the same id.
            SourceError: The disk is full.
        """
        image_id = frame.index
        if frame.name:
            number = NUMBER.fullmatch(Path(frame.name).stem)
            image_id = int(number[1]) if number else frame.index
            if image_id in self._pictures:
                raise ConfigError(
                    f"{self.path}: two pictures would have the id {image_id}, the latter {frame.name}; give pictures "
                    "that are all named by different numbers, or none by a number"
                )
            self._pictures.add(image_id)
        text = ""
        for pose in poses:
            text += f"{self._separator}\n" + json.dumps(result_record(image_id, pose), allow_nan=False)
            self._separator = ","
        self._put(text)
        self._frames += 1

    def __enter__(self) -> CocoSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            if self._frames and not self._failed and (self._keep or kind in (None, KeyboardInterrupt)):
                self._put("[]\n" if self._separator == "[" else "\n]\n")
                put_in_place(self._partial, self.path)
        finally:
            with contextlib.suppress(OSError):  # what could not be flushed before is tried again
                self._file.close()
            self._partial.unlink(missing_ok=True)

    def _put(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self._failed = True
            raise SourceError(f"{self.path} cannot be written: {error.strerror}") from error


def result_record(image_id: int, pose: Pose) -> dict[str, Any]:
    """A person as COCO's results have them."""
    joints = np.column_stack([pose.keypoints, pose.scores]).astype(np.float64)
    joints[~np.isfinite(joints).all(axis=1)] = 0
    digits = (PIXEL_DIGITS, PIXEL_DIGITS, SCORE_DIGITS)
    flat = [round(value, places) for joint in joints.tolist() for value, places in zip(joint, digits)]
    score = float(np.nan_to_num(pose.score))
    return {"image_id": image_id, "category_id": PERSON, "keypoints": flat, "score": round(score, SCORE_DIGITS)}
