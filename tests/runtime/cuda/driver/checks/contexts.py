"""Devices, contexts and handles."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

from tests.runtime.cuda.driver.checks.harness import (
    call,
    check,
    context,
    statistics,
    value,
)
from tests.runtime.cuda.driver.checks.results import Result


@check(name="Orin of the mind", capability=110, integrated=1, cuda=13000, devices=2, memory=1 << 30)
def says_what_it_is_told_to_be(cuda: Any) -> None:
    cuda.init()
    device, attributes = cuda.Device(1), cuda.device_attribute
    assert (device.name(), device.compute_capability(), cuda.Device.count()) == ("Orin of the mind", (11, 0), 2)
    assert (device.total_memory(), cuda.get_driver_version()) == (1 << 30, 13000)
    assert device.get_attribute(attributes.INTEGRATED) == 1
    assert device.get_attribute(attributes.UNIFIED_ADDRESSING) == 0


@check(init=100)
def can_fail_to_initialise(cuda: Any) -> None:
    try:
        cuda.init()
    except cuda.RuntimeError as error:
        assert "no CUDA-capable device is detected" in str(error)
    assert call("cuDeviceGetCount", ctypes.byref(ctypes.c_int())) == Result.NOT_INITIALIZED


@check()
def needs_a_current_context_in_each_thread(cuda: Any) -> None:
    assert call("cuMemFree_v2", 0) == Result.NOT_INITIALIZED
    call("cuInit", 0)
    assert call("cuCtxSynchronize") == Result.INVALID_CONTEXT
    primary = value("cuDevicePrimaryCtxRetain", 0)
    assert call("cuCtxPushCurrent_v2", primary) == call("cuCtxSynchronize") == 0
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(call("cuCtxSynchronize")))
    thread.start(), thread.join()
    assert codes == [Result.INVALID_CONTEXT]
    assert value("cuCtxPopCurrent_v2") == primary
    assert call("cuCtxPopCurrent_v2", None) == Result.INVALID_CONTEXT


@check()
def counts_retains_and_what_leaks(cuda: Any) -> None:
    call("cuInit", 0)
    for _ in range(2):
        call("cuCtxPushCurrent_v2", value("cuDevicePrimaryCtxRetain", 0))
    value("cuMemAlloc_v2", 100), value("cuEventCreate", 0), value("cuStreamCreate", 0), value("cuMemHostAlloc", 9, 0)
    live = statistics()["live"]
    assert (live["retains"], live["device_bytes"], live["host_allocations"], live["streams"]) == (2, 100, 1, 1)
    assert call("cuDevicePrimaryCtxRelease_v2", 0) == call("cuCtxSynchronize") == 0
    assert statistics()["leaked"] == {}
    assert call("cuDevicePrimaryCtxRelease_v2", 0) == 0
    assert statistics()["leaked"] == {"device_allocations": 1, "host_allocations": 1, "events": 1, "streams": 1}
    assert call("cuCtxSynchronize") == Result.CONTEXT_IS_DESTROYED
    assert call("cuDevicePrimaryCtxRelease_v2", 0) == Result.INVALID_CONTEXT


@check()
def handles_belong_to_their_context(cuda: Any) -> None:
    with context(cuda):
        stream = cuda.Stream()
        private = cuda.Device(0).make_context()  # as pycuda.autoinit does
        assert call("cuStreamSynchronize", stream.handle) == Result.INVALID_HANDLE
        private.detach()
        assert call("cuStreamSynchronize", stream.handle) == 0
        del stream


@check()
def refuses_stale_and_foreign_handles(cuda: Any) -> None:
    with context(cuda):
        event, memory = value("cuEventCreate", 0), value("cuMemAlloc_v2", 64)
        assert call("cuMemFree_v2", memory + 8) == Result.INVALID_VALUE
        assert [call("cuMemFree_v2", memory) for _ in range(2)] == [0, Result.INVALID_VALUE]
        assert call("cuStreamSynchronize", event) == Result.INVALID_HANDLE
        assert [call("cuEventDestroy_v2", event) for _ in range(2)] == [0, Result.INVALID_HANDLE]
        assert call("cuGraphLaunch", 1234, 0) == Result.INVALID_HANDLE
        assert call("cuArrayDestroy", 0) == Result.NOT_SUPPORTED
        assert statistics()["errors"]["cuGraphLaunch 400"] == 1
