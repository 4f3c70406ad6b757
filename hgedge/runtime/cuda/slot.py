"""Room for one frame under way: its pixels, where its people are, and what is found of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from hgedge.runtime.cuda.buffers import SharedBuffer
from hgedge.runtime.cuda.context import CudaContext, driver
from hgedge.runtime.cuda.kernels import DeviceFrame
from hgedge.runtime.pixels import frame_hw

CROP_BYTES, CELLS_BYTES = 6 * 8, 6 * 4  # a map in int64, a map in float32
FOUND = 3  # of a keypoint: x, y, score, in float32


class Slot:
    """Buffers and events of one frame.

    The buffers fit the largest frame and the most people so far; nothing is allocated for frames that fit. While a
    frame is under way the device may read or write them at any time, and the host keeps off.

    Attributes:
        frame: The picture, a DeviceFrame; None before the first.
        room: People that there is room for.
        copy_began: When its copies to the device began.
        copied: When they were done.
        began: When the work on the device began.
        done: When its results lay in the host's memory.
    """

    def __init__(self, context: CudaContext, num_keypoints: int, room: int) -> None:
        """Make room for some people, and for no pixels yet; `context` must be current."""
        self.num_keypoints = num_keypoints
        self.frame: Any = None
        self.room = 0
        self._pixels = SharedBuffer(context, "a frame")
        self._maps = SharedBuffer(context, "where people are")
        self._found = SharedBuffer(context, "keypoints")
        with context.told("pose estimation"):
            self.copy_began, self.copied, self.began, self.done = (driver().Event() for _ in range(4))
        self._reserve(0, room)

    def holds(self, frame: np.ndarray, pixels: str, people: int) -> bool:
        """Whether a frame goes where the one before lay, with its shape; if so, graphs of this slot stay true."""
        like = self.frame is not None and (self.frame.hw, self.frame.pixels) == (frame_hw(frame, pixels), pixels)
        return like and people <= self.room

    def make_room(self, frame: np.ndarray, pixels: str, people: int) -> None:
        """Fit a frame of another shape, or more people.

        Raises:
            BackendUnavailable: There is no memory for them.
        """
        self.frame = None
        self._reserve(frame.nbytes, max(people, self.room))
        self.frame = DeviceFrame(self._pixels.address, frame_hw(frame, pixels), frame.nbytes // len(frame), pixels)

    def _reserve(self, frame_bytes: int, room: int) -> None:
        self.room = 0
        self._pixels.reserve(frame_bytes)
        self._maps.reserve(room * (CROP_BYTES + CELLS_BYTES))
        self._found.reserve(room * self._person_bytes)
        self.room = room

    @property
    def _person_bytes(self) -> int:
        return self.num_keypoints * FOUND * np.dtype(np.float32).itemsize

    def write(self, frame: np.ndarray, crops: np.ndarray, cells: np.ndarray) -> None:
        """Put in a frame that it holds, and a map of each kind for every person, (N, 6) int64 and (N, 6) float32."""
        np.copyto(self._pixels.view(0, frame.shape, np.uint8), frame)
        self._maps.view(0, crops.shape, np.int64)[:] = crops
        self._maps.view(self.room * CROP_BYTES, cells.shape, np.float32)[:] = cells

    def upload(self, frame_bytes: int, stream: Any) -> None:
        """Begin to copy what was written to the device."""
        self.copy_began.record(stream)
        self._pixels.upload(stream, frame_bytes)
        self._maps.upload(stream, self.room * (CROP_BYTES + CELLS_BYTES))
        self.copied.record(stream)

    def crops_at(self, person: int) -> int:
        """Address of a person's map for `preprocess`; the next person's follows."""
        return self._maps.address + person * CROP_BYTES

    def cells_at(self, person: int) -> int:
        """Address of a person's map for `decode`; the next person's follows."""
        return self._maps.address + self.room * CROP_BYTES + person * CELLS_BYTES

    def found_at(self, person: int) -> int:
        """Address for a person's keypoints, (K, 3) float32; the next person's follow."""
        return self._found.address + person * self._person_bytes

    def download(self, first: int, count: int, stream: Any) -> None:
        """Begin to copy some people's keypoints to the host."""
        self._found.download(stream, first * self._person_bytes, (first + count) * self._person_bytes)

    def found(self, people: int) -> np.ndarray:
        """The keypoints of the first people, (N, K, 3) float32: x and y in frame pixels, score; the caller's own."""
        return self._found.view(0, (people, self.num_keypoints, FOUND), np.float32).copy()

    def close(self) -> None:
        """Free all, its context being current; twice is fine."""
        for buffer in (self._pixels, self._maps, self._found):
            buffer.close()
        self.copy_began = self.copied = self.began = self.done = None
