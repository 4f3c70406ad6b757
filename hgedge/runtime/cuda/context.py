"""The CUDA context that all of hgedge works in: the device's primary one, which TensorRT and torch use too.

A context is current in a thread, and in each thread by itself. `with context:` makes it so, in any thread and as often
as one likes, and puts back what was current before. Nobody keeps it current between calls: a generator that waits or a
thread that ends leaves nothing behind. `pycuda.autoinit` is never imported, for it makes a second, private context.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
import warnings
import weakref
from collections.abc import Iterator
from types import ModuleType, TracebackType
from typing import Any

from hgedge.errors import BackendUnavailable, KernelError
from hgedge.runtime.cuda.libcuda import call

OLDEST_DRIVER = (11, 0)  # the first with CUDA graphs, PTX and JetPack as hgedge uses them
DOCTOR = "hgedge doctor tells what this machine has"
CLOSED = "this CUDA context is closed; load the engine again"


@functools.cache
def driver() -> ModuleType:
    """`pycuda.driver`, initialised.

    Raises:
        BackendUnavailable: There is no pycuda, no NVIDIA driver, too old a one, or no GPU.
    """
    cuda = _imported()
    try:
        cuda.init()
    except cuda.Error as error:
        raise BackendUnavailable(
            f"the NVIDIA driver finds no GPU that it can use ({error}); "
            f"check nvidia-smi and CUDA_VISIBLE_DEVICES; {DOCTOR}"
        ) from error
    version = _version(cuda)
    if version < OLDEST_DRIVER:
        raise BackendUnavailable(
            f"the NVIDIA driver is for CUDA {version[0]}.{version[1]}, but hgedge needs {OLDEST_DRIVER[0]}."
            f"{OLDEST_DRIVER[1]} or newer; update the driver; {DOCTOR}"
        )
    return cuda


def _imported() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pycuda's guess at what is wrong; it is told below
            import pycuda.driver as cuda
    except ImportError as error:
        raise BackendUnavailable(f"{_missing(error)}; {DOCTOR}") from error
    return cuda


def _missing(error: ImportError) -> str:
    """What an import of pycuda lacked, and what to do."""
    text = str(error)
    if isinstance(error, ModuleNotFoundError) and error.name == "pycuda":
        return (
            "pycuda is not installed; install it with: pip install 'hgedge[tensorrt]' "
            "(it is compiled then, which needs a C++ compiler and the CUDA toolkit)"
        )
    if "libcuda" in text and "No such file" in text:
        return f"there is no NVIDIA driver ({text}); install the driver, or build for the CPU: hgedge build MODEL"
    if "undefined symbol" in text or "cannot open shared object" in text:
        return (
            f"pycuda was built for another CUDA than this machine has ({text}); build it again: "
            "pip install --force-reinstall --no-deps --no-cache-dir pycuda, or update the driver"
        )
    return f"pycuda cannot be imported ({text}); install it again"


def _version(cuda: ModuleType) -> tuple[int, int]:
    number = cuda.get_driver_version()
    return number // 1000, number % 1000 // 10


class CudaContext:
    """A device's primary context, retained until `close`. A context manager: current within, in any thread, re-entrant.

    Attributes:
        name: Of the device.
        capability: Of the device, as "sm_87".
        integrated: Whether the device shares the host's memory chips, as a Jetson's.
        zero_copy: Whether the host's memory is used by kernels where it lies, instead of being copied.
        cuda_version: Of the driver, major and minor.
    """

    def __init__(self, index: int = 0) -> None:
        """Retain the primary context of a device.

        Raises:
            BackendUnavailable: There is no such device, it cannot be used, or pycuda or the driver is missing.
        """
        cuda = driver()
        count = cuda.Device.count()
        if not 0 <= index < count:
            raise BackendUnavailable(f"there is no GPU {index}; this machine shows {count}, numbered from 0; {DOCTOR}")
        device = cuda.Device(index)
        self.name: str = device.name()
        self.capability = "sm_{}{}".format(*device.compute_capability())
        self.integrated = bool(device.get_attribute(cuda.device_attribute.INTEGRATED))
        self.zero_copy = self.integrated and bool(device.get_attribute(cuda.device_attribute.CAN_MAP_HOST_MEMORY))
        self.cuda_version = _version(cuda)
        try:
            self._context: Any = device.retain_primary_context()
        except cuda.Error as error:
            raise BackendUnavailable(
                f"{self.name} takes no further program ({error}); close other programs that use it; {DOCTOR}"
            ) from error
        self._released = weakref.finalize(self, _release, self._context)  # at the latest when Python ends

    def memory_bytes(self) -> tuple[int, int]:
        """Free and total memory of the device."""
        with self:
            free, total = driver().mem_get_info()
            return free, total

    def check_current(self) -> None:
        """Raise KernelError where this context is not the current one of the thread."""
        current = driver().Context.get_current()
        if self._context is None or current is None or current.handle != self._context.handle:
            raise KernelError(
                f"the CUDA context of {self.name} is not current in thread {threading.current_thread().name!r}; "
                f"use what belongs to it within `with context:`"
            )

    @contextlib.contextmanager
    def told(self, doing: str, needed: str = "more GPU memory") -> Iterator[None]:
        """Within the block, errors of CUDA are told as hgedge's. The context must be current.

        Args:
            doing: What is being done, for messages.
            needed: How much memory of which kind that needs.

        Raises:
            BackendUnavailable: The memory is used up.
            KernelError: The context is not current, or CUDA fails otherwise.
        """
        self.check_current()
        cuda = driver()
        try:
            yield
        except cuda.MemoryError as error:
            free, total = cuda.mem_get_info()
            raise BackendUnavailable(
                f"{doing} needs {needed}, but {self.name} has {mib(free)} free of {mib(total)}; "
                "give fewer people at once, or close other programs"
            ) from error
        except cuda.Error as error:
            raise KernelError(f"{doing} failed: {error}; {DOCTOR}") from error

    def close(self) -> None:
        """Release it; what was made in it must be freed before. May be called twice, and from any thread."""
        self._context = None
        self._released()

    def __enter__(self) -> CudaContext:
        if self._context is None:
            raise BackendUnavailable(CLOSED)
        self._context.push()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._context is not None:  # else closed within
            driver().Context.pop()


def _release(context: Any) -> None:
    """Release a primary context of pycuda's, which by itself does so only in the thread that retained it."""
    context.push()
    context.detach()
    with contextlib.suppress(KernelError):  # CUDA leaves a released primary context current
        call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
        outer = driver().Context.get_current()
        if outer is not None:
            call("cuCtxSetCurrent", ctypes.c_void_p(outer.handle))


def mib(count: int) -> str:
    """A number of bytes, for people."""
    return f"{count / 2**20:.1f} MiB"
