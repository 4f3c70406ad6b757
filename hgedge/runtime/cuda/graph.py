"""Work on a stream, recorded once as a CUDA graph and launched again with one call.

pycuda has no graphs. NVIDIA's cuda-bindings have, but each of their wheels is bound to one major version of CUDA,
which pip cannot choose by the driver that it finds; so the six calls go through ctypes, on the handles that pycuda's
streams tell.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
from collections.abc import Callable, Hashable
from typing import Any

from hgedge.errors import HgedgeError, KernelError
from hgedge.runtime.cuda.context import driver
from hgedge.runtime.cuda.libcuda import call

log = logging.getLogger(__name__)

THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may do what they like meanwhile


class Graph:
    """Work that was captured, ready to be launched."""

    def __init__(self, stream: Any, work: Callable[[], None]) -> None:
        """Capture, without running it, what `work` enqueues on a stream of pycuda.

        Raises:
            KernelError: CUDA cannot capture it.
        """
        self._executable = ctypes.c_void_p()
        graph = _captured(stream, work)
        try:
            call("cuGraphInstantiateWithFlags", ctypes.byref(self._executable), graph, ctypes.c_ulonglong(0))
        finally:
            call("cuGraphDestroy", graph)

    def launch(self, stream: Any) -> None:
        """Enqueue the work on a stream of pycuda."""
        call("cuGraphLaunch", self._executable, ctypes.c_void_p(stream.handle))

    def close(self) -> None:
        """Free it; it may not be running. Its context must be current."""
        executable, self._executable = self._executable, ctypes.c_void_p()
        if executable:
            with contextlib.suppress(KernelError):  # of a device that failed before, and frees nothing any more
                call("cuGraphExecDestroy", executable)


def _captured(stream: Any, work: Callable[[], None]) -> ctypes.c_void_p:
    handle, graph = ctypes.c_void_p(stream.handle), ctypes.c_void_p()
    call("cuStreamBeginCapture_v2", handle, ctypes.c_int(THREAD_LOCAL))
    try:
        work()
    except BaseException:
        with contextlib.suppress(KernelError):  # which tells of the same
            call("cuStreamEndCapture", handle, ctypes.byref(graph))
        if graph:
            call("cuGraphDestroy", graph)
        raise
    call("cuStreamEndCapture", handle, ctypes.byref(graph))
    return graph


class Replay:
    """Runs work on a stream: plainly the first time, captured into a graph the second, and from then on as that graph.

    So what runs once (a folder of pictures, each of another size) is never captured, and whatever an engine sets up in
    its first run is set up before a capture. Where CUDA cannot capture, all work runs plainly from then on, which is
    logged once with the reason.
    """

    def __init__(self, stream: Any, captures: bool = True) -> None:
        """Run on a stream of pycuda; without `captures`, always plainly."""
        self.stream = stream
        self.captures = captures
        self._graphs: dict[Hashable, Graph | None] = {}

    @property
    def size(self) -> int:
        """How many graphs there are."""
        return sum(graph is not None for graph in self._graphs.values())

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """Run work; the same key must stand for the same work, with the same addresses and sizes."""
        if self.captures and key in self._graphs and self._graphs[key] is None:
            self._capture(key, work)
        graph = self._graphs.setdefault(key, None) if self.captures else None
        if graph is None:
            work()
        else:
            graph.launch(self.stream)

    def _capture(self, key: Hashable, work: Callable[[], None]) -> None:
        try:
            self._graphs[key] = Graph(self.stream, work)
        except (HgedgeError, driver().Error) as error:
            self.captures = False
            reason = str(error)  # a kept record of the log would else keep the stream, by way of the traceback
            log.warning("CUDA cannot capture this engine into a graph (%s); it runs on plain streams, slower", reason)

    def forget(self, belongs: Callable[[Any], bool] = lambda key: True) -> None:
        """Free the graphs of the keys that `belongs` picks, by default all; none of them may be running."""
        for key in [key for key in self._graphs if belongs(key)]:
            graph = self._graphs.pop(key)
            if graph is not None:
                graph.close()
