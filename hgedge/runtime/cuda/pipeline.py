"""Frame to poses on an NVIDIA GPU: crops, engine and decode on the device, the next frame on its way meanwhile."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from hgedge import geometry
from hgedge.backends.base import DeviceSession
from hgedge.errors import BackendUnavailable, HgedgeError
from hgedge.pose import Frame, KeypointSet, Pose
from hgedge.runtime.cuda.alone import crops_alone, decoded_alone
from hgedge.runtime.cuda.runner import Flight, Runner
from hgedge.runtime.pipeline import Pipeline, people_in, poses_from
from hgedge.runtime.pixels import check_frame, frame_hw
from hgedge.spec import DecodeSpec, InputSpec, Manifest


@dataclass(eq=False)
class Ticket:
    """A frame that was handed in; `CudaPipeline.collect` gives its poses."""

    boxes: list[np.ndarray]
    started: float
    latency_ms: dict[str, float]
    flight: Flight | None = None
    poses: list[Pose] | None = None


class CudaPipeline(Pipeline):
    """`Pipeline` with all of it on the device. One caller at a time, in any thread; each thread may have its own.

    `latency_ms` of the last frame collected, in milliseconds. Crops, engine and decode run as one CUDA graph, so what
    lies within is not told apart:

        preprocess  of the host, before the device: checks, boxes, the frame's copy into pinned memory
        copy        of the device: pixels and boxes to it; beside the frame before. Near 0 on integrated GPUs
        infer       of the device: crops, engine, decode, keypoints to the host
        decode      of the host, after the device: keypoints into poses
        total       from `submit` to the end of `collect`; with a frame ahead, as in `stream`, waiting is part of it
    """

    def __init__(
        self,
        session: DeviceSession,
        input: InputSpec,
        keypoints: KeypointSet,
        decode: DecodeSpec,
        manifest: Manifest | None = None,
        graphs: bool = True,
    ) -> None:
        """Set up; the session and its context are closed with the pipeline.

        Args:
            session: The engine.
            input: What the network takes.
            keypoints: Names and skeleton of what it predicts.
            decode: How its heatmaps become keypoints.
            manifest: Of the bundle that it comes from.
            graphs: Whether to capture CUDA graphs, where the session can be captured; else plain streams.

        Raises:
            BackendUnavailable: There is not enough device memory. The session stays open.
            KernelError: There are no kernels for this device. The session stays open.
        """
        super().__init__(session, input, keypoints, decode, manifest)
        self.runner = Runner(session, input, decode, graphs)
        self._free = weakref.finalize(self, _free, self.runner, session)  # at the latest when Python ends

    def __call__(self, frame: np.ndarray, boxes: Iterable[np.ndarray] | None = None, pixels: str = "bgr") -> list[Pose]:
        """Estimate the pose of every box; see `Pipeline`."""
        if self._replaced():
            self._check_open()
            return super().__call__(frame, boxes, pixels)
        return self.collect(self.submit(frame, boxes, pixels))

    def submit(self, frame: np.ndarray, boxes: Iterable[np.ndarray] | None = None, pixels: str = "bgr") -> Ticket:
        """Begin with a frame, and return while the device works on it; arguments and errors as of a call.

        Two frames can be under way: a third waits for the first, whose poses are kept for `collect`.
        """
        started = time.perf_counter()
        self._check_open()
        check_frame(frame, pixels)
        people = people_in(frame_hw(frame, pixels), boxes)
        ticket = Ticket(people, started, dict.fromkeys(("preprocess", "copy", "infer", "decode", "total"), 0.0))
        if people:
            affines = np.stack([geometry.frame_from_input(box, self.input.hw) for box in people])
            ticket.flight = self.runner.start(frame, pixels, affines)
        ticket.latency_ms["preprocess"] = 1e3 * (time.perf_counter() - started)
        return ticket

    def collect(self, ticket: Ticket) -> list[Pose]:
        """Wait for a frame: one pose a box, in order; the same again if asked again."""
        if ticket.poses is None:
            self._check_open()
            ticket.poses = self._finished(ticket)
        self.latency_ms = ticket.latency_ms
        return ticket.poses

    def _finished(self, ticket: Ticket) -> list[Pose]:
        poses: list[Pose] = []
        if ticket.flight is not None:
            found = self.runner.finish(ticket.flight)
            waited = time.perf_counter()
            poses = poses_from(found[..., :2], found[..., 2], ticket.boxes)
            ticket.latency_ms.update(ticket.flight.latency_ms, decode=1e3 * (time.perf_counter() - waited))
        ticket.latency_ms["total"] = 1e3 * (time.perf_counter() - ticket.started)
        return poses

    def each(self, frames: Iterable[Frame], live: bool) -> Iterator[tuple[Frame, list[Pose], dict[str, float]]]:
        """As of `Pipeline`, the next frame under way meanwhile; not of a live source, whose poses would come late."""
        if live or self._replaced():
            yield from super().each(frames, live)
            return
        waiting: deque[tuple[Frame, Ticket]] = deque()
        try:
            for frame in frames:
                waiting.append((frame, self.submit(frame.image, pixels=frame.pixels)))
                yield from self._collected(waiting, but=1)
        except HgedgeError:  # of the next frame; the one before it is whole
            yield from self._collected(waiting)
            raise
        else:
            yield from self._collected(waiting)
        finally:
            if self._free.alive:
                self.runner.finish_all()

    def _collected(
        self, waiting: deque[tuple[Frame, Ticket]], but: int = 0
    ) -> Iterator[tuple[Frame, list[Pose], dict[str, float]]]:
        """The first frames that wait, with their poses, all `but` some."""
        while len(waiting) > but:
            frame, ticket = waiting.popleft()
            yield frame, self.collect(ticket), ticket.latency_ms

    def _replaced(self) -> bool:
        """Whether somebody put another session into this one's place, such as a flip test."""
        return self.session is not self.runner.session

    def crops(self, frame: np.ndarray, affines: list[np.ndarray]) -> np.ndarray:
        """The (N, H, W, C) uint8 crops of a BGR frame, as the device cuts them."""
        self._check_open()
        if not affines:
            return np.empty((0, *self.input.hw, self.input.channels), np.uint8)
        return crops_alone(*self.runner.lent(), frame, np.stack(affines), self.input)

    def poses(self, heatmaps: np.ndarray, affines: list[np.ndarray], boxes: list[np.ndarray]) -> list[Pose]:
        """Decode (N, K, h, w) heatmaps into poses in frame pixels, on the device."""
        self._check_open()
        if not affines:
            return []
        found = decoded_alone(*self.runner.lent(), heatmaps, np.stack(affines), self.decode)
        return poses_from(found[..., :2], found[..., 2], boxes)

    def close(self) -> None:
        """Wait for what is under way, and free all: graphs, buffers, the session, the context. Twice is fine."""
        self._free()

    def _check_open(self) -> None:
        if not self._free.alive:
            raise BackendUnavailable("this pipeline is closed; load its bundle again: hgedge.load(BUNDLE)")


def _free(runner: Runner, session: DeviceSession) -> None:
    """Free the runner, the session and its context, in this order, whatever fails."""
    with contextlib.ExitStack() as last:
        last.callback(session.context.close)
        last.callback(session.close)
        runner.close()
