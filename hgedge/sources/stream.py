"""Streams: what an address sends, as it comes.

Motion JPEG is decoded here, picture by picture, since FFmpeg makes up its times and OpenCV does not follow its size. In
other codecs OpenCV scales a size that changes midway to the first one, from 4.13 on; before, it repeats a picture.
"""

from __future__ import annotations

import itertools
import math
import re
import socket
import time
from collections.abc import Generator
from urllib.parse import urlsplit

import numpy as np

from hgedge.errors import SourceError
from hgedge.pose import Frame
from hgedge.sources import opencv
from hgedge.sources.clock import LiveClock, sane_fps
from hgedge.sources.opencv import cv2, quiet
from hgedge.sources.source import Source, SourceInfo
from hgedge.sources.video import UNREADABLE, readers, told_count, video_of

PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935}
END_OF_JPEG = b"\xff\xd9"
PROBE_S = 1.0


def open_stream(url: str) -> Source:
    """Open an address: a live stream, or a video or picture that ends; its first frames are decoded at once.

    Raises:
        SourceError: It refuses, says nothing for 8 s, or sends nothing that OpenCV can read.
    """
    name, started = shown(url), time.monotonic()
    with quiet():
        capture = _open(url)
    if not capture.isOpened():
        raise SourceError(f"{name} {UNREADABLE}: {_why_not(url, started)}; check that it is reachable")
    if told_count(capture) is not None:
        return video_of(capture, name, None)
    return _live(capture, name)


def shown(url: str) -> str:
    """An address without its password."""
    return re.sub(r"(://[^/?#]*?:)[^/?#]*@", r"\1***@", url)


def _open(url: str) -> cv2.VideoCapture:
    """Try one reader, as each may wait for 8 s; one thread, as FFmpeg holds a frame back in each further one."""
    reader = next(iter(readers()), cv2.CAP_ANY)
    settable = reader == cv2.CAP_FFMPEG and hasattr(cv2, "CAP_PROP_N_THREADS")  # since OpenCV 4.8
    one_thread = [cv2.CAP_PROP_N_THREADS, 1] if settable else []
    return cv2.VideoCapture(url, reader, [*opencv.timeouts(reader), *one_thread])


def _why_not(url: str, started: float) -> str:
    """What is known of an address that could not be opened."""
    waited_s = time.monotonic() - started
    if waited_s * 1000 >= opencv.OPEN_TIMEOUT_MS:
        return f"it sent no video for {waited_s:.0f} s"
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme.lower())
        if port is None:
            return f"nothing came by {parts.scheme}"
        socket.create_connection((parts.hostname, port), PROBE_S).close()
    except (OSError, ValueError) as error:
        return str(error)
    return "something answers there, but not with a video"


def _live(capture: cv2.VideoCapture, name: str) -> Source:
    jpeg = int(capture.get(cv2.CAP_PROP_FOURCC)) == cv2.VideoWriter.fourcc(*"MJPG")
    jpeg = jpeg and capture.set(cv2.CAP_PROP_FORMAT, -1)  # packets, not decoded
    fps = None if jpeg else sane_fps(capture.get(cv2.CAP_PROP_FPS))
    frames, ahead, num_frames = _frames(capture, jpeg, name), [], None
    try:
        ahead += [next(frames)]
        ahead += [next(frames)]
    except SourceError as error:
        if not ahead:
            capture.release()
            raise SourceError(f"{name} {UNREADABLE}: no frame of it can be decoded") from error
        num_frames = None if isinstance(error, _Stalled) else 1  # a picture
    height, width = ahead[0].image.shape[:2]
    return Source(SourceInfo("video", (width, height), fps, num_frames), _joined(ahead, frames), capture.release)


class _Stalled(SourceError):
    """No frame came in time."""


def _joined(ahead: list[Frame], frames: Generator[Frame, None, None]) -> Generator[Frame, None, None]:
    yield from ahead
    yield from frames


def _frames(capture: cv2.VideoCapture, jpeg: bool, name: str) -> Generator[Frame, None, None]:
    """Frames until the stream stalls or is cut off."""
    clock = LiveClock()
    for index in itertools.count():
        started = time.monotonic()
        image = _picture(capture) if jpeg else _decoded(capture)
        now = time.monotonic()
        if image is None and (now - started) * 1000 >= opencv.READ_TIMEOUT_MS:
            raise _Stalled(f"{name} gave no frame for {now - started:.0f} s after {index} frames")
        if image is None:
            raise SourceError(f"{name} was cut off after {index} frames")
        told_s = math.nan if jpeg else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        yield Frame(image, index, clock(told_s, now), now, (now - started) * 1000)


def _decoded(capture: cv2.VideoCapture) -> np.ndarray | None:
    with quiet():
        ok, image = capture.read()
    return image if ok else None


def _picture(capture: cv2.VideoCapture) -> np.ndarray | None:
    """Decode the next packet that is a whole picture."""
    until_s = time.monotonic() + opencv.READ_TIMEOUT_MS / 1000
    while time.monotonic() < until_s:
        packet = _decoded(capture)
        if packet is None:
            return None
        try:
            image = cv2.imdecode(packet, cv2.IMREAD_COLOR) if END_OF_JPEG in packet.tobytes() else None
        except cv2.error:  # a size beyond MAX_PIXELS
            continue
        if image is not None:
            return image
    return None
