"""Build a TensorRT-RTX engine. Neither a GPU nor a driver is needed: kernels are chosen where it is loaded."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

from hgedge.backends.tensorrt.build import ENGINE, build_engine, check_precision, render_for, why_not_here
from hgedge.backends.tensorrt.library import library
from hgedge.progress import Progress, no_progress
from hgedge.spec import DeviceInfo, Manifest

if TYPE_CHECKING:
    import onnx

__all__ = ["build", "check", "device", "render", "version", "why_not_here"]

BACKEND = "tensorrt-rtx"
UNSIGNED_AFTER_RELU = False
DEVICES = "NVIDIA RTX GPU, Ampere or newer"  # sm_86, sm_89 and sm_120 are what the builder aims at unless told


def version() -> str:
    """TensorRT-RTX's version."""
    return str(library(BACKEND).__version__)


def check(precision: str, device: DeviceInfo) -> None:
    """Raise BackendUnavailable where the library is missing, ConfigError for a precision without a graph."""
    check_precision(precision, BACKEND)
    library(BACKEND)


def device() -> DeviceInfo:
    """The GPUs that engines are built for."""
    return DeviceInfo(DEVICES, platform.machine())


def render(graph: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """The graph that TensorRT-RTX is to be given."""
    return render_for(library(BACKEND), graph, precision)


def build(folder: Path, manifest: Manifest, checkpoint: object = None, progress: Progress = no_progress) -> None:
    """Write `engine.plan` beside `model.onnx`."""
    build_engine(folder / "model.onnx", folder / ENGINE, manifest.batch, library(BACKEND), progress)
