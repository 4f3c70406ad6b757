"""Whom a run looks for, and what becomes of them from frame to frame, with an engine and a detector that are known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from hgedge.datasets.keypoint_sets import LSP14
from hgedge.errors import ConfigError
from hgedge.pose import Frame
from hgedge.runtime.live import Estimate, People, estimates, people_of
from hgedge.runtime.pipeline import Pipeline
from hgedge.sources import Source, SourceInfo
from hgedge.spec import DecodeSpec, InputSpec

pytest.importorskip("cv2")

JOINTS = np.array([[joint % 7 / 6, joint // 7] for joint in range(14)]) - 0.5  # (14, 2) x, y: a body of size 1
TREMBLES_PX = 8.0
VIDEO = SourceInfo("video", (640, 480), 25.0, 50)
CAMERA = SourceInfo("camera", (640, 480), 25.0)
PICTURES = SourceInfo("images", num_frames=50)
x, y = np.meshgrid(np.arange(640) * 255 / 639, np.arange(480) * 255 / 479)
PLACES = np.stack([x, y, 0 * x], axis=2).astype(np.uint8)  # a picture whose colours tell where a crop was cut


@dataclass
class World:
    """An engine that knows where people are, and sees in each crop the one in its middle; they tremble sideways."""

    centers: np.ndarray
    size_px: float
    peak: float = 0.8
    batches: list[int] = field(default_factory=list)

    def run(self, crops: np.ndarray) -> np.ndarray:
        heatmaps = np.zeros((len(crops), 14, 16, 16), np.float32)
        for crop, maps in zip(crops, heatmaps):
            x, y = crop[2::4, 2::4, 0] * (639 / 255), crop[2::4, 2::4, 1] * (479 / 255)
            middle = self.centers[np.hypot(*(self.centers - [x[8, 8], y[8, 8]]).T).argmin()]
            joints = middle + self.size_px * JOINTS + [TREMBLES_PX * (len(self.batches) % 2), 0]
            for joint, heatmap in zip(joints, maps):
                heatmap.flat[np.hypot(x - joint[0], y - joint[1]).argmin()] = self.peak
        self.batches.append(len(crops))
        return heatmaps

    def close(self) -> None: ...


def one(peak: float = 0.8) -> World:
    return World(np.array([[320, 240]]), 300, peak)


def row(count: int) -> World:
    return World(np.array([[100 * index + 50, 145] for index in range(count)]), 70)


@dataclass
class Row:
    """A detector of people side by side."""

    count: int
    followed: bool = True
    cropped: bool = True
    asked: list[int] = field(default_factory=list)

    def detect(self, frame: Frame, image_bgr: np.ndarray) -> np.ndarray:
        assert image_bgr.shape == (480, 640, 3)
        self.asked.append(frame.index)
        left = 100.0 * np.arange(self.count)
        ones = np.ones(self.count)
        return np.stack([left, 100 * ones, left + 90, 190 * ones, ones], axis=1).astype(np.float32)


def found(info: SourceInfo, people: People, engine: World, count: int = 20) -> list[Estimate]:
    frames = (Frame(PLACES, index, index / 25, 0.0, 2.0) for index in range(count))
    pipeline = Pipeline(engine, InputSpec((64, 64)), LSP14, DecodeSpec())
    return list(estimates(pipeline, Source(info, frames), people))


def spread(results: list[Estimate]) -> float:
    """Pixels that the first person's joints move by from frame to frame."""
    return float(np.abs(np.diff([result.poses[0].keypoints[:, 0] for result in results], axis=0)).mean())


@pytest.mark.parametrize(
    ("info", "smooth", "trembles"),
    [
        (VIDEO, None, True),
        (VIDEO, False, True),
        (VIDEO, True, False),
        (CAMERA, None, False),
        (CAMERA, False, True),
        (PICTURES, None, True),
        (PICTURES, True, True),
    ],
)
def test_whole_frames_are_smoothed_where_they_are_live_or_it_is_wished(info, smooth, trembles: bool) -> None:
    results = found(info, People(smooth=smooth), one())
    assert [[pose.id for pose in result.poses] for result in results] == [[0]] * 20
    raw = spread(found(VIDEO, People(), one()))
    assert spread(results) == raw if trembles else spread(results) < 0.6 * raw


def test_the_one_person_of_a_whole_frame_is_there_even_where_nobody_is_seen() -> None:
    results = found(CAMERA, People(), one(peak=0.05))
    assert [[pose.id for pose in result.poses] for result in results] == [[0]] * 20


@pytest.mark.parametrize(("smooth", "trembles"), [(None, False), (False, True)])
def test_people_of_a_video_are_followed_and_smoothed(smooth, trembles: bool) -> None:
    detector, engine = Row(3), row(3)
    results = found(VIDEO, People(detector, detect_every=8, smooth=smooth), engine)
    assert [[pose.id for pose in result.poses] for result in results] == [[0, 1, 2]] * 20
    assert engine.batches == [3] * 20 and detector.asked == [0, 8, 16]
    assert (spread(results) > TREMBLES_PX / 2) == trembles
    stages = ["capture", "people", "preprocess", "infer", "decode", "track", "total"]
    for result in results:
        assert list(result.latency_ms) == stages and result.latency_ms["capture"] == 2.0
        assert result.latency_ms["total"] >= sum(result.latency_ms[stage] for stage in stages[1:-1]) - 1e-6


def test_people_of_pictures_are_looked_for_in_each() -> None:
    detector, engine = Row(2), row(2)
    results = found(PICTURES, People(detector), engine, count=5)
    assert detector.asked == [0, 1, 2, 3, 4] and engine.batches == [2] * 5
    assert [[pose.id for pose in result.poses] for result in results] == [[0, 1]] * 5


def test_no_more_people_than_wished_and_everybody_in_turn() -> None:
    engine = row(5)
    results = found(VIDEO, People(Row(5), max_people=2, detect_every=100, smooth=False), engine)
    assert max(engine.batches) == 2
    assert {pose.id for pose in results[-1].poses} == {0, 1, 2, 3, 4}


def test_nobody_is_no_work_for_the_engine() -> None:
    engine = row(1)
    results = found(VIDEO, People(Row(0)), engine, count=3)
    assert engine.batches == [] and [result.poses for result in results] == [[], [], []]
    assert all(result.latency_ms["infer"] < 1 for result in results)


def test_detectors_see_bgr_whatever_the_camera_gives() -> None:
    pipeline = Pipeline(row(1), InputSpec((64, 64)), LSP14, DecodeSpec())
    frames = (Frame(np.zeros((720, 640), np.uint8), index, 0.0, 0.0, 0.0, pixels="nv12") for index in range(2))
    detector = Row(1)
    assert len(list(estimates(pipeline, Source(CAMERA, frames), People(detector)))) == 2
    assert detector.asked[0] == 0


@pytest.mark.parametrize(("limits", "message"), [((0, 1), "but got 0 and 1"), ((1, -2), "but got 1 and -2")])
def test_limits_that_are_none(limits: tuple[int, int], message: str) -> None:
    with pytest.raises(ConfigError, match=f"max_people and detect_every must be at least 1, {message}"):
        people_of("whole", *limits)


def test_options_left_out_are_the_defaults() -> None:
    assert people_of("whole") == People() == People(None, 8, 30, None)
    with pytest.raises(ConfigError, match="people are found by whole, hog, onnx:PATH or boxes:FILE, but got 'dogs'"):
        people_of("dogs")
