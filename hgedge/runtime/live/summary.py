"""What a run came to: counts, and how long things took."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hgedge.pose import Pose

KEPT = 100_000  # samples that percentiles are made of, the last ones: a camera may run for months
PERCENTILES = (50, 95, 99)
OUTPUT = "output"


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        frames: Frames that poses were estimated in.
        dropped: Frames of a live source that were thrown away for newer ones.
        people: Poses that were found, summed over frames.
        ids: Different ids among them; of pictures, which follow nobody, the most people in one.
        seconds: From before the first frame to after the last.
        fps: Frames a second over all of it.
        latency_ms: Stage -> p50, p95 and p99 in milliseconds, over the last frames; "output" is what drawing, showing
            and writing took, beside the next frame's stages.
        age_ms: The same, of the time from a frame's capture to its output.
    """

    frames: int
    dropped: int
    people: int
    ids: int
    seconds: float
    fps: float
    latency_ms: dict[str, dict[str, float]]
    age_ms: dict[str, float]


class Samples:
    """The last numbers of many."""

    def __init__(self) -> None:
        self._values = array("f")
        self._count = 0

    def add(self, value: float) -> None:
        """Take a number."""
        if len(self._values) < KEPT:
            self._values.append(value)
        else:
            self._values[self._count % KEPT] = value
        self._count += 1

    def percentiles(self) -> dict[str, float]:
        """p50, p95 and p99; nothing of nothing."""
        if not self._values:
            return {}
        found = np.percentile(np.asarray(self._values), PERCENTILES)
        return {f"p{percent}": round(float(value), 3) for percent, value in zip(PERCENTILES, found)}


class Tally:
    """What a run has come to so far."""

    def __init__(self) -> None:
        self.frames = 0
        self._people = self._ids = 0
        self._started_s = time.perf_counter()
        self._stages: dict[str, Samples] = {}
        self._age = Samples()

    def add(self, poses: Sequence[Pose], latency_ms: Mapping[str, float], age_ms: float, output_ms: float) -> None:
        """Count a frame."""
        self.frames += 1
        self._people += len(poses)
        self._ids = max((self._ids, *(pose.id + 1 for pose in poses)))  # ids are given from 0 on, without gaps
        for stage, value in {**latency_ms, OUTPUT: output_ms}.items():
            self._stages.setdefault(stage, Samples()).add(value)
        self._age.add(age_ms)

    def summary(self, dropped: int) -> Summary:
        """What it came to."""
        seconds = time.perf_counter() - self._started_s
        stages = {stage: samples.percentiles() for stage, samples in self._stages.items()}
        fps = round(self.frames / seconds, 2)
        age_ms = self._age.percentiles()
        return Summary(self.frames, dropped, self._people, self._ids, round(seconds, 3), fps, stages, age_ms)
