"""Where CUDA kernels come from, and whether they load. CUDA may hang or crash: only a process of its own asks."""

from __future__ import annotations

from typing import Any

from hgedge.doctor import driver
from hgedge.errors import HgedgeError
from hgedge.runtime.cuda import nvcc, nvrtc, shipped
from hgedge.runtime.cuda.context import CudaContext
from hgedge.runtime.cuda.kernels import Kernels
from hgedge.runtime.cuda.sources import KERNELS

Version = tuple[int, int]


def facts() -> dict[str, Any]:
    """What there is for a driver, and what GPU 0 takes.

    Returns:
        origins: What there is, best first: "PTX for CUDA 12.0", "NVRTC 12.6", "nvcc 12.6".
        lacking: What there is not, and why.
        loaded: Which of them was loaded onto the GPU; "" if none.
        error: Why none.
    """
    told = driver.facts()
    if told["status"]:
        return {"origins": [], "lacking": [], "loaded": "", "error": "the driver does not answer"}
    major, _, minor = told["cuda"].partition(".")
    origins, lacking = [], []
    for look in (_ptx, _nvrtc, _nvcc):
        try:
            origins.append(look((int(major), int(minor))))
        except HgedgeError as error:
            lacking.append(str(error).partition("\n")[0])
    return {"origins": origins, "lacking": lacking, **_loaded()}


def _ptx(cuda: Version) -> str:
    version = shipped.choose(cuda)
    for kernel in KERNELS:
        shipped.read(kernel, version)
    return f"PTX for CUDA {version[0]}.{version[1]}"


def _nvrtc(cuda: Version) -> str:
    return nvrtc.find(cuda).name


def _nvcc(cuda: Version) -> str:
    return nvcc.find(cuda).name


def _loaded() -> dict[str, str]:
    try:
        with CudaContext() as context:
            kernels = Kernels(context)
            kernels.close()
        context.close()
        return {"loaded": kernels.origin, "error": ""}
    except HgedgeError as error:
        return {"loaded": "", "error": " ".join(str(error).split())}
