"""Videos: every frame, in order, with the container's times."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator
from pathlib import Path

from hgedge.errors import SourceError
from hgedge.pose import Frame
from hgedge.sources.opencv import cv2, quiet
from hgedge.sources.source import Source, SourceInfo

log = logging.getLogger(__name__)

# Not OpenCV's own: CAP_IMAGES takes `x_01.jpg` for a numbered series, CAP_OPENCV_MJPEG prints to stderr.
READERS = (cv2.CAP_FFMPEG, cv2.CAP_GSTREAMER, cv2.CAP_AVFOUNDATION, cv2.CAP_MSMF)
FPS_RANGE = (0.1, 480.0)  # beyond it containers tell nonsense: 1000 stands for "unknown" in WebM
FALLBACK_FPS = 25.0
MAX_FRAMES = 10**9  # a count beyond this (or below 1) is a container's "unknown"
NOTED_SHORTFALL = 0.05  # counts of frames are estimates in some containers


def open_video(spec: Path | str) -> Source:
    """Open a video file or the URL of a stream; the first frame is decoded at once.

    Raises:
        SourceError: OpenCV cannot read it, or it has no frame.
    """
    with quiet():
        capture = _open(str(spec))
        if capture is None:
            hint = "check that it is reachable" if isinstance(spec, str) else "check that the file is whole"
            raise SourceError(f"{spec} is not a picture or video that OpenCV can read; {hint}")
        started = time.perf_counter()
        ok, image = capture.read()
        capture_ms = (time.perf_counter() - started) * 1000
    if not ok:
        capture.release()
        raise SourceError(f"{spec} is not a picture or video that OpenCV can read: no frame of it can be decoded")
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    info = SourceInfo(
        kind="video",
        frame_wh=(image.shape[1], image.shape[0]),
        fps=sane_fps(capture.get(cv2.CAP_PROP_FPS)),
        num_frames=int(count) if 1 <= count < MAX_FRAMES else None,
        path=spec if isinstance(spec, Path) else None,
    )
    return Source(info, _frames(capture, image, capture_ms, info, str(spec)), capture.release)


def sane_fps(fps: float) -> float | None:
    """A frame rate as a container or driver tells it, None where it cannot be true."""
    return fps if math.isfinite(fps) and FPS_RANGE[0] <= fps <= FPS_RANGE[1] else None


def next_timestamp(told_s: float, previous_s: float | None, index: int, fps: float | None) -> float:
    """Seconds of a frame since the start: as told if that rises, else index / fps, and always later than the previous.

    Args:
        told_s: What the container says, counted from its first frame; may be NaN, 0 or fall back.
        previous_s: The previous frame's result, None for the first.
        index: Position of the frame, from 0.
        fps: Frames a second, None if unknown (then 25 is taken).
    """
    if previous_s is None:
        return 0.0
    if math.isfinite(told_s) and told_s > previous_s:
        return told_s
    period = 1 / (fps or FALLBACK_FPS)
    return max(index * period, previous_s + period)


def _open(spec: str) -> cv2.VideoCapture | None:
    for reader in READERS:
        if cv2.videoio_registry.hasBackend(reader):
            capture = cv2.VideoCapture(spec, reader)
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
