"""The first NVIDIA GPU of this machine, asked of the driver: no CUDA library is needed."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

from hgedge.device import BOARD, cpu
from hgedge.errors import BackendUnavailable
from hgedge.spec import DeviceInfo

DRIVER = "libcuda.so.1"
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CUdevice_attribute
L4T = Path("/etc/nv_tegra_release")


def gpu() -> DeviceInfo:
    """GPU 0, named as the driver names it, on a Jetson with its board; its feature is its compute capability, "sm_87".

    Raises:
        BackendUnavailable: There is no driver or no GPU.
    """
    try:
        return _asked_of(ctypes.CDLL(DRIVER))
    except OSError as error:
        raise BackendUnavailable(f"this machine has no NVIDIA GPU ({error})") from error


def capability(device: DeviceInfo) -> tuple[int, int]:
    """The compute capability among a GPU's features: (8, 7) of "sm_87"."""
    digits = next(feature.removeprefix("sm_") for feature in device.features if feature.startswith("sm_"))
    return int(digits[:-1]), int(digits[-1])


def board() -> str:
    """What a Jetson calls itself, seen from a container too; "" elsewhere."""
    text = BOARD.read_text(encoding="utf-8", errors="replace").strip("\0 \n") if BOARD.is_file() else ""
    return (text or "Jetson") if L4T.is_file() or re.search("jetson|tegra", text, re.I) else ""


def memory_bytes() -> tuple[int, int]:
    """Device memory of GPU 0 that is free, and all of it.

    Raises:
        BackendUnavailable: There is no driver or no GPU.
    """
    gpu()
    cuda = ctypes.CDLL(DRIVER)
    handle, context, free, total = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    cuda.cuDeviceGet(ctypes.byref(handle), 0)
    if cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), handle):
        raise BackendUnavailable("the GPU gives no CUDA context; look at nvidia-smi, and close other programs on it")
    try:
        cuda.cuCtxPushCurrent_v2(context)
        cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        cuda.cuCtxPopCurrent_v2(ctypes.byref(context))
    finally:
        cuda.cuDevicePrimaryCtxRelease_v2(handle)
    return free.value, total.value


def _asked_of(cuda: ctypes.CDLL) -> DeviceInfo:
    handle, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    version = [ctypes.c_int(), ctypes.c_int()]
    for status in (
        cuda.cuInit(0),
        cuda.cuDeviceGet(ctypes.byref(handle), 0),
        cuda.cuDeviceGetName(name, len(name), handle),
        cuda.cuDeviceGetAttribute(ctypes.byref(version[0]), CAPABILITY_MAJOR, handle),
        cuda.cuDeviceGetAttribute(ctypes.byref(version[1]), CAPABILITY_MINOR, handle),
    ):
        if status:
            raise OSError(f"its driver answers with CUDA error {status}; look at nvidia-smi")
    digits = "".join(str(part.value) for part in version)
    called = name.value.decode(errors="replace")
    jetson = board()  # all Orins are called "Orin", whatever they have of it
    return DeviceInfo(f"{called} ({jetson})" if jetson else called, cpu().architecture, (f"sm_{digits}",))
