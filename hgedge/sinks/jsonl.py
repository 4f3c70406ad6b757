"""Poses as JSON, one line a frame, written at once so that others can follow."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hgedge.errors import ConfigError, SourceError
from hgedge.pose import Frame, Pose

STAGES = ("capture", "preprocess", "infer", "decode", "total")
PIXEL_DIGITS, SCORE_DIGITS, MS_DIGITS, SECOND_DIGITS = 2, 4, 3, 6


class JsonlSink:
    """A file of JSON lines, or stdout for "-"; what was written stays, whatever happens later.

    A file that an error leaves without a line is removed.

    Raises:
        ConfigError: The file cannot be written to.
    """

    def __init__(self, path: Path | str) -> None:
        self.path, self._lines = path, 0
        self._own = str(path) != "-"
        if not self._own:
            self._file = sys.stdout
            return
        try:
            self._file = open(path, "w", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from error

    def write(
        self, frame: Frame, poses: Sequence[Pose], latency_ms: Mapping[str, float], age_ms: float | None = None
    ) -> None:
        """Write a frame's line.

        Args:
            frame: What the poses were found in.
            poses: In any order.
            latency_ms: Milliseconds of each stage; "capture" is the frame's own where it is missing, others are null.
            age_ms: From the frame's capture to now; measured if None.

        Raises:
            SourceError: The disk is full. A reader that went away is a BrokenPipeError as everywhere.
        """
        line = json.dumps(frame_record(frame, poses, latency_ms, age_ms), allow_nan=False)
        try:
            self._file.write(line + "\n")
            self._file.flush()
            self._lines += 1
        except BrokenPipeError:
            raise
        except OSError as error:
            raise SourceError(f"{self.path} cannot be written: {error.strerror}") from error

    def __enter__(self) -> JsonlSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if not self._own:
            return
        try:
            self._file.close()
        except OSError as error:  # what could not be flushed before is tried again
            if kind is None:
                raise SourceError(f"{self.path} cannot be written: {error.strerror}") from error
        if kind is not None and not self._lines and Path(self.path).is_file():
            Path(self.path).unlink()


def frame_record(
    frame: Frame, poses: Sequence[Pose], latency_ms: Mapping[str, float], age_ms: float | None = None
) -> dict[str, Any]:
    """A frame's line as plain data; what is not finite is None."""
    age_ms = (time.monotonic() - frame.captured_s) * 1000 if age_ms is None else age_ms
    told = {"capture": frame.capture_ms, **latency_ms}
    stages = {**told, **{stage: math.nan for stage in STAGES if stage not in told}}
    return {
        "frame": frame.index,
        "timestamp_s": _number(frame.timestamp_s, SECOND_DIGITS),
        "age_ms": _number(age_ms, MS_DIGITS),
        "people": [_person(pose) for pose in poses],
        "latency_ms": {stage: _number(value, MS_DIGITS) for stage, value in stages.items()},
    }


def _person(pose: Pose) -> dict[str, Any]:
    points = np.asarray(pose.keypoints, dtype=np.float64).tolist()
    scores = np.asarray(pose.scores, dtype=np.float64).tolist()
    return {
        "id": int(pose.id),
        "box_xyxy": [_number(side, PIXEL_DIGITS) for side in pose.box_xyxy],
        "score": _number(pose.score, SCORE_DIGITS),
        "keypoints": [
            [_number(x, PIXEL_DIGITS), _number(y, PIXEL_DIGITS), _number(score, SCORE_DIGITS)]
            for (x, y), score in zip(points, scores, strict=True)
        ],
    }


def _number(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
