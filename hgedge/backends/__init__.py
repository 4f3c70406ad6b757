"""Backends by name, imported on use."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

from hgedge import bundle, device
from hgedge.errors import BackendUnavailable, ConfigError, EngineMismatch
from hgedge.spec import DeviceInfo, EngineOptions, Manifest

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


def device_for(name: str, options: EngineOptions | None = None) -> DeviceInfo:
    """What engines of a backend are built for here; options may name another device."""
    ask = getattr(builder(name), "device", device.cpu)
    return ask(options) if options is not None and options.arguments else ask()


def check_options(name: str, options: EngineOptions, precision: str) -> None:
    """Check that a backend has what is asked of NVIDIA's builders.

    Raises:
        ConfigError: It never has.
        BackendUnavailable: It has not on this machine.
    """
    check = getattr(builder(name), "check_options", None)
    if check is not None:
        check(options, precision)
    elif options.arguments:
        raise ConfigError(f"backend {name} has no {options.arguments[0]}, which is for NVIDIA's engines; leave it out")


def rendered(name: str, graph: Any, precision: str, keep_fp32: Collection[str] = ()) -> Any:
    """The graph (onnx.ModelProto) as a backend takes it; of what becomes FP16, some layers may stay FP32."""
    render = getattr(builder(name), "render", None)
    return render(graph, precision, keep_fp32) if render is not None else graph


def why_not_here(name: str) -> str | None:
    """Why engines of a backend cannot run on this machine; None: they can."""
    reason = getattr(builder(name), "why_not_here", None)
    return reason() if reason is not None else None


def check_fits(folder: Path, manifest: Manifest) -> None:
    """Check that a bundle's engine was built for this processor, this system and this version of its backend.

    Raises:
        EngineMismatch: It was not, or there is none.
        BackendUnavailable: Its backend is not installed.
    """
    built, _ = bundle.engine_of(folder, manifest)
    module = builder(built.name)
    if hasattr(module, "check_fits"):
        return module.check_fits(folder, manifest)
    bundle.check_fits(folder, manifest, device_for(built.name))
    if module.version() != built.version:
        raise EngineMismatch(
            f"{folder} was built with {built.name} {built.version}, but this machine has {module.version()}; "
            f"{bundle.rebuild(manifest, folder)}"
        )


def sessions(name: str) -> ModuleType:
    """The module that runs engines of a backend."""
    return _module(name, "session")


def profiler(name: str) -> ModuleType:
    """The module that times the layers of a backend's engines.

    Raises:
        BackendUnavailable: It has none, or is not installed.
    """
    if name in BACKENDS and importlib.util.find_spec(f"{BACKENDS[name]}.profile") is None:
        able = [each for each in BACKENDS if importlib.util.find_spec(f"{BACKENDS[each]}.profile") is not None]
        raise BackendUnavailable(
            f"backend {name} cannot tell the time of single layers; build for one that can: {', '.join(able)}"
        )
    return _module(name, "profile")


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
