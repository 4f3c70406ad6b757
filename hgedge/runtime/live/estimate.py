"""Frames to poses: whom to look for, the pipeline, who is who. `hgedge run` and `Pipeline.stream` both go this way."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hgedge.errors import ConfigError
from hgedge.people import Follower
from hgedge.pose import Frame, Pose
from hgedge.runtime.pixels import bgr_from
from hgedge.sources import Source, SourceInfo
from hgedge.tracking import Tracker

if TYPE_CHECKING:
    from hgedge.people import Detector
    from hgedge.runtime.pipeline import Pipeline

WHOLE = "whole"


@dataclass(frozen=True)
class People:
    """Who is looked for, and how they are followed.

    Attributes:
        detector: Finds people; None: each whole frame is one person, whose id is 0.
        max_people: Crops a frame.
        detect_every: Frames from one detection to the next.
        smooth: Whether joints are smoothed over time; None: of live sources, and of people who are followed through a
            video. Pictures never are, and the whole frames of a file stay as the engine gives them.
    """

    detector: Detector | None = None
    max_people: int = 8
    detect_every: int = 30
    smooth: bool | None = None

    def __post_init__(self) -> None:
        if min(self.max_people, self.detect_every) < 1:
            raise ConfigError(
                f"max_people and detect_every must be at least 1, but got {self.max_people} and {self.detect_every}"
            )

    def smooths(self, source: SourceInfo) -> bool:
        """Whether joints of this source's people are smoothed."""
        if source.kind == "images":
            return False
        return source.live or self.detector is not None if self.smooth is None else self.smooth


def people_of(
    where: str, max_people: int | None = None, detect_every: int | None = None, smooth: bool | None = None
) -> People:
    """`People` with its defaults for what is None.

    Args:
        where: "whole", "hog", "onnx:PATH" or "boxes:FILE".
        max_people: See `People`.
        detect_every: See `People`.
        smooth: See `People`.

    Raises:
        HgedgeError: The detector cannot be opened, or a number is below 1.
    """
    detector = None
    if where != WHOLE:
        from hgedge.people import open_people

        detector = open_people(where)
    given = {"max_people": max_people, "detect_every": detect_every, "smooth": smooth}
    return People(detector, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


@dataclass(eq=False)
class Estimate:
    """A frame's poses.

    Attributes:
        frame: The frame.
        poses: People in it, with track ids where they are followed.
        latency_ms: Stage -> milliseconds; "total" is all but "capture".
    """

    frame: Frame
    poses: list[Pose]
    latency_ms: dict[str, float]


def estimates(pipeline: Pipeline, source: Source, people: People) -> Generator[Estimate, None, None]:
    """The poses of every frame, in order.

    Args:
        pipeline: Frame to poses.
        source: Frames.
        people: Who is looked for.

    Raises:
        HgedgeError: The source, the detector or the pipeline failed.
    """
    if people.detector is None:
        return _whole(pipeline, source, people.smooths(source.info))
    follower = Follower(people.detector, pipeline.input.hw, people.detect_every, people.max_people)
    tracks = source.info.kind != "images"
    tracker = Tracker(pipeline.keypoints, people.smooths(source.info)) if tracks else None
    return _followed(pipeline, source, follower, tracker)


def _whole(pipeline: Pipeline, source: Source, smooth: bool) -> Generator[Estimate, None, None]:
    tracker = Tracker(pipeline.keypoints) if smooth else None
    for frame, poses, taken_ms in pipeline.each(source, source.info.live):
        if tracker is not None:
            tracked = tracker.update(poses, [None], frame.timestamp_s)
            poses = [replace(pose, id=0) for pose in tracked] or poses  # there is somebody, seen or not
        yield Estimate(frame, poses, {"capture": frame.capture_ms, **taken_ms})


def _followed(
    pipeline: Pipeline, source: Source, follower: Follower, tracker: Tracker | None
) -> Generator[Estimate, None, None]:
    """People who are detected, and then followed by their keypoints; without a tracker each frame is on its own."""
    for frame in source:
        started_s = time.perf_counter()
        picture = bgr_from(frame.image, frame.pixels)
        crops = follower.choose(frame, picture, () if tracker is None else tracker.tracks)
        chosen_s = time.perf_counter()
        poses = pipeline(frame.image, [crop.box_xyxy for crop in crops], frame.pixels)
        found_s = time.perf_counter()
        if tracker is not None:
            poses = tracker.update(poses, [crop.track_id for crop in crops], frame.timestamp_s)
        ended_s = time.perf_counter()
        taken_ms = {"capture": frame.capture_ms, "people": 1e3 * (chosen_s - started_s), **pipeline.latency_ms}
        del taken_ms["total"]  # that of the pipeline alone
        taken_ms.update(track=1e3 * (ended_s - found_s), total=1e3 * (ended_s - started_s))
        yield Estimate(frame, poses, taken_ms)
