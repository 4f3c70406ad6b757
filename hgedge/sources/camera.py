"""Cameras that Linux shows as /dev/videoN."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Generator
from pathlib import Path

from hgedge.errors import BackendUnavailable
from hgedge.pose import Frame
from hgedge.sources.clock import LiveClock, sane_fps
from hgedge.sources.opencv import cv2, quiet
from hgedge.sources.source import Source, SourceInfo

DEVICES = Path("/dev")
NAMES = Path("/sys/class/video4linux")
ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def found_cameras() -> list[str]:
    """The video devices of this machine, as "0 (USB Camera)", by number; some give no pictures, only metadata."""
    return [f"{number} ({name})" if (name := name_of(number)) else str(number) for number in numbers()]


def numbers() -> list[int]:
    """N of each /dev/videoN, ascending."""
    found = (re.fullmatch(r"video([0-9]+)", path.name) for path in DEVICES.glob("video*"))
    return sorted(int(match[1]) for match in found if match)


def name_of(number: int) -> str:
    """What the driver calls /dev/videoN, "" where it does not say."""
    try:
        return (NAMES / f"video{number}" / "name").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def open_camera_device(
    index: int, frame_wh: tuple[int, int] | None = None, fps: float | None = None, turn: int = 0
) -> Source:
    """Open a camera through V4L2, with motion JPEG where it offers that; see `hgedge.sources.open_camera`.

    Raises:
        BackendUnavailable: There is no such camera, or it gives no frames.
    """
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
            f"cameras found: {listed()}"
        )
    wh = (image.shape[1], image.shape[0])
    info = SourceInfo("camera", turned(wh, turn), sane_fps(capture.get(cv2.CAP_PROP_FPS)))
    return Source(info, frames_of(capture, str(index), turn=turn), capture.release)


def _check_device(index: int, device: Path) -> None:
    if not device.exists():
        raise BackendUnavailable(
            f"camera {index} ({device}) is not there; cameras found: {listed()}; plug it in or give another number"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise BackendUnavailable(f"camera {index} ({device}) may not be opened by you; join its group, often 'video'")


def listed() -> str:
    """`found_cameras`, for a message."""
    return ", ".join(found_cameras()) or "none"


def turned(frame_wh: tuple[int, int], turn: int) -> tuple[int, int]:
    """Width and height of a frame once it is turned by so many degrees."""
    return frame_wh[::-1] if turn % 180 else frame_wh


def _ask(capture: cv2.VideoCapture, frame_wh: tuple[int, int] | None, fps: float | None) -> None:
    """Ask for JPEG (raw pictures are slow over USB), a size, a rate, one buffer; drivers ignore what they lack."""
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    if frame_wh is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, frame_wh[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, frame_wh[1])
    if fps is not None:
        capture.set(cv2.CAP_PROP_FPS, fps)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)


def frames_of(capture: cv2.VideoCapture, name: str, pixels: str = "bgr", turn: int = 0) -> Generator[Frame, None, None]:
    """Frames until the camera is gone; the one read on opening is stale and not among them.

    Args:
        capture: Open.
        name: What messages call the camera.
        pixels: How its frames are laid out.
        turn: Degrees clockwise to turn them by, of BGR only.
    """
    clock, position = LiveClock(), 0
    while True:
        started = time.perf_counter()
        with quiet():
            ok, image = capture.read()
        now = time.monotonic()
        if not ok:
            raise BackendUnavailable(f"camera {name} stopped giving pictures after {position} frames; check its cable")
        if turn:
            image = cv2.rotate(image, ROTATIONS[turn])
        timestamp_s = clock(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, now)
        yield Frame(image, position, timestamp_s, now, (time.perf_counter() - started) * 1000, pixels=pixels)
        position += 1
