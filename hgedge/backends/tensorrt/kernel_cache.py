"""Kernels that TensorRT-RTX compiles where an engine is loaded, kept for the next time."""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

from hgedge.backends.tensorrt.cache import write_whole
from hgedge.errors import ExportError

log = logging.getLogger(__name__)


class KernelCache:
    """What an engine's execution contexts are made with, so that they find and leave compiled kernels.

    Attributes:
        config: The library's runtime configuration.
    """

    def __init__(self, path: Path, trt: ModuleType, engine: Any) -> None:
        """Read the file, if it is there and this version of the library takes it."""
        self._path = path
        self._known = path.read_bytes() if path.is_file() else b""
        self.config: Any = engine.create_runtime_config()
        self.config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        self.config.cuda_graph_strategy = trt.CudaGraphStrategy.DISABLED  # hgedge captures one over all of a frame
        specialised = trt.DynamicShapesKernelSpecializationStrategy.EAGER  # a graph keeps the kernels that it captured
        self.config.dynamic_shapes_kernel_specialization_strategy = specialised
        self._cache: Any = self.config.create_runtime_cache()
        if self._known and not self._cache.deserialize(self._known):
            log.info("%s is not taken, and kernels are compiled anew", path)
        self.config.set_runtime_cache(self._cache)

    def keep(self) -> None:
        """Write what was compiled, if anything was."""
        serialised = self._cache.serialize()
        compiled = self._known if serialised is None else bytes(serialised)
        try:
            if compiled != self._known:
                write_whole(self._path, compiled)
        except ExportError as error:
            log.warning("compiled kernels are not kept, and will be compiled again: %s", error)
