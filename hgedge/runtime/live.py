"""The loop of `hgedge run`: frames in, poses out to whoever takes them, until the source or the user ends it."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

import numpy as np

from hgedge.pose import Frame, Pose
from hgedge.runtime.pipeline import Pipeline
from hgedge.runtime.pixels import bgr_from
from hgedge.sources import Source

log = logging.getLogger(__name__)

KEPT = 100_000  # latencies that a summary is made of, the last ones: a camera may run for months
STAGES = ("capture", "preprocess", "infer", "decode", "total")

OnFrame = Callable[[Frame, list[Pose]], None]
Draw = Callable[[np.ndarray, list[Pose]], np.ndarray]


class RecordSink(Protocol):
    """Takes a frame's poses and how long they took."""

    def write(self, frame: Frame, poses: list[Pose], latency_ms: Mapping[str, float]) -> None:
        """Take a frame."""
        ...


class PictureSink(Protocol):
    """Takes drawn pictures: a file, or a window."""

    def write(self, image: np.ndarray, name: str = "") -> None:
        """Take an (H, W, 3) uint8 BGR picture."""
        ...


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        frames: Frames that were read.
        people: Poses that were found in them, summed over frames.
        seconds: From before the first frame to after the last.
        fps: Frames a second over all of it.
        latency_ms: Stage -> p50 and p95 in milliseconds, over the last frames.
    """

    frames: int
    people: int
    seconds: float
    fps: float
    latency_ms: dict[str, dict[str, float]]


@dataclass
class Tally:
    """What a run has come to so far."""

    frames: int = 0
    people: int = 0
    started: float = field(default_factory=time.perf_counter)
    latency_ms: dict[str, deque[float]] = field(default_factory=dict)

    def add(self, poses: list[Pose], latency_ms: Mapping[str, float]) -> None:
        """Count a frame."""
        self.frames += 1
        self.people += len(poses)
        for stage in STAGES:
            self.latency_ms.setdefault(stage, deque(maxlen=KEPT)).append(latency_ms[stage])

    def summary(self) -> Summary:
        """What it came to."""
        seconds = time.perf_counter() - self.started
        percentiles = {
            stage: dict(zip(("p50", "p95"), (round(float(value), 3) for value in np.percentile(values, (50, 95)))))
            for stage, values in self.latency_ms.items()
        }
        return Summary(self.frames, self.people, round(seconds, 3), round(self.frames / seconds, 2), percentiles)


def run_source(
    pipeline: Pipeline,
    source: Source,
    records: Sequence[RecordSink] = (),
    pictures: Sequence[PictureSink] = (),
    draw: Draw | None = None,
    limit: int | None = None,
    on_frame: OnFrame | None = None,
    ended: Callable[[], bool] = lambda: False,
) -> Summary:
    """Estimate poses in every frame and hand them on.

    Ctrl-C or SIGTERM ends the run after the frame at hand, as a reader of the records that went away does; the sinks
    are then closed in the ordinary way by whoever opened them. A second Ctrl-C is a KeyboardInterrupt.

    Args:
        pipeline: Frame to poses.
        source: Frames; already open.
        records: Take every frame's poses.
        pictures: Take every frame with its poses drawn by `draw`.
        draw: Draws poses into a copy of a frame; needed for pictures.
        limit: Stop after this many frames.
        on_frame: Called after each frame.
        ended: Asked after each frame whether to stop, such as for a window that was closed.
    """
    tally = Tally()
    with stop_signals() as stopped:
        for frame in source:
            poses = pipeline(frame.image, pixels=frame.pixels)
            latency_ms = {"capture": frame.capture_ms, **pipeline.latency_ms}
            tally.add(poses, latency_ms)
            try:
                for record in records:
                    record.write(frame, poses, latency_ms)
            except BrokenPipeError:
                log.info("the reader of the poses went away")
                break
            if pictures and draw is not None:
                drawn = draw(bgr_from(frame.image, frame.pixels), poses)
                for picture in pictures:
                    picture.write(drawn, frame.name)
            if on_frame is not None:
                on_frame(frame, poses)
            if stopped() or ended() or tally.frames == limit:
                break
    return tally.summary()


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Within the block, tell whether SIGINT or SIGTERM came; a second one is a KeyboardInterrupt.

    Only the main thread hears signals; in another one the answer is always no.
    """
    asked = threading.Event()

    def stop(number: int, where: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
