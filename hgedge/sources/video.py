"""Videos: every frame, in order, with the container's times."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from pathlib import Path

from hgedge.errors import SourceError
from hgedge.pose import Frame
from hgedge.sources.clock import next_timestamp, sane_fps
from hgedge.sources.opencv import cv2, quiet
from hgedge.sources.source import Source, SourceInfo

log = logging.getLogger(__name__)

# Not OpenCV's own: CAP_IMAGES takes `x_01.jpg` for a numbered series, CAP_OPENCV_MJPEG prints to stderr.
READERS = (cv2.CAP_FFMPEG, cv2.CAP_GSTREAMER, cv2.CAP_AVFOUNDATION, cv2.CAP_MSMF)
MAX_FRAMES = 10**9  # a count beyond this (or below 1) is a container's "unknown"
NOTED_SHORTFALL = 0.05  # counts of frames are estimates in some containers
UNREADABLE = "is not a picture or video that OpenCV can read"


def open_video(path: Path) -> Source:
    """Open a video file; the first frame is decoded at once.

    Raises:
        SourceError: OpenCV cannot read it, or it has no frame.
    """
    with quiet():
        capture = _open(str(path))
    if capture is None:
        raise SourceError(f"{path} {UNREADABLE}; check that the file is whole")
    return video_of(capture, str(path), path)


def readers() -> list[int]:
    """What this OpenCV can read videos with, best first."""
    return [reader for reader in READERS if cv2.videoio_registry.hasBackend(reader)]


def told_count(capture: cv2.VideoCapture) -> int | None:
    """How many frames a container says that it has, None where it does not or cannot know."""
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if 1 <= count < MAX_FRAMES else None


def video_of(capture: cv2.VideoCapture, name: str, path: Path | None) -> Source:
    """A video as a source.

    Args:
        capture: Open, none of its frames read.
        name: What messages call it.
        path: Its file, if it is one.

    Raises:
        SourceError: It has no frame.
    """
    with quiet():
        started = time.perf_counter()
        ok, image = capture.read()
        capture_ms = (time.perf_counter() - started) * 1000
    if not ok:
        capture.release()
        raise SourceError(f"{name} {UNREADABLE}: no frame of it can be decoded")
    frame_wh = (image.shape[1], image.shape[0])
    info = SourceInfo("video", frame_wh, sane_fps(capture.get(cv2.CAP_PROP_FPS)), told_count(capture), path)
    return Source(info, _frames(capture, image, capture_ms, info, name), capture.release)


def _open(name: str) -> cv2.VideoCapture | None:
    for reader in readers():
        capture = cv2.VideoCapture(name, reader)
        if capture.isOpened():
            return capture
    return None


def _frames(
    capture: cv2.VideoCapture, image: cv2.typing.MatLike, capture_ms: float, info: SourceInfo, name: str
) -> Generator[Frame, None, None]:
    start_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    timestamp_s, index, ok = None, 0, True
    while ok:
        told_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 - start_s
        timestamp_s = next_timestamp(told_s, timestamp_s, index, info.fps)
        yield Frame(image, index, timestamp_s, time.monotonic(), capture_ms)
        index += 1
        started = time.perf_counter()
        ok, image = capture.read()
        capture_ms = (time.perf_counter() - started) * 1000
    if info.num_frames and index < info.num_frames * (1 - NOTED_SHORTFALL):
        log.warning("%s ended after %d of %d frames; the file may be damaged", name, index, info.num_frames)
    elif info.num_frames and index == info.num_frames + 1:  # before 4.11, OpenCV reads but one more than a file says
        log.warning("%s has more than its %d frames; OpenCV may not read all of them", name, info.num_frames)
