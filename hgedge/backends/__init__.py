"""Backends by name, imported on use."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Collection
from types import ModuleType
from typing import Any

from hgedge import device
from hgedge.errors import BackendUnavailable, ConfigError
from hgedge.spec import DeviceInfo

log = logging.getLogger(__name__)

BACKENDS = {
    "openvino": "hgedge.backends.openvino",
    "onnxruntime": "hgedge.backends.onnxruntime",
    "torch": "hgedge.backends.torch",
    "tensorrt": "hgedge.backends.tensorrt",
    "tensorrt-rtx": "hgedge.backends.tensorrt_rtx",
}


def choose(name: str) -> str:
    """The backend to build for: the one asked for, or the best for this machine.

    Raises:
        ConfigError: No backend has this name.
        BackendUnavailable: It may be any, but none is installed.
    """
    if name == "auto":
        from hgedge.backends.auto import best_here

        best, why = best_here()
        log.info("backend auto: %s, as %s", best, why)
        return best
    if name not in BACKENDS:
        raise ConfigError(f"backend must be auto or one of {', '.join(BACKENDS)}, but got {name!r}")
    return name


def builder(name: str) -> ModuleType:
    """The module that builds engines of a backend."""
    return _module(name, "build")


def device_for(name: str) -> DeviceInfo:
    """What engines of a backend are built for here."""
    return getattr(builder(name), "device", device.cpu)()


def rendered(name: str, graph: Any, precision: str, keep_fp32: Collection[str] = ()) -> Any:
    """The graph (onnx.ModelProto) as a backend takes it; of what becomes FP16, some layers may stay FP32."""
    render = getattr(builder(name), "render", None)
    return render(graph, precision, keep_fp32) if render is not None else graph


def why_not_here(name: str) -> str | None:
    """Why engines of a backend cannot run on this machine; None: they can."""
    reason = getattr(builder(name), "why_not_here", None)
    return reason() if reason is not None else None


def sessions(name: str) -> ModuleType:
    """The module that runs engines of a backend."""
    return _module(name, "session")


def simulator() -> ModuleType:
    """The module that runs the engines of FP16 bundles as FP16 arithmetic would, on any CPU."""
    return _module("onnxruntime", "simulated")


def _module(name: str, part: str) -> ModuleType:
    if name not in BACKENDS:
        raise ConfigError(f"unknown backend {name!r}; known: {', '.join(BACKENDS)}")
    try:
        return importlib.import_module(f"{BACKENDS[name]}.{part}")
    except ImportError as error:
        extra = "export" if name == "torch" else name
        raise BackendUnavailable(
            f"backend {name!r} is not installed ({error}); install it with: pip install 'hgedge[{extra}]'"
        ) from error
