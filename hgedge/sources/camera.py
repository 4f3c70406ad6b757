"""Cameras that Linux shows as /dev/videoN."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Generator
from pathlib import Path

from hgedge.errors import BackendUnavailable, ConfigError
from hgedge.pose import Frame
from hgedge.sources.opencv import cv2, quiet
from hgedge.sources.source import Source, SourceInfo
from hgedge.sources.video import sane_fps

DEVICES = Path("/dev")
NAMES = Path("/sys/class/video4linux")


def found_cameras() -> list[str]:
    """The video devices of this machine, as "0 (USB Camera)", by number; some give no pictures, only metadata."""
    found = [match for path in DEVICES.glob("video*") if (match := re.fullmatch(r"video([0-9]+)", path.name))]
    return [f"{match[1]}{_name(match[0])}" for match in sorted(found, key=lambda match: int(match[1]))]


def _name(device: str) -> str:
    try:
        return f" ({(NAMES / device / 'name').read_text(encoding='utf-8', errors='replace').strip()})"
    except OSError:
        return ""


def open_camera_device(index: int, frame_wh: tuple[int, int] | None = None, fps: float | None = None) -> Source:
    """Open a camera, with motion JPEG where it offers that; see `hgedge.sources.open_camera`.

    Raises:
        BackendUnavailable: There is no such camera, or it gives no frames.
        ConfigError: The index is negative.
    """
    if index < 0:
        raise ConfigError(f"a camera is named by a number from 0, but got {index}")
    device = DEVICES / f"video{index}"
    if sys.platform == "linux":
        _check_device(index, device)
    with quiet():
        capture = cv2.VideoCapture(index, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)
        _ask(capture, frame_wh, fps)
        ok, image = capture.read() if capture.isOpened() else (False, None)
    if not ok or image is None:
        capture.release()
        raise BackendUnavailable(
            f"camera {index} ({device}) gave no picture; another program may be using it, or it is not a camera; "
            f"cameras found: {_listed()}"
        )
    info = SourceInfo("camera", (image.shape[1], image.shape[0]), sane_fps(capture.get(cv2.CAP_PROP_FPS)))
    return Source(info, _frames(capture, index), capture.release)


def _check_device(index: int, device: Path) -> None:
    if not device.exists():
        raise BackendUnavailable(
            f"camera {index} ({device}) is not there; cameras found: {_listed()}; plug it in or give another number"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise BackendUnavailable(f"camera {index} ({device}) may not be opened by you; join its group, often 'video'")


def _listed() -> str:
    return ", ".join(found_cameras()) or "none"


def _ask(capture: cv2.VideoCapture, frame_wh: tuple[int, int] | None, fps: float | None) -> None:
    """Ask for JPEG (raw pictures are slow over USB), a size, a rate, one buffer; drivers ignore what they lack."""
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    if frame_wh is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, frame_wh[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, frame_wh[1])
    if fps is not None:
        capture.set(cv2.CAP_PROP_FPS, fps)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)


def _frames(capture: cv2.VideoCapture, index: int) -> Generator[Frame, None, None]:
    """Frames until the camera is gone; the one read on opening is stale and not among them."""
    first_s, position = None, 0
    while True:
        started = time.perf_counter()
        ok, image = capture.read()
        now = time.monotonic()
        if not ok:
            raise BackendUnavailable(f"camera {index} stopped giving pictures after {position} frames; check its cable")
        first_s = now if first_s is None else first_s
        yield Frame(image, position, now - first_s, now, (time.perf_counter() - started) * 1000)
        position += 1
