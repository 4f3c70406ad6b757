"""Frames into a video file, every one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hgedge.errors import ConfigError, ShapeError, SourceError
from hgedge.sinks.partial import partial_file, put_in_place
from hgedge.sources.opencv import cv2, quiet

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
SMALLEST_PX = 2  # encoders take even sizes; an odd last row or column is left out


class VideoSink:
    """A video of frames of one size.

    Nothing stands at the path until the `with` block ends; after an exception (other than Ctrl-C, the way to end a
    live recording) nothing ever does.

    Args:
        path: The file; its extension decides the codec.
        fps: Frames a second.
        frame_wh: Width and height of all frames; None takes those of the first.

    Raises:
        ConfigError: The extension or the rate cannot be used, or the path cannot be written to.
    """

    def __init__(self, path: Path | str, fps: float, frame_wh: tuple[int, int] | None = None) -> None:
        self.path, self.fps, self.frame_wh = Path(path), fps, frame_wh
        if not is_video_name(self.path):
            raise ConfigError(f"{self.path} has an extension of no video; known are {' '.join(CODECS)}")
        if not 0 < fps <= 1000:
            raise ConfigError(f"fps of a video must be above 0 and at most 1000, but got {fps}")
        if frame_wh is not None and min(frame_wh) < SMALLEST_PX:
            raise ConfigError(
                f"{path} cannot hold frames of {frame_wh[0]} x {frame_wh[1]} pixels; save into a folder instead"
            )
        self._partial = partial_file(self.path)
        self._writer: cv2.VideoWriter | None = None

    def write(self, image: np.ndarray, name: str = "") -> None:
        """Add a frame.

        Args:
            image: (H, W, 3) uint8, BGR.
            name: Not used; pictures have names.

        Raises:
            ShapeError: The frame has another size than the video.
            SourceError: OpenCV has no encoder for it.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ShapeError(f"a frame must be (H, W, 3) uint8, but got shape {image.shape} {image.dtype}")
        frame_wh = (image.shape[1], image.shape[0])
        if self.frame_wh is None:
            self.frame_wh = frame_wh
        if frame_wh != self.frame_wh:
            raise ShapeError(
                f"{self.path} has frames of {self.frame_wh[0]} x {self.frame_wh[1]} pixels, but one of {frame_wh[0]} x "
                f"{frame_wh[1]} came; save pictures of different sizes into a folder instead"
            )
        if self._writer is None:
            self._writer = self._open(frame_wh)
        self._writer.write(image)

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            if self._writer is not None:
                self._writer.release()
                if kind in (None, KeyboardInterrupt):
                    self._check_readable()
                    put_in_place(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _open(self, frame_wh: tuple[int, int]) -> cv2.VideoWriter:
        codec = CODECS[self.path.suffix.lower()]
        with quiet():
            writer = cv2.VideoWriter(str(self._partial), cv2.VideoWriter.fourcc(*codec), self.fps, frame_wh)
        if min(frame_wh) < SMALLEST_PX or not writer.isOpened():
            raise SourceError(
                f"{self.path} cannot be written: OpenCV has no encoder {codec} for {frame_wh[0]} x {frame_wh[1]} pixels"
                f" at {self.fps:g} frames a second; try another extension ({' '.join(CODECS)}) or a folder of pictures"
            )
        return writer

    def _check_readable(self) -> None:
        """OpenCV says nothing when a disk is full; then the index at the file's end is missing."""
        with quiet():
            capture = cv2.VideoCapture(str(self._partial))
            readable = capture.isOpened() and capture.read()[0]
            capture.release()
        if not readable:
            raise SourceError(f"{self.path} was not written whole, and is removed; the disk may be full")


def is_video_name(path: Path) -> bool:
    """Whether a file of this name can be written as a video."""
    return path.suffix.lower() in CODECS
