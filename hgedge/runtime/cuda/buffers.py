"""Memory of the device, and memory that host and device share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hgedge.errors import BackendUnavailable
from hgedge.runtime.cuda.context import CudaContext, driver, mib


class DeviceBuffer:
    """Memory of the device, for kernels alone.

    Attributes:
        address: On the device.
    """

    def __init__(self, context: CudaContext, size_bytes: int, purpose: str) -> None:
        """Allocate; `context` must be current.

        Args:
            context: To allocate in.
            size_bytes: How much.
            purpose: What it is for, in error messages.

        Raises:
            BackendUnavailable: The device has not got so much free; tells what it has.
        """
        with context.told(purpose, f"{mib(size_bytes)} of GPU memory"):
            self._memory = driver().mem_alloc(size_bytes)
        self.address = int(self._memory)

    def close(self) -> None:
        """Free it, its context being current; twice is fine."""
        if self._memory is not None:
            self._memory.free()
            self._memory = None


class SharedBuffer:
    """Bytes that the host and the device hand each other: pinned host memory and its twin on the device. It can grow.

    Copies of pinned memory run beside the host, which must not touch the bytes until the stream has passed the copy.
    Where the GPU is integrated, kernels use the host's memory itself (zero-copy): there is no twin, copies do nothing,
    and the host must not touch the bytes until the kernels are done with them.

    Attributes:
        size_bytes: Of it; 0 while it is closed.
        address: On the device, for kernels.
    """

    def __init__(self, context: CudaContext, purpose: str, size_bytes: int = 0) -> None:
        """Allocate; `context` must be current.

        Args:
            context: To allocate in.
            purpose: What it is for, in error messages.
            size_bytes: How much.

        Raises:
            BackendUnavailable: There is not so much free; tells what there is.
        """
        self.context = context
        self.purpose = purpose
        self.size_bytes = self.address = 0
        self._host: Any = None
        self._twin: DeviceBuffer | None = None
        self.reserve(size_bytes)

    def reserve(self, size_bytes: int) -> None:
        """Have at least so many bytes; what is in it, and where it lies, is lost if they are more than before."""
        if size_bytes <= self.size_bytes:
            return
        self.close()
        try:
            self._allocate(size_bytes)
        except BaseException:
            self.close()
            raise
        self.size_bytes = size_bytes

    def _allocate(self, size_bytes: int) -> None:
        mapped = self.context.zero_copy
        with self.context.told(self.purpose):
            self._host = self._pinned(size_bytes, driver().host_alloc_flags.DEVICEMAP if mapped else 0)
            if mapped:
                self.address = int(self._host.base.get_device_pointer())
        if not mapped:
            self._twin = DeviceBuffer(self.context, size_bytes, self.purpose)
            self.address = self._twin.address

    def _pinned(self, size_bytes: int, flags: int) -> Any:
        try:
            return driver().pagelocked_empty(size_bytes, np.uint8, mem_flags=flags)
        except driver().MemoryError as error:
            raise BackendUnavailable(
                f"{self.purpose} needs {mib(size_bytes)} of pinned host memory, which the system does not give; "
                "close other programs, or use smaller frames"
            ) from error

    def view(self, start: int, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
        """The host's bytes from `start` on, as an array; it may not be used after `reserve` or `close`."""
        stop = start + math.prod(shape) * np.dtype(dtype).itemsize
        array: np.ndarray = self._host[start:stop].view(dtype).reshape(shape)
        return array

    def upload(self, stream: Any, stop: int) -> None:
        """Begin to copy the first `stop` bytes to the device, on a stream of pycuda."""
        if self._twin is not None:
            driver().memcpy_htod_async(self.address, self._host[:stop], stream)

    def download(self, stream: Any, start: int, stop: int) -> None:
        """Begin to copy bytes `start` to `stop` to the host, on a stream of pycuda."""
        if self._twin is not None:
            driver().memcpy_dtoh_async(self._host[start:stop], self.address + start, stream)

    def close(self) -> None:
        """Free it, its context being current; twice is fine."""
        twin, host, self._twin, self._host, self.size_bytes = self._twin, self._host, None, None, 0
        if twin is not None:
            twin.close()
        if host is not None:
            host.base.free()
