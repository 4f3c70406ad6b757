"""Raw frames on standard input, as `ffmpeg -f rawvideo` and camera programs write them."""

from __future__ import annotations

import logging
import math
import os
import select
import time
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from hgedge.errors import ConfigError, SourceError
from hgedge.pose import Frame
from hgedge.sources.clock import LiveClock
from hgedge.sources.source import Source, SourceInfo, Status

log = logging.getLogger(__name__)

STDIN = 0
NAP_S = 0.1  # how late a stop is noticed
MAX_SIDE = 1 << 15


@dataclass(frozen=True)
class RawFormat:
    """What bytes without a header mean.

    Attributes:
        frame_wh: Width and height of every frame.
        pixels: "bgr", "bgrx", "nv12" or "gray", which FFmpeg calls bgr24, bgr0, nv12 and gray; rows without padding.
        fps: Frames a second; without it, a frame's time is when it came.
        live: Whether only the newest frame counts; by default every frame is read, and the writer waits for us.
    """

    frame_wh: tuple[int, int]
    pixels: str = "bgr"
    fps: float | None = None
    live: bool = False

    def __post_init__(self) -> None:
        width, height = self.frame_wh
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise ConfigError(f"raw frames must be 1 to {MAX_SIDE} pixels wide and high, but got {width}x{height}")
        if self.pixels not in self._shapes():
            raise ConfigError(f"pixels of raw frames must be {', '.join(self._shapes())}, but got {self.pixels!r}")
        if self.pixels == "nv12" and (width % 2 or height % 2):
            raise ConfigError(f"raw NV12 frames must have even sizes, but got {width}x{height}")
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise ConfigError(f"frames a second of raw frames must be above 0, but got {self.fps}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a frame's array; see `hgedge.pose.Frame`."""
        return self._shapes()[self.pixels]

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        width, height = self.frame_wh
        return {
            "bgr": (height, width, 3),
            "bgrx": (height, width, 4),
            "nv12": (height * 3 // 2, width),
            "gray": (height, width),
        }

    def __str__(self) -> str:
        return f"{self.frame_wh[0]}x{self.frame_wh[1]} {self.pixels} ({math.prod(self.shape)} bytes)"


def open_raw(raw: RawFormat, file: int = STDIN) -> Source:
    """Open raw frames; the first is read at once.

    Args:
        raw: What they look like.
        file: Descriptor to read from; it stays open.

    Raises:
        SourceError: It is closed, a terminal, or ends before there was a whole frame.
    """
    status, clock = Status(), LiveClock()
    try:
        if os.isatty(file):
            raise SourceError(f"standard input is a terminal; pipe frames of {raw} into it")
        first = _frame(raw, file, 0, clock, status)
    except OSError as error:
        raise SourceError(f"standard input cannot be read: {error.strerror}") from error
    if first is None:
        raise SourceError(f"standard input ended before a whole frame of {raw} had come; check what writes into it")
    info = SourceInfo("camera" if raw.live else "pipe", raw.frame_wh, raw.fps)
    return Source(info, _frames(raw, file, first, clock, status), status=status)


def _frames(raw: RawFormat, file: int, first: Frame, clock: LiveClock, status: Status) -> Generator[Frame, None, None]:
    frame: Frame | None = first
    while frame is not None:
        yield frame
        frame = _frame(raw, file, frame.index + 1, clock, status)


def _frame(raw: RawFormat, file: int, index: int, clock: LiveClock, status: Status) -> Frame | None:
    """The next frame, None at the end or once nobody wants it."""
    started, image = time.monotonic(), np.empty(raw.shape, np.uint8)
    count = _fill(image, file, status)
    now = time.monotonic()
    if count < image.size:
        if count and not status.stopped:
            log.warning("standard input ended after %d bytes of frame %d of %s; check its size", count, index, raw)
        return None
    timestamp_s = index / raw.fps if raw.fps else clock(math.nan, now)
    return Frame(image, index, timestamp_s, now, (now - started) * 1000, pixels=raw.pixels)


def _fill(image: np.ndarray, file: int, status: Status) -> int:
    """Read into an array until it is full; how many bytes came before the end, or before a stop."""
    rest = image.reshape(-1).data
    while len(rest) and not status.stopped:
        if select.select([file], [], [], NAP_S)[0]:
            count = os.readv(file, [rest])
            if count == 0:
                break
            rest = rest[count:]
    return image.size - len(rest)
