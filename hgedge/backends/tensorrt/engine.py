"""A plan, deserialised: one execution context a batch size, and the memory that they share.

A CUDA graph holds the profile, the shapes and the addresses of the execution context that it was captured from. So a
batch size has a context of its own, whose profile and shape are set once, and whose activations lie where they lay. All
use one block, as one size runs at a time; where a version cannot be given one, each context allocates its own.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hgedge.backends.tensorrt.kernel_cache import KernelCache
from hgedge.backends.tensorrt.library import logger, needs_newer_driver, ran_out_of_memory, reasons
from hgedge.errors import BackendUnavailable, EngineMismatch, HgedgeError, KernelError
from hgedge.runtime.cuda.buffers import DeviceBuffer
from hgedge.runtime.cuda.context import CudaContext, driver, mib
from hgedge.spec import EngineOptions

IMAGE, HEATMAPS = "image", "heatmaps"
DTYPES: dict[str, Any] = {"FLOAT": np.float32, "HALF": np.float16}  # by the library's names


class Engine:
    """All that TensorRT holds of a plan. Made, used and closed with the CUDA context current.

    Attributes:
        engine: The library's own; None once it is closed.
        sizes: Batch sizes that it takes, ascending; the index of a size is that of its profile.
        dtypes: NumPy's types of `image` and `heatmaps`.
        stream: pycuda's, for whoever has none.
    """

    def __init__(
        self, plan: bytes, trt: ModuleType, context: CudaContext, options: EngineOptions, kernel_cache: Path
    ) -> None:
        """Deserialise a plan, which is code: one that is trusted.

        Args:
            plan: The file's content.
            trt: `tensorrt` or `tensorrt_rtx`.
            context: The CUDA context, current.
            options: With which the plan was built.
            kernel_cache: File of kernels compiled for this GPU, where the library compiles them when it loads a plan.

        Raises:
            EngineMismatch: The library does not take the plan.
            BackendUnavailable: The library does not start, or there is too little memory.
        """
        self._trt, self._context = trt, context
        self._executions: dict[int, Any] = {}
        self._scratch: DeviceBuffer | None = None
        self._kernels: KernelCache | None = None
        self._runtime: Any = None
        self.engine: Any = None
        self.stream: Any = None
        try:
            self._open(plan, options, kernel_cache)
        except BaseException:
            self.close()
            raise

    def shape(self, name: str, size: int) -> tuple[int, ...]:
        """Shape of a tensor at a batch size."""
        return (size, *map(int, tuple(self.engine.get_tensor_shape(name))[1:]))

    def execution(self, size: int) -> Any:
        """The execution context of a batch size, made when it is first asked for.

        Raises:
            BackendUnavailable: There is too little memory.
            KernelError: The library gives none.
        """
        if size not in self._executions:
            self._executions[size] = self._made(size)
        return self._executions[size]

    def enqueue(self, size: int, image: int, heatmaps: int, stream: int) -> None:
        """Enqueue a batch on a stream's handle, from and to device addresses.

        Raises:
            KernelError: The library refuses.
        """
        execution = self.execution(size)
        logger(self._trt).errors.clear()
        done = (
            execution.set_tensor_address(IMAGE, image)
            and execution.set_tensor_address(HEATMAPS, heatmaps)
            and execution.execute_async_v3(stream)
        )
        if not done:
            raise self._failure(f"a batch of {size}", KernelError)

    def capturable(self) -> bool:
        """Whether all that the execution contexts enqueue can be captured, as far as the library tells."""
        self.execution(self.sizes[0])
        contexts = self._executions.values()
        asked = [context.is_stream_capturable for context in contexts if hasattr(context, "is_stream_capturable")]
        return all(ask(self.stream.handle) for ask in asked)

    def close(self) -> None:
        """Free everything in order; twice is fine. Compiled kernels are kept for the next time."""
        if self._kernels is not None and self._executions:
            self._kernels.keep()
        self._executions.clear()
        if self._scratch is not None:
            self._scratch.close()
        self._scratch = self._kernels = self.stream = None
        self.engine = None
        self._runtime = None

    def _open(self, plan: bytes, options: EngineOptions, kernel_cache: Path) -> None:
        trt = self._trt
        self._runtime = self._started(options)
        self.engine = self._deserialised(plan)
        names = {self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)}
        if names != {IMAGE, HEATMAPS}:
            raise EngineMismatch(f"an engine must have the tensors {IMAGE} and {HEATMAPS}, but this one has {names}")
        profiles = range(self.engine.num_optimization_profiles)
        self.sizes = tuple(int(self.engine.get_tensor_profile_shape(IMAGE, index)[1][0]) for index in profiles)
        self.dtypes = tuple(DTYPES[self.engine.get_tensor_dtype(name).name] for name in (IMAGE, HEATMAPS))
        with self._context.told("the engine"):
            self.stream = driver().Stream()
        if hasattr(trt, "IRuntimeCache"):
            self._kernels = KernelCache(kernel_cache, trt, self.engine)
        if hasattr(self.engine, "device_memory_size_v2") and hasattr(trt.IExecutionContext, "set_device_memory"):
            self._scratch_bytes = int(self.engine.device_memory_size_v2)
            self._scratch = DeviceBuffer(self._context, max(self._scratch_bytes, 1), "the engine's activations")

    def _started(self, options: EngineOptions) -> Any:
        logger(self._trt).errors.clear()
        try:
            runtime = self._trt.Runtime(logger(self._trt))
        except Exception as error:  # the library raises types of its own
            raise BackendUnavailable(
                f"{self._trt.__name__} {self._trt.__version__} does not start: {reasons(self._trt)} ({error})"
            ) from error
        if options.version_compatible:
            runtime.engine_host_code_allowed = True  # such a plan brings its own runtime
        if options.dla is not None:
            runtime.DLA_core = options.dla
        return runtime

    def _deserialised(self, plan: bytes) -> Any:
        logger(self._trt).errors.clear()
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise self._failure("the engine", EngineMismatch, len(plan), self._validity(plan))
        return engine

    def _validity(self, plan: bytes) -> str:
        """What TensorRT-RTX says of a plan that it does not take, as "unsupported cc"."""
        if not hasattr(self._runtime, "get_engine_validity"):
            return ""
        _, diagnostics = self._runtime.get_engine_validity(plan)
        kinds = self._trt.EngineInvalidityDiagnostics.__members__.items()
        return ", ".join(name.lower().replace("_", " ") for name, bit in kinds if diagnostics & int(bit))

    def _made(self, size: int) -> Any:
        logger(self._trt).errors.clear()
        what = f"an execution context for a batch of {size}"
        execution = self._created()
        if execution is None:
            raise self._failure(what, KernelError)
        try:
            fine = execution.set_optimization_profile_async(self.sizes.index(size), self.stream.handle)
        except RuntimeError as error:  # some versions raise, others return False
            raise self._failure(what, KernelError) from error
        self.stream.synchronize()
        if self._scratch is not None:
            execution.set_device_memory(self._scratch.address, self._scratch_bytes)
        if not (fine and execution.set_input_shape(IMAGE, self.shape(IMAGE, size))):
            raise self._failure(what, KernelError)
        return execution

    def _created(self) -> Any:
        if self._kernels is not None:
            return self.engine.create_execution_context(self._kernels.config)
        if self._scratch is not None:
            return self.engine.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        return self.engine.create_execution_context()

    def _failure(self, what: str, kind: type[HgedgeError], needed: int = 0, more: str = "") -> HgedgeError:
        """The error for what the library did not give: of memory where that is why, else `kind`."""
        said = "; ".join(filter(None, (more, reasons(self._trt))))
        if needs_newer_driver(self._trt):
            cuda = ".".join(map(str, self._context.cuda_version))
            return BackendUnavailable(
                f"{self._trt.__name__} {self._trt.__version__} needs a newer NVIDIA driver than this one, which is for "
                f"CUDA {cuda}: {said}; update the driver"
            )
        if not ran_out_of_memory(self._trt):
            name = f"{self._trt.__name__} {self._trt.__version__}"
            return kind(f"{name} refuses {what} on {self._context.name} ({self._context.capability}): {said}")
        free, total = self._context.memory_bytes()
        needs = f" needs {mib(needed)} and more" if needed else ""
        return BackendUnavailable(
            f"{what}{needs}, but {self._context.name} has {mib(free)} free of {mib(total)}: {said}; "
            "close other programs, or build for smaller batches"
        )
