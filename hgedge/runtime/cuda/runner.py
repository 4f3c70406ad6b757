"""Frames to keypoints on the device, two of them under way at once.

    copy stream      frame n+1 to the device |                            | frame n+2 ...
    compute stream   frame n: crops, engine, decode, keypoints to the host | frame n+1 ...

Each frame has a slot of its own. The compute stream waits, by an event, for the slot's copies; the copy stream has no
need to wait, for the host writes into a slot only after it has seen the frame before it in that slot done. What the
engine reads and writes is there once: the compute stream takes one batch after the other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from hgedge.backends.base import DeviceSession
from hgedge.runtime.cuda.affines import fixed_point, frame_from_cells
from hgedge.runtime.cuda.buffers import DeviceBuffer
from hgedge.runtime.cuda.context import CudaContext, driver
from hgedge.runtime.cuda.graph import Replay
from hgedge.runtime.cuda.kernels import Kernels
from hgedge.runtime.cuda.slot import Slot
from hgedge.spec import DecodeSpec, InputSpec

SLOTS = 2
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: does not wait for what others do on the default stream


@dataclass(eq=False)
class Flight:
    """A frame under way, or done.

    Attributes:
        slot: Number of the slot that it is in.
        people: How many.
        found: (N, K, 3) float32 once it is done: x and y in frame pixels, score.
        latency_ms: Once it is done: copy (to the device) and infer (all that the device did then), in milliseconds.
    """

    slot: int
    people: int
    found: np.ndarray | None = None
    latency_ms: dict[str, float] = field(default_factory=dict)


class Runner:
    """The device half of a pipeline; one caller at a time, in any thread.

    Attributes:
        context: Of the session; everything here was made in it.
        kernels: Before and behind the engine.
    """

    def __init__(self, session: DeviceSession, input: InputSpec, decode: DecodeSpec, graphs: bool = True) -> None:
        """Allocate all that frames need but room for their pixels.

        Args:
            session: The engine; stays the caller's to close, after this.
            input: What it takes.
            decode: How its heatmaps become keypoints.
            graphs: Whether to capture CUDA graphs, where the session can be captured.

        Raises:
            BackendUnavailable: There is no memory for it; nothing is left allocated.
            KernelError: There are no kernels for this device.
        """
        self.session = session
        self.input = input
        self.decode = decode
        self.context = session.context
        self._flights: list[Flight | None] = [None] * SLOTS
        self._turn = 0
        with self.context, contextlib.ExitStack() as held:  # which frees what is there if a later step fails
            held.callback(self._let_go)
            self.kernels: Any = Kernels(self.context)
            with self.context.told("pose estimation"):
                self._copy, self._compute = (driver().Stream(NON_BLOCKING) for _ in range(2))
            largest = session.sizes[-1]
            shape = session.heatmaps_shape(largest)
            self._image = self._buffer(held, (largest, input.channels, *input.hw), session.half_image, "input")
            self._heatmaps = self._buffer(held, shape, session.half_heatmaps, "heatmaps")
            self._slots = []
            for _ in range(SLOTS):
                self._slots.append(Slot(self.context, shape[1], largest))
                held.callback(self._slots[-1].close)
            self._replay: Any = Replay(self._compute, graphs and session.capturable)
            held.callback(self._replay.forget)
            held.callback(self._settle)
            self._held = held.pop_all()

    def _buffer(self, held: contextlib.ExitStack, shape: Sequence[int], half: bool, what: str) -> int:
        buffer = DeviceBuffer(
            self.context, int(np.prod(shape)) * (2 if half else 4), f"the {what} of {shape[0]} people"
        )
        held.callback(buffer.close)
        return buffer.address

    def start(self, frame: np.ndarray, pixels: str, affines: np.ndarray) -> Flight:
        """Begin with a frame; returns as soon as it is on its way.

        Args:
            frame: uint8, of the shape that its pixels have; it may be changed once this returns.
            pixels: One of PIXELS.
            affines: (N, 2, 3) float64, frame pixels from input pixels, one a person; at least one.

        Raises:
            ShapeError: A crop lies too far from the frame.
            BackendUnavailable: There is no memory for a frame of this size, or for so many people.
            KernelError: CUDA fails.
        """
        batches = list(self._batches(len(affines)))
        padded = np.concatenate([affines, affines[-1:].repeat(sum(batches) - len(affines), axis=0)])
        crops, cells = fixed_point(padded), frame_from_cells(padded, self.decode.stride)
        index = self._turn
        under_way = self._flights[index]
        if under_way is not None:
            self.finish(under_way)
        with self.context, self.context.told("pose estimation"):
            try:
                self._write(index, frame, pixels, crops, cells)
                self._enqueue(index, frame.nbytes, batches)
            except BaseException:
                self._settle()
                raise
        flight = self._flights[index] = Flight(index, len(affines))
        self._turn = (index + 1) % SLOTS
        return flight

    def _batches(self, people: int) -> Iterator[int]:
        """Sizes that the engine takes, for at least so many people."""
        sizes = self.session.sizes
        while people > 0:
            size = next((size for size in sizes if size >= people), sizes[-1])
            yield size
            people -= size

    def _write(self, index: int, frame: np.ndarray, pixels: str, crops: np.ndarray, cells: np.ndarray) -> None:
        slot = self._slots[index]
        if not slot.holds(frame, pixels, len(crops)):
            self._replay.forget(lambda key: key[0] == index)
            slot.make_room(frame, pixels, len(crops))
        slot.write(frame, crops, cells)

    def _enqueue(self, index: int, frame_bytes: int, batches: Sequence[int]) -> None:
        slot, first = self._slots[index], 0
        slot.upload(frame_bytes, self._copy)
        self._compute.wait_for_event(slot.copied)
        slot.began.record(self._compute)
        for size in batches:
            self._replay.run((index, first, size), partial(self._work, slot, first, size))
            first += size
        slot.done.record(self._compute)

    def _work(self, slot: Slot, first: int, size: int) -> None:
        """Enqueue crops, engine, decode and the copy of keypoints to the host, for a batch of people."""
        session, stream = self.session, self._compute
        self.kernels.preprocess(
            slot.frame, slot.crops_at(first), size, self._image, session.half_image, self.input, stream
        )
        session.enqueue(size, self._image, self._heatmaps, stream.handle)
        self.kernels.decode(
            self._heatmaps,
            session.half_heatmaps,
            session.heatmaps_shape(size),
            slot.cells_at(first),
            self.decode,
            slot.found_at(first),
            stream,
        )
        slot.download(first, size, stream)

    def finish(self, flight: Flight) -> np.ndarray:
        """Wait for a frame: what was found, (N, K, 3) float32.

        Raises:
            KernelError: CUDA fails.
        """
        if flight.found is None:
            slot = self._slots[flight.slot]
            with self.context, self.context.told("pose estimation"):
                slot.done.synchronize()
                flight.latency_ms = {
                    "copy": slot.copied.time_since(slot.copy_began),
                    "infer": slot.done.time_since(slot.began),
                }
            flight.found = slot.found(flight.people)
            self._flights[flight.slot] = None
        return flight.found

    @property
    def under_way(self) -> int:
        """How many frames are."""
        return sum(flight is not None for flight in self._flights)

    @property
    def graphs(self) -> int:
        """How many graphs it has captured, and not forgotten since."""
        return self._replay.size

    def finish_all(self) -> None:
        """Wait for every frame that is under way."""
        for flight in self._flights:
            if flight is not None:
                self.finish(flight)

    def lent(self) -> tuple[CudaContext, Kernels, Any]:
        """Context, kernels and compute stream, for something else between frames."""
        return self.context, self.kernels, self._compute

    def _settle(self) -> None:
        """After an error: wait for what was begun, which reads memory of the slot."""
        for stream in (self._copy, self._compute):
            with contextlib.suppress(driver().Error):
                stream.synchronize()

    def close(self) -> None:
        """Wait for what is under way, and free all; the session stays. Once, before its context is closed."""
        with self.context:
            self._held.close()

    def _let_go(self) -> None:
        """Drop what pycuda frees with its last reference, while the context is current."""
        self.kernels = self._copy = self._compute = self._replay = None
