"""TensorRT's Python module, whichever is installed, and the one logger that it gets in a process."""

from __future__ import annotations

import functools
import importlib
import logging
import re
from types import ModuleType
from typing import Any

from hgedge.errors import BackendUnavailable

log = logging.getLogger(__name__)

MODULES = {"tensorrt": ("tensorrt",), "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
PYTHON_LEVELS = {
    "INTERNAL_ERROR": logging.ERROR,
    "ERROR": logging.ERROR,
    "WARNING": logging.INFO,  # hundreds a build that no user can act on
    "INFO": logging.DEBUG,
}  # VERBOSE, a line a tactic, is dropped
OLD_DRIVER = "driver version is insufficient"  # CUDA error 35
NO_MEMORY = re.compile(r"out ?of ?memory|memory could not be allocated|cudaErrorMemoryAllocation", re.IGNORECASE)


def library(backend: str) -> ModuleType:
    """The module of `tensorrt` or of `tensorrt-rtx`, never one for the other.

    Raises:
        BackendUnavailable: It is not installed, or what it needs is missing.
    """
    failures = []
    for name in MODULES[backend]:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: a shared library of another release
            failures.append(error)
    system = "; on a Jetson use the TensorRT of its own JetPack" if backend == "tensorrt" else ""
    raise BackendUnavailable(
        f"backend {backend!r} is not installed ({'; '.join(map(str, failures))}); "
        f"install it with: pip install 'hgedge[{backend}]'{system}"
    ) from failures[-1]


def strongly_typed(trt: ModuleType) -> bool:
    """Whether types come from the graph alone: since TensorRT 10, where asked for, and always since 11."""
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED") or not hasattr(trt.BuilderFlag, "FP16")


@functools.cache
def logger(trt: ModuleType) -> Any:
    """The logger of a library, made once: TensorRT keeps the first that it gets. Its `errors` are the latest ones."""

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            level = PYTHON_LEVELS.get(severity.name)
            if level is not None:
                log.log(level, "%s: %s", trt.__name__, message)
            if level == logging.ERROR:
                self.errors.append(message)

    return Logger()


def reasons(trt: ModuleType) -> str:
    """The latest errors of a library, as one line."""
    return "; ".join(logger(trt).errors) or "it gives no reason"


def needs_newer_driver(trt: ModuleType) -> bool:
    """Whether the latest errors tell of a driver that is older than the CUDA that the library was made for."""
    return OLD_DRIVER in reasons(trt)


def ran_out_of_memory(trt: ModuleType) -> bool:
    """Whether the latest errors tell of too little device memory."""
    return NO_MEMORY.search(reasons(trt)) is not None
