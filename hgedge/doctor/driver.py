"""The NVIDIA driver and its first GPU. It may hang or crash, so only a process of its own asks."""

from __future__ import annotations

import ctypes
from typing import Any

from hgedge.backends.tensorrt.gpu import DRIVER, gpu


def facts() -> dict[str, Any]:
    """What the driver answers.

    Returns:
        status: CUDA's error number, 0 if all is well.
        cuda: Newest CUDA that it supports, as "13.0"; "" if it does not say.
        gpu: Name and compute capability of GPU 0, as "NVIDIA H200 (sm_90)"; "" without one.
        memory_gib: Of GPU 0; 0 without one.

    Raises:
        OSError: There is no driver.
        BackendUnavailable: The driver works, the GPU does not answer.
    """
    cuda = ctypes.CDLL(DRIVER)
    number, handle, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    cuda.cuDriverGetVersion(ctypes.byref(number))
    version = f"{number.value // 1000}.{number.value % 1000 // 10}" if number.value else ""
    status = int(cuda.cuInit(0))
    if status:
        return {"status": status, "cuda": version, "gpu": "", "memory_gib": 0}
    device = gpu()
    cuda.cuDeviceGet(ctypes.byref(handle), 0)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    return {
        "status": 0,
        "cuda": version,
        "gpu": f"{device.name} ({', '.join(device.features)})",
        "memory_gib": round(memory.value / 2**30, 1),
    }
