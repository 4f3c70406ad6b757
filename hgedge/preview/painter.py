"""The thread that draws: the newest frame, once, and only where somebody takes it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from hgedge.errors import ConfigError, HgedgeError
from hgedge.preview.ledger import Shot
from hgedge.preview.recorder import MAX_FPS, Recorder, Recording
from hgedge.sources.opencv import cv2

log = logging.getLogger(__name__)

MAX_SIDE_PX = 1280  # of a picture that is shown; larger ones are made smaller
JPEG_QUALITY = 80


@dataclass(frozen=True)
class Picture:
    """A drawn frame, encoded.

    Attributes:
        number: That of its shot.
        jpeg: The file.
    """

    number: int
    jpeg: bytes


Order = tuple["Future[Recording]", Callable[[], Recording]]


class Painter:
    """Draws, records and encodes in a thread of its own, at most 30 frames a second.

    Args:
        recorder: Takes what is drawn; used by this thread alone.
        deliver: Called with each encoded picture.
    """

    def __init__(self, recorder: Recorder, deliver: Callable[[Picture], None]) -> None:
        self._recorder, self._deliver = recorder, deliver
        self._newest: Shot | None = None
        self._encoded = self._recorded = -1  # numbers of the shots that came last
        self._wanted = self._closed = self._failed = False
        self._orders: list[Order] = []
        self._next_s = 0.0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="preview-painter", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and the recording that runs."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def offer(self, shot: Shot) -> None:
        """Take a shot in place of the one before."""
        with self._changed:
            self._newest = shot
            self._changed.notify()

    def want(self) -> None:
        """Ask for a picture that is newer than the last."""
        with self._changed:
            self._wanted = True
            self._changed.notify()

    def order(self, act: Callable[[], Recording]) -> Future[Recording]:
        """Have the recorder do something in its thread."""
        future: Future[Recording] = Future()
        with self._changed:
            if self._closed:
                future.set_exception(ConfigError("the run has ended; nothing can be recorded any more"))
            else:
                self._orders.append((future, act))
                self._changed.notify()
        return future

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._orders or self._to_encode() or self._to_record())
            time.sleep(max(0.0, self._next_s - time.monotonic()))
            with self._changed:
                closed, shot = self._closed, self._newest
                orders, self._orders = self._orders, []
                encode, record = self._to_encode(), self._to_record()
                if encode:
                    self._wanted = False
            _carry_out(orders)
            if shot is not None and (encode or record):
                self._paint(shot, encode, record)
            if closed:
                break
        self._recorder.stop()

    def _to_encode(self) -> bool:
        return self._wanted and self._newest is not None and self._newest.number > self._encoded

    def _to_record(self) -> bool:
        return self._recorder.state.active and self._newest is not None and self._newest.number > self._recorded

    def _paint(self, shot: Shot, encode: bool, record: bool) -> None:
        self._next_s = time.monotonic() + 1 / MAX_FPS
        self._recorded = shot.number if record else self._recorded
        self._encoded = shot.number if encode else self._encoded
        try:
            drawn = shot.draw()
            if record:
                self._recorder.write(drawn, shot.frame.captured_s)
            if encode:
                self._deliver(Picture(shot.number, encoded(drawn)))
        except Exception:  # a picture is not worth the run
            if not self._failed:
                log.exception("the preview cannot show frame %d; further failures are not reported", shot.frame.index)
            self._failed = True
            if encode:
                self.want()


def encoded(image: np.ndarray) -> bytes:
    """A picture as JPEG, made smaller if it is larger than is shown.

    Args:
        image: (H, W, 3) uint8, BGR.

    Raises:
        HgedgeError: OpenCV refuses it.
    """
    scale = MAX_SIDE_PX / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        raise HgedgeError(f"OpenCV cannot encode a picture of shape {image.shape} as JPEG")
    return data.tobytes()


def _carry_out(orders: list[Order]) -> None:
    for future, act in orders:
        try:
            future.set_result(act())
        except Exception as error:
            future.set_exception(error)
