"""Frames into a video file, every one of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from hgedge.errors import ConfigError, ShapeError, SourceError
from hgedge.sinks.partial import partial_file, put_in_place
from hgedge.sources.opencv import cv2, quiet

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
MIN_FREE_BYTES, INDEX_BYTES = 4 << 20, 64  # kept free to end a file with; the latter a frame, more than indices need
SMALLEST_PX = 2  # encoders take even sizes; an odd last row or column is left out


class VideoSink:
    """A video of frames of one size.

    Nothing stands at the path until the `with` block ends; after an exception (other than Ctrl-C, the way to end a
    live recording) nothing ever does, unless it is to be kept.

    Args:
        path: The file; its extension decides the codec.
        fps: Frames a second.
        frame_wh: Width and height of all frames; None takes those of the first.
        fit: Frames of another size are made smaller or larger, with black beside them; else they are refused.
        keep: Keep what there is after an exception too.

    Raises:
        ConfigError: The extension or the rate cannot be used, or the path cannot be written to.
    """

    def __init__(
        self,
        path: Path | str,
        fps: float,
        frame_wh: tuple[int, int] | None = None,
        fit: bool = False,
        keep: bool = False,
    ) -> None:
        self.path, self.fps, self.frame_wh = Path(path), fps, frame_wh
        self._fit, self._keep, self._count = fit, keep, 0
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
            SourceError: OpenCV has no encoder for it, or the disk is full.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ShapeError(f"a frame must be (H, W, 3) uint8, but got shape {image.shape} {image.dtype}")
        frame_wh = (image.shape[1], image.shape[0])
        if self.frame_wh is None:
            self.frame_wh = frame_wh
        if frame_wh != self.frame_wh and self._fit:
            image = fitted(image, self.frame_wh)
        elif frame_wh != self.frame_wh:
            raise ShapeError(
                f"{self.path} has frames of {self.frame_wh[0]} x {self.frame_wh[1]} pixels, but one of {frame_wh[0]} x "
                f"{frame_wh[1]} came; save pictures of different sizes into a folder instead"
            )
        if self._writer is None:
            self._writer = self._open(self.frame_wh)
        self._check_space()
        self._writer.write(image)
        self._count += 1

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            if self._writer is not None:
                self._writer.release()
                if self._count and (self._keep or kind in (None, KeyboardInterrupt)):
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

    def _check_space(self) -> None:
        """OpenCV says nothing when a disk is full; room for the index must be left, which is written at the end."""
        free = shutil.disk_usage(self._partial.parent).free
        if free < MIN_FREE_BYTES + INDEX_BYTES * self._count:
            raise SourceError(
                f"{self.path} cannot be written on: its disk is full but for {free >> 10} KiB; free some of it"
            )

    def _check_readable(self) -> None:
        """Without the index at its end, a file has no frames."""
        with quiet():
            capture = cv2.VideoCapture(str(self._partial))
            readable = capture.isOpened() and capture.read()[0]
            capture.release()
        if not readable:
            raise SourceError(f"{self.path} was not written whole, and is removed; the disk may be full")


def fitted(image: np.ndarray, frame_wh: tuple[int, int]) -> np.ndarray:
    """A picture in the middle of a frame, as large as it fits, black beside it."""
    scale = min(frame_wh[0] / image.shape[1], frame_wh[1] / image.shape[0])
    size_wh = [max(1, round(scale * side)) for side in image.shape[1::-1]]
    left, top = ((frame - side) // 2 for frame, side in zip(frame_wh, size_wh))
    frame = np.zeros((frame_wh[1], frame_wh[0], 3), np.uint8)
    frame[top : top + size_wh[1], left : left + size_wh[0]] = cv2.resize(
        image, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return frame


def is_video_name(path: Path) -> bool:
    """Whether a file of this name can be written as a video."""
    return path.suffix.lower() in CODECS
