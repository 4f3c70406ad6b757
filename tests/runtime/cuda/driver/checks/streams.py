"""Streams, events and host functions."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np

from tests.runtime.cuda.driver.checks.harness import (
    call,
    check,
    context,
    pinned,
    statistics,
    value,
)
from tests.runtime.cuda.driver.checks.results import Result


def copied_through(cuda: Any, wait: bool) -> np.ndarray:
    """To the device on one stream, back on another, with or without an event between them."""
    first, second, event = cuda.Stream(1), cuda.Stream(1), cuda.Event()
    source, back, memory = pinned(cuda, np.arange(4)), pinned(cuda, np.zeros(4)), cuda.mem_alloc(16)
    cuda.memcpy_htod_async(memory, source, first)
    event.record(first)
    if wait:
        second.wait_for_event(event)
    cuda.memcpy_dtoh_async(back, memory, second)
    second.synchronize()
    first.synchronize()
    return np.array(back)


@check(schedule="lazy")
def a_missing_wait_shows_when_lazy(cuda: Any) -> None:
    with context(cuda):
        assert np.isnan(copied_through(cuda, wait=False)).all()
        assert copied_through(cuda, wait=True).tolist() == [0, 1, 2, 3]


@check(schedule="random:3")
def a_missing_wait_shows_now_and_then_at_random(cuda: Any) -> None:
    with context(cuda):
        wrong = [bool(np.isnan(copied_through(cuda, wait=False)).any()) for _ in range(50)]
        assert 5 < sum(wrong) < 45, sum(wrong)
        assert all(copied_through(cuda, wait=True).tolist() == [0, 1, 2, 3] for _ in range(50))


@check(schedule="eager")
def an_eager_driver_hides_it(cuda: Any) -> None:
    with context(cuda):
        assert copied_through(cuda, wait=False).tolist() == [0, 1, 2, 3]


@check()
def a_pinned_buffer_is_read_late_and_a_pageable_one_at_once(cuda: Any) -> None:
    with context(cuda):
        stream, memory, back = cuda.Stream(1), cuda.mem_alloc(4), np.zeros(1, np.float32)
        for source, expected in ((pinned(cuda, [1]), 7), (np.ones(1, np.float32), 1)):
            cuda.memcpy_htod_async(memory, source, stream)
            source[:] = 7  # too early
            cuda.memcpy_dtoh_async(back, memory, stream)
            assert back[0] == expected
            del source


@check()
def only_what_must_run_runs(cuda: Any) -> None:
    with context(cuda):
        streams, memory = [cuda.Stream(1) for _ in range(2)], cuda.mem_alloc(64)
        events = [cuda.Event() for _ in range(2)]
        for stream, event in zip(streams, events):
            cuda.memset_d8_async(memory, 0, 64, stream)
            event.record(stream)
            cuda.memset_d8_async(memory, 0, 64, stream)
        assert statistics()["operations"] == {}
        events[0].synchronize()
        assert statistics()["operations"] == {"memset": 1}
        assert not events[1].query() and events[1].query()  # a query is a step
        assert statistics()["operations"] == {"memset": 2}
        cuda.Context.synchronize()
        assert statistics()["operations"] == {"memset": 4} and statistics()["pending"] == 0


@check()
def the_default_stream_waits_for_blocking_ones_alone(cuda: Any) -> None:
    with context(cuda):
        memory, back = cuda.mem_alloc(1), np.zeros(1, np.uint8)
        for flags, expected in ((0, 5), (1, 3)):
            stream = cuda.Stream(flags)
            cuda.memset_d8(memory, 3, 1)
            cuda.Context.synchronize()
            cuda.memset_d8_async(memory, 5, 1, stream)
            cuda.memcpy_dtoh(back, memory)
            assert back[0] == expected
            cuda.Context.synchronize()
            cuda.memcpy_htod(memory, np.full(1, 9, np.uint8))  # staged, but perhaps still under way
            cuda.memcpy_dtoh_async(back, memory, stream)
            assert back[0] == (9 if flags == 0 else 5)


@check()
def events_measure_time(cuda: Any) -> None:
    with context(cuda):
        start, end, blind, elapsed = (
            value("cuEventCreate", 0),
            value("cuEventCreate", 0),
            value("cuEventCreate", 2),
            ctypes.c_float(),
        )
        measure = ("cuEventElapsedTime", ctypes.byref(elapsed))
        assert call(*measure, start, end) == Result.INVALID_HANDLE, "never recorded"
        assert call("cuEventQuery", start) == 0, "no work is done work"
        for event in (start, end, blind):
            assert call("cuEventRecord", event, 0) == 0
        assert call(*measure, start, end) == Result.NOT_READY
        assert call("cuEventSynchronize", end) == call(*measure, start, end) == 0
        assert elapsed.value >= 0
        assert call(*measure, start, blind) == Result.INVALID_HANDLE
        for event in (start, end, blind):
            call("cuEventDestroy_v2", event)


@check()
def host_functions_run_in_order_and_may_not_call(cuda: Any) -> None:
    with context(cuda):
        stream, memory, back = cuda.Stream(1), cuda.mem_alloc(1), cuda.pagelocked_zeros(1, np.uint8)
        seen: list[tuple[int, int]] = []

        @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        def note(_: object) -> None:
            seen.append((int(back[0]), call("cuCtxSynchronize")))

        cuda.memset_d8_async(memory, 4, 1, stream)
        cuda.memcpy_dtoh_async(back, memory, stream)
        assert call("cuLaunchHostFunc", stream.handle, note, None) == 0
        assert seen == []
        stream.synchronize()
        assert seen == [(4, Result.NOT_PERMITTED)]


@check()
def a_host_function_that_waits_holds_up_no_other_thread(cuda: Any) -> None:
    called, begun = threading.Event(), threading.Event()
    waited: list[bool] = []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def wait(_: object) -> None:
        begun.set()
        waited.append(called.wait(10))

    with context(cuda) as primary:
        first, second, event = cuda.Stream(1), cuda.Stream(1), cuda.Event()
        call("cuLaunchHostFunc", first.handle, wait, None)
        event.record(first)
        second.wait_for_event(event)

        def elsewhere() -> None:
            primary.push()
            first.synchronize()
            primary.pop()

        thread = threading.Thread(target=elsewhere)
        thread.start()
        assert begun.wait(10) and not second.is_done()
        called.set()
        second.synchronize()
        thread.join()
        assert waited == [True]
