"""A stand-in of NVIDIA's Python module: it notes what it is asked, refuses what TensorRT refuses, and does real work.

Its plan is an ONNX file behind a line of JSON; ONNX Runtime computes it in a function of the host on the CUDA stream,
so that it can be captured, and all of the memory that it was lent is written over. It proves how hgedge uses TensorRT,
and nothing about TensorRT.
"""

from __future__ import annotations

import ctypes
import enum
import json
from functools import partial
from types import ModuleType, SimpleNamespace

import numpy as np
import onnxruntime

from hgedge.runtime.cuda.context import driver
from hgedge.runtime.cuda.libcuda import call

SCRATCH_BYTES = 4096
MS_OF_FIRST = 0.25  # that a profiler is told; the second layer takes twice as long, and so on
DOCUMENT = json.dumps({"Layers": [{"Name": "stem.conv", "LayerType": "CaskConvolution", "Weights": {"Type": "Half"}}]})


def plan_of(onnx: bytes, sizes: tuple[int, ...], **more) -> bytes:
    """The plan of an engine with a profile a size."""
    return json.dumps({"sizes": sizes, **more}).encode() + b"\n" + onnx


def stand_in(version: str = "10.3.0", rtx: bool = False, lends_memory: bool = True) -> ModuleType:
    """A module like `tensorrt` 10, or `tensorrt_rtx`; without `lends_memory` like `tensorrt` 8.6.

    Its `events` are what happened, in order; its `fails` names calls that fail, with what the logger is told then.
    """
    trt = ModuleType("tensorrt_rtx" if rtx else "tensorrt")
    trt.__version__, trt.events, trt.fails = version, [], {}
    trt.Runtime = lambda log: Runtime(trt, log)
    trt.ILogger = type("ILogger", (), {"Severity": enum.Enum("Severity", ["ERROR", "INFO"])})
    trt.DataType = enum.Enum("DataType", ["FLOAT", "HALF"])
    trt.LayerInformationFormat = enum.Enum("LayerInformationFormat", ["JSON"])
    trt.EngineInvalidityDiagnostics = enum.IntFlag(
        "EngineInvalidityDiagnostics", ["VERSION_MISMATCH", "UNSUPPORTED_CC"]
    )
    trt.IProfiler = Profiler
    trt.IExecutionContext = LentContext if lends_memory else Context
    if lends_memory:
        names = ["STATIC", "ON_PROFILE_CHANGE", "USER_MANAGED"]
        trt.ExecutionContextAllocationStrategy = enum.Enum("ExecutionContextAllocationStrategy", names)
    if rtx:
        trt.IRuntimeCache = RuntimeCache
        trt.CudaGraphStrategy = enum.Enum("CudaGraphStrategy", ["DISABLED", "WHOLE_GRAPH_CAPTURE"])
        kinds = ["LAZY", "EAGER", "NONE"]
        trt.DynamicShapesKernelSpecializationStrategy = enum.Enum("DynamicShapesKernelSpecializationStrategy", kinds)
    return trt


class Part:
    """Something that is freed, which only may be while its CUDA context is current."""

    def __init__(self, trt: ModuleType, name: str) -> None:
        self.trt, self.name = trt, name
        trt.events.append(f"{name} made" if driver().Context.get_current() else f"{name} made without a context")

    def __del__(self) -> None:
        fine = driver().Context.get_current() is not None
        self.trt.events.append(f"{self.name} freed" if fine else f"{self.name} freed without a context")


class Runtime(Part):
    def __init__(self, trt: ModuleType, log: object) -> None:
        super().__init__(trt, "runtime")
        self.log = log
        self.engine_host_code_allowed, self.DLA_core = False, None

    def fails(self, name: str) -> bool:
        told = self.trt.fails.get(name)
        if told is not None:
            self.log.log(self.trt.ILogger.Severity.ERROR, told)
        return told is not None

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        self.trt.events.append(f"host code {self.engine_host_code_allowed}, DLA core {self.DLA_core}")
        return None if self.fails("deserialize") else Engine(self, plan)


class Engine(Part):
    def __init__(self, runtime: Runtime, plan: bytes) -> None:
        super().__init__(runtime.trt, "engine")
        head, onnx = plan.split(b"\n", 1)
        self.says, self.fails = json.loads(head), runtime.fails
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.network = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        self.num_io_tensors, self.num_optimization_profiles = 2, len(self.says["sizes"])
        if hasattr(self.trt, "ExecutionContextAllocationStrategy"):
            self.device_memory_size_v2 = self.says.get("scratch", SCRATCH_BYTES)

    def get_tensor_name(self, index: int) -> str:
        return ("image", "heatmaps")[index]

    def get_tensor_dtype(self, name: str) -> enum.Enum:
        return self.trt.DataType.HALF if name in self.says.get("half", ()) else self.trt.DataType.FLOAT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        ends = {end.name: end.shape for end in (*self.network.get_inputs(), *self.network.get_outputs())}
        return (-1, *ends[name][1:])

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        return [(self.says["sizes"][index], *self.get_tensor_shape(name)[1:])] * 3

    def create_execution_context(self, how: object = None) -> Context | None:
        self.trt.events.append(f"context asked for, {getattr(how, 'name', None) or type(how).__name__}")
        return None if self.fails("context") else self.trt.IExecutionContext(self)

    @property
    def document(self) -> str:
        """What its inspector tells."""
        return self.says.get("document", DOCUMENT)

    def create_engine_inspector(self) -> SimpleNamespace:
        return SimpleNamespace(get_engine_information=lambda kind: self.document)

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig(self.trt)


class Context(Part):
    """An execution context that owns its memory."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.trt, "context")
        self.profiler: Profiler | None = None
        self.engine, self.profile, self.shape, self.memory = engine, None, None, (0, 0)
        self.addresses: dict[str, int] = {}
        self.ends: dict[str, np.ndarray] = {}
        self.function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(partial(compute, engine.network, self.ends))

    def __del__(self) -> None:
        for array in self.ends.values():
            array.base.free()
        super().__del__()

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.trt.events.append(f"profile {index}")
        self.profile, self.shape = index, None
        return not self.engine.fails("profile")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.trt.events.append(f"shape {shape[0]}")
        if self.profile is None or shape != self.engine.get_tensor_profile_shape(name, self.profile)[1]:
            return False
        self.shape = shape
        for end in ("image", "heatmaps"):
            half = self.engine.get_tensor_dtype(end).name == "HALF"
            all_of_it = (shape[0], *self.engine.get_tensor_shape(end)[1:])
            self.ends[end] = driver().pagelocked_empty(all_of_it, np.float16 if half else np.float32)
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return name in ("image", "heatmaps")

    def execute_async_v3(self, stream: int) -> bool:
        ready = self.shape is not None and len(self.addresses) == 2 and self.memory[1] >= self._needs()
        if not ready or self.engine.fails("execute"):
            return False
        handle, image, heatmaps = ctypes.c_void_p(stream), self.ends["image"], self.ends["heatmaps"]
        if self.memory[0]:
            address, size = (ctypes.c_uint64(self.memory[0]), ctypes.c_size_t(self.memory[1]))
            call("cuMemsetD8Async", address, ctypes.c_ubyte(self.profile), size, handle)
        source, sink = (ctypes.c_uint64(self.addresses[name]) for name in ("image", "heatmaps"))
        host, made = ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(heatmaps.ctypes.data)
        call("cuMemcpyDtoHAsync_v2", host, source, ctypes.c_size_t(image.nbytes), handle)
        call("cuLaunchHostFunc", handle, self.function, ctypes.c_void_p(0))
        call("cuMemcpyHtoDAsync_v2", sink, made, ctypes.c_size_t(heatmaps.nbytes), handle)
        if self.profiler is not None:
            call("cuStreamSynchronize", handle)
            self.profiler.told(json.loads(self.engine.document)["Layers"])
        return True

    def _needs(self) -> int:
        return 0


class Profiler:
    """What is told how long each layer took, once all are done; like NVIDIA's, it is none until it was made so."""

    def __init__(self) -> None:
        self.is_made = True

    def told(self, layers: list[dict]) -> None:
        assert self.is_made
        for index, layer in enumerate(layers):
            self.report_layer_time(layer["Name"], MS_OF_FIRST * (index + 1))


def compute(network: onnxruntime.InferenceSession, ends: dict[str, np.ndarray], nothing: object) -> None:
    """What the host does; no method, for a context must be freed when it is let go of."""
    ends["heatmaps"][:] = network.run(["heatmaps"], {"image": ends["image"].astype(np.float32)})[0]


class LentContext(Context):
    """An execution context that is lent its memory, and tells whether it can be captured, as RTX's does."""

    def set_device_memory(self, address: int, size: int) -> None:
        self.trt.events.append(f"memory {size}")
        self.memory = (address, size)

    def is_stream_capturable(self, stream: int) -> bool:
        return stream != 0 and not self.engine.fails("capturable")

    def _needs(self) -> int:
        return self.engine.device_memory_size_v2


class RuntimeConfig:
    """What RTX makes execution contexts with."""

    def __init__(self, trt: ModuleType) -> None:
        self.trt, self.cache = trt, None
        self.cuda_graph_strategy = self.dynamic_shapes_kernel_specialization_strategy = None

    def set_execution_context_allocation_strategy(self, strategy: enum.Enum) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache()

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self.cache = cache
        return True

    @property
    def name(self) -> str:
        """As the events tell of it."""
        kinds = (self.cuda_graph_strategy, self.dynamic_shapes_kernel_specialization_strategy, self.strategy)
        return f"{' '.join(kind.name for kind in kinds)} with {self.cache.content!r}"


class RuntimeCache:
    """Kernels that were compiled: some were, whenever it is asked."""

    content = b""

    def deserialize(self, content: bytes) -> bool:
        fine = content.startswith(b"kernels")
        self.content = content if fine else b""
        return fine

    def serialize(self) -> bytes:
        return b"kernels of this GPU"
