"""The first NVIDIA GPU of this machine, asked of the driver: no CUDA library is needed."""

from __future__ import annotations

import ctypes

from hgedge.device import cpu
from hgedge.errors import BackendUnavailable
from hgedge.spec import DeviceInfo

DRIVER = "libcuda.so.1"
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


def gpu() -> DeviceInfo:
    """GPU 0, named as the driver names it; its feature is its compute capability, such as "sm_87".

    Raises:
        BackendUnavailable: There is no driver or no GPU.
    """
    try:
        return _asked_of(ctypes.CDLL(DRIVER))
    except OSError as error:
        raise BackendUnavailable(
            f"backend 'tensorrt' builds and runs on the engine's own GPU, but this machine has none ({error}); "
            "build there: hgedge build --no-engine makes the portable half to take along"
        ) from error


def _asked_of(cuda: ctypes.CDLL) -> DeviceInfo:
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
            raise OSError(f"its driver answers with CUDA error {status}; look at nvidia-smi")
    version = "".join(str(part.value) for part in capability)
    return DeviceInfo(name.value.decode(errors="replace"), cpu().architecture, (f"sm_{version}",))
