"""The NVIDIA driver and its GPUs. It may hang or crash, so only a process of its own asks."""

from __future__ import annotations

import ctypes
from typing import Any

from hgedge.backends.tensorrt.gpu import CAPABILITY_MAJOR, CAPABILITY_MINOR, DRIVER, gpu


def facts() -> dict[str, Any]:
    """What the driver answers.

    Returns:
        status: CUDA's error number, 0 if all is well.
        cuda: Newest CUDA that it supports, as "13.0"; "" if it does not say.
        gpu: Name and compute capability of GPU 0, as "NVIDIA H200 (sm_90)"; "" without one.
        memory_gib: Of GPU 0; 0 without one.
        others: Names and compute capabilities of the other GPUs, which hgedge does not use.

    Raises:
        OSError: There is no driver.
        BackendUnavailable: The driver works, the GPU does not answer.
    """
    cuda = ctypes.CDLL(DRIVER)
    number = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(number))
    version = f"{number.value // 1000}.{number.value % 1000 // 10}" if number.value else ""
    status = int(cuda.cuInit(0))
    if status:
        return {"status": status, "cuda": version, "gpu": "", "memory_gib": 0, "others": []}
    device = gpu()
    count, memory = ctypes.c_int(), ctypes.c_size_t()
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), _handle(cuda, 0))
    cuda.cuDeviceGetCount(ctypes.byref(count))
    return {
        "status": 0,
        "cuda": version,
        "gpu": f"{device.name} ({', '.join(device.features)})",
        "memory_gib": round(memory.value / 2**30, 1),
        "others": [_called(cuda, _handle(cuda, index)) for index in range(1, count.value)],
    }


def _handle(cuda: ctypes.CDLL, index: int) -> ctypes.c_int:
    handle = ctypes.c_int()
    cuda.cuDeviceGet(ctypes.byref(handle), index)
    return handle


def _called(cuda: ctypes.CDLL, handle: ctypes.c_int) -> str:
    name, major, minor = ctypes.create_string_buffer(256), ctypes.c_int(), ctypes.c_int()
    cuda.cuDeviceGetName(name, len(name), handle)
    cuda.cuDeviceGetAttribute(ctypes.byref(major), CAPABILITY_MAJOR, handle)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), CAPABILITY_MINOR, handle)
    return f"{name.value.decode(errors='replace')} (sm_{major.value}{minor.value})"
