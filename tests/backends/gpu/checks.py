"""What holds for every session on a CUDA device, whichever library is behind it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from hgedge.backends.base import DeviceSession, normalised
from hgedge.runtime.cuda.buffers import DeviceBuffer
from hgedge.runtime.cuda.graph import Graph
from hgedge.spec import InputSpec

NON_BLOCKING = 1


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found.astype(np.float32) - expected).max())


def check_any_number(session: DeviceSession, crops: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    for count in range(1, len(crops) + 1):
        found = session.run(crops[:count])
        assert found.dtype == np.float32 and largest_difference(found, expected[:count]) < tolerance, count


def check_threads(session: DeviceSession, crops: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    found: list[np.ndarray] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(session.run(crops).copy()))
        thread.start()
        thread.join()
    found.append(session.run(crops))
    assert len(found) == 3 and all(largest_difference(each, expected) < tolerance for each in found)


class Batch:
    """A batch on a stream and buffers of the caller's: from pinned memory to pinned memory."""

    def __init__(self, cuda: Any, session: DeviceSession, size: int, spec: InputSpec) -> None:
        self.cuda, self.session, self.size, self.spec = cuda, session, size, spec
        self.stream = cuda.Stream(NON_BLOCKING)
        kinds = (np.float16 if half else np.float32 for half in (session.half_image, session.half_heatmaps))
        shapes = ((size, spec.channels, *spec.hw), session.heatmaps_shape(size))
        self.given, self.found = (cuda.pagelocked_zeros(shape, kind) for shape, kind in zip(shapes, kinds))
        self.image, self.heatmaps = (
            DeviceBuffer(session.context, end.nbytes, "a test") for end in (self.given, self.found)
        )

    def enqueue(self) -> None:
        self.cuda.memcpy_htod_async(self.image.address, self.given, self.stream)
        self.session.enqueue(self.size, self.image.address, self.heatmaps.address, self.stream.handle)
        self.cuda.memcpy_dtoh_async(self.found, self.heatmaps.address, self.stream)

    def differs(self, crops: np.ndarray, expected: np.ndarray, run: Any) -> float:
        """How far the heatmaps of crops are from what is expected, once `run` has enqueued the work."""
        self.given[:] = normalised(crops, self.spec)
        self.found[:] = np.nan
        run()
        self.stream.synchronize()
        return largest_difference(self.found, expected)

    def close(self) -> None:
        self.image.close()
        self.heatmaps.close()
        self.given.base.free()
        self.found.base.free()
        self.stream = None


def check_capture(
    cuda: Any, session: DeviceSession, spec: InputSpec, crops: np.ndarray, expected: np.ndarray, tolerance: float
) -> None:
    """Plainly and as a graph, whatever other sizes ran meanwhile; two crops a batch, at least three crops."""
    with session.context:
        batch = Batch(cuda, session, 2, spec)
        try:
            assert batch.differs(crops[:2], expected[:2], batch.enqueue) < tolerance
            assert session.capturable
            graph = Graph(batch.stream, batch.enqueue)
            for size in (1, 3):
                session.run(crops[:size])
                launched = batch.differs(crops[1:3], expected[1:3], lambda: graph.launch(batch.stream))
                assert launched < tolerance
            graph.close()
        finally:
            batch.close()
