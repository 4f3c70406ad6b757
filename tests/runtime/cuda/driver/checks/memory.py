"""Allocations and copies."""

from __future__ import annotations

import ctypes
import signal
from typing import Any

import numpy as np

from tests.runtime.cuda.driver.checks.harness import (
    call,
    check,
    context,
    host_address,
    pinned,
    scaling,
    statistics,
    value,
)
from tests.runtime.cuda.driver.checks.results import Result


@check(memory=1 << 20)
def runs_out_of_memory(cuda: Any) -> None:
    with context(cuda):
        held = cuda.mem_alloc(1 << 19)
        assert cuda.mem_get_info() == (1 << 19, 1 << 20)
        try:
            raise AssertionError(cuda.mem_alloc((1 << 19) + 1))
        except cuda.MemoryError as error:
            assert "out of memory" in str(error)
        held.free()
        cuda.mem_alloc(1 << 20).free()


@check()
def fresh_memory_is_not_zero(cuda: Any) -> None:
    with context(cuda):
        memory, out = cuda.mem_alloc(16), np.zeros(4, np.float32)
        cuda.memcpy_dtoh(out, memory)
        assert np.isnan(out).all() and np.isnan(cuda.pagelocked_empty(4, np.float32)).all()


@check(dies=signal.SIGSEGV)
def host_code_cannot_follow_a_device_address(cuda: Any) -> None:
    with context(cuda):
        ctypes.c_float.from_address(int(cuda.mem_alloc(16))).value  # noqa: B018


@check(dies=signal.SIGSEGV)
def a_kernel_cannot_run_past_the_end(cuda: Any) -> None:
    with context(cuda):
        source, target, scale = cuda.mem_alloc(1 << 16), cuda.mem_alloc(4096), scaling(cuda)
        scale.prepared_call((1, 1), (1, 1, 1), int(source), 1.0, int(target), 4096 // 4 + 1)
        cuda.Context.synchronize()


@check()
def writing_beside_an_allocation_is_counted(cuda: Any) -> None:
    with context(cuda):
        memory = cuda.mem_alloc(100)
        ctypes.c_char.from_address(host_address(int(memory)) + 100).value = b"!"
        memory.free()
        assert statistics()["overruns"] == 1


@check()
def copies_stay_within_bounds(cuda: Any) -> None:
    with context(cuda):
        memory, array = cuda.mem_alloc(64), pinned(cuda, np.ones(32))
        device, host, alias = int(memory), array.ctypes.data, array.base.get_device_pointer()
        assert alias != host
        refused = [
            ("cuMemcpyHtoD_v2", device, host, 65),
            ("cuMemcpyDtoH_v2", host, device + 1, 64),
            ("cuMemsetD8_v2", device + 60, 0, 5),
            ("cuMemcpyHtoD_v2", device, alias, 64),  # the device's address of host memory
            ("cuMemcpyDtoD_v2", device, host, 64),  # the host's
        ]
        assert [call(*one) for one in refused] == [Result.INVALID_VALUE] * len(refused)
        assert call("cuMemcpyDtoD_v2", device, alias, 64) == 0
        del array


@check(map_host=0)
def mapping_needs_a_device_that_can(cuda: Any) -> None:
    with context(cuda):
        mapped = value("cuMemHostAlloc", 64, 2)
        assert call("cuMemHostGetDevicePointer_v2", ctypes.byref(ctypes.c_uint64()), mapped, 0) == Result.INVALID_VALUE
        call("cuMemFreeHost", mapped)


@check()
def mapped_memory_is_shared(cuda: Any) -> None:
    with context(cuda):
        source, target = pinned(cuda, [1, 2, 3]), pinned(cuda, [0, 0, 0])
        addresses = [array.base.get_device_pointer() for array in (source, target)]
        scale = scaling(cuda)
        scale.prepared_call((1, 1), (1, 1, 1), addresses[0], 2.0, addresses[1], 3)
        cuda.Context.synchronize()
        assert target.tolist() == [2, 4, 6]
        unmapped = cuda.pagelocked_empty(3, np.float32)
        assert call("cuMemHostGetDevicePointer_v2", ctypes.byref(ctypes.c_uint64()), unmapped.ctypes.data, 0) == 1
        del source, target, unmapped


@check(schedule="eager")
def rectangles_are_copied_by_rows(cuda: Any) -> None:
    with context(cuda):
        picture = np.arange(60, dtype=np.uint8).reshape(6, 10)
        memory, pitch = cuda.mem_alloc_pitch(10, 6, 4)
        copy = cuda.Memcpy2D()
        copy.set_src_host(picture)
        copy.set_dst_device(memory)
        copy.src_pitch, copy.dst_pitch, copy.width_in_bytes, copy.height = 10, pitch, 10, 6
        copy(aligned=False)
        back = np.zeros((2, 3), np.uint8)
        copy = cuda.Memcpy2D()
        copy.set_src_device(memory)
        copy.set_dst_host(back)
        copy.src_x_in_bytes, copy.src_y, copy.src_pitch = 4, 1, pitch
        copy.dst_pitch, copy.width_in_bytes, copy.height = 3, 3, 2
        copy(aligned=False)
        assert (back == picture[1:3, 4:7]).all()
