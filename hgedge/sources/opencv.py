"""OpenCV, or how to install it; how to keep it from printing, and from filling the memory.

Modules that need OpenCV import it from here, so that a missing one is told the same way everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from hgedge.errors import BackendUnavailable

MAX_PIXELS = 1 << 28  # of a picture: above every camera; OpenCV's own limit lets a lying header take 5 GB
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))  # read when OpenCV is first imported

try:
    import cv2
except ImportError as error:
    raise BackendUnavailable(
        f"pictures, videos and cameras need OpenCV, but it is not here ({error}); "
        "install it with: pip install 'hgedge[video]'"
    ) from error

__all__ = ["cv2", "quiet", "set_log_level"]

SILENT = 0


def set_log_level(level: int) -> int:
    """Set OpenCV's log level and return the one before; the function has moved between versions of OpenCV 4."""
    home = getattr(cv2.utils, "logging", cv2)
    return int(home.setLogLevel(level))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenCV and its FFmpeg from writing to stderr; hgedge reports what went wrong itself.

    FFmpeg's level comes from an environment variable, read at the process's first video; one that is set stays.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    before = set_log_level(SILENT)
    try:
        yield
    finally:
        set_log_level(before)
