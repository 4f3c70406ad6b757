"""The first NVIDIA GPU of this machine, asked of the driver: no CUDA library is needed."""

from __future__ import annotations

import ctypes
import platform

from hgedge.errors import BackendUnavailable
from hgedge.spec import DeviceInfo

DRIVER = "libcuda.so.1"
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


def gpu() -> DeviceInfo:
    """Name and compute capability of GPU 0, as "NVIDIA H200 (sm_90)".

    Raises:
        BackendUnavailable: There is no driver or no GPU.
    """
    try:
        cuda = ctypes.CDLL(DRIVER)
    except OSError as error:
        raise BackendUnavailable(
            f"backend 'tensorrt' builds on the GPU that it is for, but this machine has no NVIDIA driver ({error}); "
            "build there: hgedge build --no-engine makes the portable half to take along"
        ) from error
    handle, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    capability = [ctypes.c_int(), ctypes.c_int()]
    for status in (
        cuda.cuInit(0),
        cuda.cuDeviceGet(ctypes.byref(handle), 0),
        cuda.cuDeviceGetName(name, len(name), handle),
        cuda.cuDeviceGetAttribute(ctypes.byref(capability[0]), CAPABILITY_MAJOR, handle),
        cuda.cuDeviceGetAttribute(ctypes.byref(capability[1]), CAPABILITY_MINOR, handle),
    ):
        if status:
            raise BackendUnavailable(
                f"backend 'tensorrt' needs an NVIDIA GPU, but the driver answers with CUDA error {status}; "
                "look at nvidia-smi"
            )
    version = "".join(str(part.value) for part in capability)
    return DeviceInfo(f"{name.value.decode(errors='replace')} (sm_{version})", platform.machine())
