"""Backends by name, imported on use."""

from __future__ import annotations

import importlib
import logging
from types import ModuleType

from hgedge.errors import BackendUnavailable, ConfigError

log = logging.getLogger(__name__)

BACKENDS = {
    "openvino": "hgedge.backends.openvino",
    "onnxruntime": "hgedge.backends.onnxruntime",
    "torch": "hgedge.backends.torch",
}


def choose(name: str) -> str:
    """The backend to build for: the one asked for, or the best for this machine.

    Raises:
        ConfigError: No backend has this name.
    """
    if name == "auto":
        log.info("backend auto: openvino, the engine for CPUs")
        return "openvino"
    if name not in BACKENDS:
        raise ConfigError(f"backend must be auto or one of {', '.join(BACKENDS)}, but got {name!r}")
    return name


def builder(name: str) -> ModuleType:
    """The module that builds engines of a backend."""
    return _module(name, "build")


def sessions(name: str) -> ModuleType:
    """The module that runs engines of a backend."""
    return _module(name, "session")


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
