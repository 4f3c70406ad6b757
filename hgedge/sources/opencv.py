"""OpenCV, or how to install it; how to keep it from printing, from waiting long, and from filling the memory.

Modules that need OpenCV import it from here, so that a missing one is told the same way everywhere.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hgedge.errors import BackendUnavailable

MAX_PIXELS = 1 << 28  # of a picture: above every camera; OpenCV's own limit lets a lying header take 5 GB
OPEN_TIMEOUT_MS = 8_000  # to find out what a slow stream holds takes FFmpeg up to 5 s
READ_TIMEOUT_MS = 4_000  # for a frame; closing a stream or camera that stalls takes as long
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))  # read when OpenCV is first imported
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(READ_TIMEOUT_MS // 1000))  # read at the first frame

try:
    import cv2
except ImportError as error:
    raise BackendUnavailable(
        f"pictures, videos and cameras need OpenCV, but it is not here ({error}); "
        "install it with: pip install 'hgedge[video]'"
    ) from error

__all__ = ["cv2", "quiet", "set_log_level", "timeouts"]

SILENT = 0
_lock = threading.Lock()
_quiet = {"depth": 0, "before": SILENT}


def set_log_level(level: int) -> int:
    """Set OpenCV's log level and return the one before; the function has moved between versions of OpenCV 4."""
    home = getattr(cv2.utils, "logging", cv2)
    return int(home.setLogLevel(level))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenCV and its FFmpeg from writing to stderr, in all threads; hgedge reports what went wrong itself.

    FFmpeg's level comes from an environment variable, read at the process's first video; one that is set stays.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with _lock:
        if _quiet["depth"] == 0:
            _quiet["before"] = set_log_level(SILENT)
        _quiet["depth"] += 1
    try:
        yield
    finally:
        with _lock:
            _quiet["depth"] -= 1
            if _quiet["depth"] == 0:
                set_log_level(_quiet["before"])


def timeouts(reader: int) -> list[int]:
    """Parameters of `cv2.VideoCapture` that bound how long it waits for a stream; it would wait for 30 s.

    GStreamer has them since OpenCV 4.7; one that is older cannot be opened with them.
    """
    if reader == cv2.CAP_GSTREAMER and [int(part) for part in cv2.__version__.split(".")[:2]] < [4, 7]:
        return []
    return [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
