"""What every source is: facts known before the first frame, then frames."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hgedge.pose import Frame


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before its frames are read.

    Attributes:
        kind: "images", "video" or "camera".
        frame_wh: Width and height of every frame, after orientation; None where pictures may differ.
        fps: Frames a second, None where there is no such thing or the source tells nonsense.
        num_frames: How many frames the source says it has; containers guess at times. None for live ones.
        path: File or folder; of a pattern the folder that its files share. None for cameras and streams.
    """

    kind: Literal["images", "video", "camera"]
    frame_wh: tuple[int, int] | None = None
    fps: float | None = None
    num_frames: int | None = None
    path: Path | None = None

    @property
    def live(self) -> bool:
        """Whether frames come at their own pace and are lost if nobody takes them."""
        return self.kind == "camera" or (self.kind == "video" and self.num_frames is None and self.path is None)


class Source:
    """Frames, read once, in order; leaving the `with` block releases the file or device.

    Attributes:
        info: What is known beforehand.
    """

    def __init__(
        self, info: SourceInfo, frames: Generator[Frame, None, None], release: Callable[[], None] | None = None
    ) -> None:
        self.info = info
        self._frames = frames
        self._release = release

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def __next__(self) -> Frame:
        return next(self._frames)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file or device; no frames come after it."""
        self._frames.close()
        if self._release is not None:
            self._release()
