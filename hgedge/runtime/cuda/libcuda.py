"""Calls of the CUDA driver that pycuda does not offer, through ctypes on the library that pycuda has loaded."""

from __future__ import annotations

import ctypes
import functools
import os

from hgedge.errors import KernelError

LIBRARY = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"


def call(name: str, *arguments: object) -> None:
    """Call a function of the driver.

    Args:
        name: With its version, such as "cuStreamEndCapture" or "cuStreamBeginCapture_v2".
        arguments: ctypes values; a handle of pycuda, an int, as `ctypes.c_void_p(handle)`.

    Raises:
        KernelError: The driver has no such function, or it fails.
    """
    try:
        function = getattr(_library(), name)
    except AttributeError as error:
        raise KernelError(f"this NVIDIA driver has no {name}; update the driver") from error
    status = function(*arguments)
    if status:
        text = ctypes.c_char_p()
        _library().cuGetErrorString(status, ctypes.byref(text))
        raise KernelError(f"{name} failed: {(text.value or b'unknown error').decode()} ({status})")


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(LIBRARY)
