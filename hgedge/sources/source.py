"""What every source is: facts known before the first frame, then frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hgedge.pose import Frame

STALLED_S = 2.0  # without a frame from a live source
State = Literal["live", "stalled", "retrying"]


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before its frames are read.

    Attributes:
        kind: "images", "video", "camera", or "pipe": raw frames whose writer waits for us.
        frame_wh: Width and height of every frame, after orientation; None where pictures may differ. Of a stream those
            of the first frame: it may change them midway.
        fps: Frames a second, None where there is no such thing or the source tells nonsense.
        num_frames: How many frames the source says it has; containers guess at times. None for live ones.
        path: File or folder; of a pattern the folder that its files share. None for cameras and streams.
    """

    kind: Literal["images", "video", "camera", "pipe"]
    frame_wh: tuple[int, int] | None = None
    fps: float | None = None
    num_frames: int | None = None
    path: Path | None = None

    @property
    def live(self) -> bool:
        """Whether frames come at their own pace and are lost if nobody takes them."""
        return self.kind == "camera" or (self.kind == "video" and self.num_frames is None and self.path is None)


@dataclass
class Status:
    """How reading goes: what a source and those that wrap it tell one another, from one thread to another.

    Attributes:
        stopped: Nobody wants more frames.
        retrying: The source is lost, and opened again.
        seen_s: `time.monotonic()` at which a reading thread got its last frame; None where there is no such thread.
        dropped: Frames that were read, but thrown away for newer ones.
    """

    stopped: bool = False
    retrying: bool = False
    seen_s: float | None = None
    dropped: int = 0


class Source:
    """Frames, read once, in order; leaving the `with` block releases the file or device.

    Attributes:
        info: What is known beforehand.
        status: How reading goes.
    """

    def __init__(
        self,
        info: SourceInfo,
        frames: Generator[Frame, None, None],
        release: Callable[[], None] | None = None,
        status: Status | None = None,
        stop: Callable[[], None] | None = None,
    ) -> None:
        """Join what reads the frames with what releases them.

        Args:
            info: What is known beforehand.
            frames: Reads them; closed before `release` is called.
            release: Releases the file or device, called once or more often.
            status: Shared with `frames`; a fresh one by default.
            stop: Ends a wait for the next frame; may be called by a signal handler.
        """
        self.info = info
        self.status = status or Status()
        self._frames = frames
        self._release = release
        self._stop = stop

    @property
    def dropped(self) -> int:
        """How many frames were thrown away so far, because newer ones came before anybody took them."""
        return self.status.dropped

    @property
    def state(self) -> State:
        """Whether a live source gives frames, gave none for 2 s, or is lost and opened again; others are "live"."""
        if self.status.retrying:
            return "retrying"
        seen_s = self.status.seen_s
        stalled = self.info.live and seen_s is not None and time.monotonic() - seen_s > STALLED_S
        return "stalled" if stalled else "live"

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def __next__(self) -> Frame:
        return next(self._frames)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def stop(self) -> None:
        """End the frames of `read_ahead`, though a read may be waiting; of other sources, a wait for what is lost.

        Any thread may call it, and a signal handler; `close` must follow.
        """
        self.status.stopped = True
        if self._stop is not None:
            self._stop()

    def close(self) -> None:
        """Release the file or device; no frames come after it. For the thread that takes the frames."""
        self._frames.close()
        if self._release is not None:
            self._release()
