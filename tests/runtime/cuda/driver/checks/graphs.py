"""Capture and graphs."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.runtime.cuda.driver.checks.harness import call, check, context, pinned, scaling, statistics, value
from tests.runtime.cuda.driver.checks.results import Result

GLOBAL, THREAD_LOCAL, RELAXED = range(3)


def begin(stream: Any, mode: int = THREAD_LOCAL) -> None:
    assert call("cuStreamBeginCapture_v2", stream.handle, mode) == 0


def end(stream: Any) -> int:
    """The result; the graph, if there is one, is destroyed."""
    graph = ctypes.c_uint64()
    result = call("cuStreamEndCapture", stream.handle, ctypes.byref(graph))
    assert bool(graph.value) == (result == 0)
    if graph.value:
        assert call("cuGraphDestroy", graph.value) == 0
    return result


def status(stream: Any) -> int:
    out = ctypes.c_int()
    assert call("cuStreamIsCapturing", stream.handle, ctypes.byref(out)) == 0
    return out.value


@contextlib.contextmanager
def executable(stream: Any) -> Iterator[list[int]]:
    """Capture what is enqueued within; afterwards the list holds the executable graph's handle."""
    handles: list[int] = []
    begin(stream)
    yield handles
    graph = ctypes.c_uint64()
    assert call("cuStreamEndCapture", stream.handle, ctypes.byref(graph)) == 0
    handles.append(value("cuGraphInstantiateWithFlags", graph.value, 0))
    assert call("cuGraphDestroy", graph.value) == 0


@check()
def a_graph_replays_with_its_arguments_and_the_memory_of_the_moment(cuda: Any) -> None:
    with context(cuda):
        stream, memory = cuda.Stream(1), cuda.mem_alloc(8)
        source, back, scale = pinned(cuda, [1, 2]), pinned(cuda, [0, 0]), scaling(cuda)
        factor = np.array([10], np.float32)
        with executable(stream) as handles:
            cuda.memcpy_htod_async(memory, source, stream)
            scale.prepared_async_call((1, 1), (1, 1, 1), stream, int(memory), factor[0], int(memory), 2)
            cuda.memcpy_dtoh_async(back, memory, stream)
        factor[0] = 77
        assert statistics()["operations"] == {}, "a capture runs nothing"
        for number in range(3):
            source[:] = number, 5
            assert call("cuGraphLaunch", handles[0], stream.handle) == 0
            stream.synchronize()
            assert back.tolist() == [10 * number, 50]
        assert statistics()["operations"] == {"copy to device": 3, "copy to host": 3, "kernel scale": 3}
        assert call("cuGraphExecDestroy", handles[0]) == 0
        assert statistics()["live"]["graphs"] == statistics()["live"]["graph_execs"] == 0
        del source, back


@check()
def launches_of_one_graph_follow_each_other_on_any_streams(cuda: Any) -> None:
    with context(cuda):
        first, second, memory, scale = cuda.Stream(1), cuda.Stream(1), cuda.mem_alloc(4), scaling(cuda)
        cuda.memcpy_htod(memory, np.ones(1, np.float32))
        cuda.Context.synchronize()
        with executable(first) as handles:
            scale.prepared_async_call((1, 1), (1, 1, 1), first, int(memory), 2.0, int(memory), 1)
        assert call("cuGraphLaunch", handles[0], first.handle) == call("cuGraphLaunch", handles[0], second.handle) == 0
        second.synchronize()
        assert statistics()["operations"]["kernel scale"] == 2
        call("cuGraphExecDestroy", handles[0])


@check()
def a_capture_forks_and_joins_by_events(cuda: Any) -> None:
    with context(cuda):
        main, side, fork, join = cuda.Stream(1), cuda.Stream(1), cuda.Event(), cuda.Event()
        memory, back = cuda.mem_alloc(2), cuda.pagelocked_zeros(2, np.uint8)
        with executable(main) as handles:
            fork.record(main)
            side.wait_for_event(fork)
            assert (status(main), status(side)) == (1, 1)
            cuda.memset_d8_async(memory, 4, 1, side)
            cuda.memset_d8_async(int(memory) + 1, 6, 1, main)
            join.record(side)
            main.wait_for_event(join)
            cuda.memcpy_dtoh_async(back, memory, main)
        assert (status(main), status(side)) == (0, 0)
        call("cuGraphLaunch", handles[0], main.handle)
        main.synchronize()
        assert back.tolist() == [4, 6]
        try:
            raise AssertionError(join.synchronize())
        except cuda.LogicError as error:  # it was never recorded in fact
            assert "last recorded in a capturing stream" in str(error)
        call("cuGraphExecDestroy", handles[0])
        del back


@check()
def a_fork_must_be_joined(cuda: Any) -> None:
    with context(cuda):
        main, side, fork = cuda.Stream(1), cuda.Stream(1), cuda.Event()
        memory = cuda.mem_alloc(1)
        begin(main)
        fork.record(main)
        side.wait_for_event(fork)
        cuda.memset_d8_async(memory, 4, 1, side)
        assert end(main) == Result.CAPTURE_UNJOINED
        assert status(side) == 0
        memory.free()


@check()
def what_may_not_be_done_while_capturing_spoils_the_capture(cuda: Any) -> None:
    with context(cuda):
        stream, other, memory, pageable = cuda.Stream(), cuda.Stream(), cuda.mem_alloc(4), np.zeros(4, np.uint8)
        event, outside = value("cuEventCreate", 0), value("cuEventCreate", 0)
        call("cuEventRecord", outside, other.handle)
        out, host = ctypes.byref(ctypes.c_uint64()), pageable.ctypes.data
        forbidden = [
            (Result.CAPTURE_UNSUPPORTED, "cuMemAlloc_v2", out, 4),
            (Result.CAPTURE_UNSUPPORTED, "cuMemFree_v2", int(memory)),
            (Result.CAPTURE_UNSUPPORTED, "cuMemHostAlloc", out, 4, 0),
            (Result.CAPTURE_UNSUPPORTED, "cuModuleLoadData", out, b""),
            (Result.CAPTURE_UNSUPPORTED, "cuStreamSynchronize", stream.handle),
            (Result.CAPTURE_UNSUPPORTED, "cuStreamQuery", stream.handle),
            (Result.CAPTURE_UNSUPPORTED, "cuStreamSynchronize", other.handle),
            (Result.CAPTURE_UNSUPPORTED, "cuCtxSynchronize"),
            (Result.CAPTURE_UNSUPPORTED, "cuMemcpyHtoDAsync_v2", int(memory), host, 4, stream.handle),
            (Result.CAPTURE_UNSUPPORTED, "cuMemcpyDtoHAsync_v2", host, int(memory), 4, stream.handle),
            (Result.CAPTURE_UNSUPPORTED, "cuEventQuery", outside),
            (Result.CAPTURED_EVENT, "cuEventQuery", event),
            (Result.CAPTURED_EVENT, "cuEventSynchronize", event),
            (Result.CAPTURE_ISOLATION, "cuStreamWaitEvent", stream.handle, outside, 0),
            (Result.CAPTURE_IMPLICIT, "cuMemsetD8Async", int(memory), 0, 4, 0),
            (Result.CAPTURE_IMPLICIT, "cuMemcpyDtoH_v2", host, int(memory), 4),
            (Result.CAPTURE_IMPLICIT, "cuEventRecord", outside, 0),
        ]
        for expected, name, *arguments in forbidden:
            begin(stream)
            assert call("cuEventRecord", event, stream.handle) == 0
            assert call(name, *arguments) == expected, name
            assert status(stream) == 2
            assert call("cuMemsetD8Async", int(memory), 0, 4, stream.handle) == Result.CAPTURE_INVALIDATED, name
            assert end(stream) == Result.CAPTURE_INVALIDATED, name
            assert call("cuMemsetD8Async", int(memory), 0, 4, stream.handle) == 0, name
            stream.synchronize()
        call("cuEventDestroy_v2", event), call("cuEventDestroy_v2", outside)
        memory.free()


@check()
def captures_begin_and_end_where_they_may(cuda: Any) -> None:
    with context(cuda):
        stream, other, event = cuda.Stream(1), cuda.Stream(1), value("cuEventCreate", 0)
        assert call("cuStreamBeginCapture_v2", 0, RELAXED) == Result.CAPTURE_UNSUPPORTED
        assert end(stream) == Result.ILLEGAL_STATE
        begin(stream)
        assert call("cuStreamBeginCapture_v2", stream.handle, RELAXED) == Result.ILLEGAL_STATE
        codes: list[int] = []

        def elsewhere(primary: Any = cuda.Context.get_current()) -> None:  # noqa: B008
            primary.push()
            codes.append(end(stream))
            primary.pop()

        thread = threading.Thread(target=elsewhere)
        thread.start(), thread.join()
        assert codes == [Result.CAPTURE_WRONG_THREAD]
        assert end(stream) == 0
        begin(stream), begin(other)
        call("cuEventRecord", event, stream.handle)
        assert call("cuStreamWaitEvent", other.handle, event, 0) == Result.CAPTURE_MERGE
        assert (end(stream), end(other)) == (Result.CAPTURE_INVALIDATED, Result.CAPTURE_INVALIDATED)
        begin(stream)
        call("cuEventRecord", event, stream.handle), call("cuStreamWaitEvent", other.handle, event, 0)
        assert (end(other), end(stream)) == (Result.CAPTURE_UNMATCHED, Result.CAPTURE_INVALIDATED)
        call("cuEventDestroy_v2", event)


@check()
def modes_say_whom_a_capture_concerns(cuda: Any) -> None:
    with context(cuda) as primary:
        stream = cuda.Stream(1)

        def allocate(codes: list[int]) -> None:
            primary.push()
            out = ctypes.c_uint64()
            codes.append(call("cuMemAlloc_v2", ctypes.byref(out), 4))
            call("cuMemFree_v2", out.value)
            primary.pop()

        for mode, here, elsewhere in (
            (GLOBAL, Result.CAPTURE_UNSUPPORTED, Result.CAPTURE_UNSUPPORTED),
            (THREAD_LOCAL, Result.CAPTURE_UNSUPPORTED, 0),
            (RELAXED, 0, 0),
        ):
            for expected, threaded in ((here, False), (elsewhere, True)):
                codes: list[int] = []
                begin(stream, mode)
                if threaded:
                    thread = threading.Thread(target=allocate, args=(codes,))
                    thread.start(), thread.join()
                else:
                    codes.append(call("cuMemAlloc_v2", ctypes.byref(out := ctypes.c_uint64()), 4))
                    call("cuMemFree_v2", out.value)
                assert codes == [expected], (mode, threaded)
                assert end(stream) == (Result.CAPTURE_INVALIDATED if expected else 0)


@check()
def host_functions_are_captured(cuda: Any) -> None:
    seen: list[int] = []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def note(number: int) -> None:
        seen.append(number)

    with context(cuda):
        stream = cuda.Stream(1)
        with executable(stream) as handles:
            call("cuLaunchHostFunc", stream.handle, note, 8)
        call("cuGraphLaunch", handles[0], stream.handle), call("cuGraphLaunch", handles[0], stream.handle)
        assert seen == []
        stream.synchronize()
        assert seen == [8, 8]
        call("cuGraphExecDestroy", handles[0])
