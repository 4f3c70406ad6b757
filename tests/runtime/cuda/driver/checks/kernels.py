"""Modules and kernels."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np

from tests.runtime.cuda.driver.checks.harness import (
    PTX,
    SCALE_PTX,
    call,
    check,
    context,
    scaling,
    statistics,
    value,
)
from tests.runtime.cuda.driver.checks.results import Result


@check()
def kernels_run_with_either_kind_of_arguments(cuda: Any) -> None:
    with context(cuda):
        source, target = cuda.mem_alloc(12), cuda.mem_alloc(12)
        cuda.memcpy_htod(source, np.array([1, 2, 3], np.float32))
        scale, back = scaling(cuda), np.zeros(3, np.float32)
        scale.prepared_call((1, 1), (1, 1, 1), int(source), 2.0, int(target), 3)
        cuda.memcpy_dtoh(back, target)
        assert back.tolist() == [2, 4, 6]
        module = value("cuModuleLoadData", PTX.encode())
        function = value("cuModuleGetFunction", module, b"scale")
        given = [ctypes.c_uint64(int(target)), ctypes.c_float(3), ctypes.c_uint64(int(source)), ctypes.c_int(3)]
        pointers = (ctypes.c_void_p * 4)(*[ctypes.addressof(one) for one in given])
        assert call("cuLaunchKernel", function, 1, 1, 1, 1, 1, 1, 0, None, pointers, None) == 0
        cuda.memcpy_dtoh(back, source)
        assert back.tolist() == [6, 12, 18]
        assert call("cuLaunchKernel", function, 1, 1, 1, 257, 1, 1, 0, None, pointers, None) == Result.INVALID_VALUE
        assert call("cuLaunchKernel", function, 0, 1, 1, 1, 1, 1, 0, None, pointers, None) == Result.INVALID_VALUE
        call("cuModuleUnload", module)
        assert call("cuLaunchKernel", function, 1, 1, 1, 1, 1, 1, 0, None, pointers, None) == Result.INVALID_HANDLE


def loaded(image: bytes) -> int:
    return call("cuModuleLoadData", ctypes.byref(ctypes.c_uint64()), image)


@check(cuda=12060, capability=87)
def modules_are_refused_as_by_a_driver(cuda: Any) -> None:
    with context(cuda):
        versions = {("8.5", "sm_87"): 0, ("8.6", "sm_75"): Result.UNSUPPORTED_PTX_VERSION}
        targets = dict.fromkeys((("8.0", "sm_89"), ("8.0", "sm_80a")), Result.NO_BINARY_FOR_GPU)
        for (version, target), expected in {**versions, **targets}.items():
            assert loaded(SCALE_PTX.format(version=version, target=target).encode()) == expected, (version, target)
        assert loaded(b"__global__ void scale()") == Result.INVALID_IMAGE
        assert loaded(b"\x7fELF") == Result.NO_BINARY_FOR_GPU
        assert statistics()["live"]["modules"] == 1


@check()
def a_function_needs_an_entry_and_a_kernel_for_the_host(cuda: Any) -> None:
    with context(cuda):
        module = cuda.module_from_buffer(PTX.replace("entry scale", "entry unknown").encode())
        for name in ("unknown", "scale", "of_a_comment"):
            try:
                raise AssertionError(module.get_function(name))
            except cuda.LogicError as error:
                assert "named symbol not found" in str(error)


def launched_with(cuda: Any, source: int) -> int:
    scale, target = scaling(cuda), cuda.mem_alloc(4)
    scale.prepared_call((1, 1), (1, 1, 1), source, 1.0, int(target), 1)
    return call("cuCtxSynchronize")


@check()
def a_kernel_that_is_given_freed_memory_loses_the_context(cuda: Any) -> None:
    primary = context(cuda)
    primary.__enter__()
    memory = cuda.mem_alloc(4)
    memory.free()
    assert launched_with(cuda, int(memory)) == call("cuCtxSynchronize") == Result.ILLEGAL_ADDRESS
    assert call("cuMemAlloc_v2", ctypes.byref(ctypes.c_uint64()), 4) == Result.ILLEGAL_ADDRESS
    os._exit(0)  # pycuda could free nothing any more


@check()
def a_kernel_that_is_given_a_host_address_loses_the_context(cuda: Any) -> None:
    primary = context(cuda)
    primary.__enter__()
    assert launched_with(cuda, np.ones(1, np.float32).ctypes.data) == Result.ILLEGAL_ADDRESS
    os._exit(0)


@check()
def freeing_what_is_in_use_is_counted(cuda: Any) -> None:
    with context(cuda):
        memory, scale = cuda.mem_alloc(4), scaling(cuda)
        scale.prepared_call((1, 1), (1, 1, 1), int(memory), 1.0, int(memory), 1)
        memory.free()
        assert statistics()["freed_in_use"] == 1 and statistics()["operations"] == {"kernel scale": 1}
        scale.prepared_call((1, 1), (1, 1, 1), 0, 1.0, 0, 0)
        del scale  # and with it, its module
        assert statistics()["freed_in_use"] == 2 and statistics()["operations"] == {"kernel scale": 2}
        assert call("cuCtxSynchronize") == 0
