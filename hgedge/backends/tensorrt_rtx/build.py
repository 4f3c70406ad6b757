"""Build a TensorRT-RTX engine. Neither a GPU nor a driver is needed: kernels are chosen where it is loaded."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from hgedge.backends.tensorrt.build import ENGINE, HALF, build_engine, check_precision, render_for, why_not_here
from hgedge.backends.tensorrt.library import library
from hgedge.device import cpu
from hgedge.progress import Progress, no_progress
from hgedge.spec import DeviceInfo, Manifest

if TYPE_CHECKING:
    import onnx

__all__ = ["HALF", "build", "check", "device", "render", "version", "why_not_here"]

log = logging.getLogger(__name__)

BACKEND = "tensorrt-rtx"
UNSIGNED_AFTER_RELU = False
DEVICES = "NVIDIA RTX GPU, Ampere or newer"
CAPABILITIES = ("sm_86", "sm_89", "sm_120")  # as documented: the builder that is told none says that it has none


def version() -> str:
    """TensorRT-RTX's version."""
    return str(library(BACKEND).__version__)


def check(precision: str, device: DeviceInfo) -> None:
    """Raise BackendUnavailable where the library is missing, ConfigError for a precision without a graph."""
    check_precision(precision, BACKEND)
    library(BACKEND)
    if precision == "int8":  # each INT8 convolution writes FP32, which a kernel of its own brings back to INT8
        log.warning(
            "TensorRT-RTX is tuned for FP16 and documents no INT8 convolutions, so INT8 may be slower: "
            "compare with --precision fp16"
        )


def device() -> DeviceInfo:
    """The GPUs that engines are built for."""
    return DeviceInfo(DEVICES, cpu().architecture, CAPABILITIES)


def render(graph: onnx.ModelProto, precision: str, keep_fp32: Collection[str] = ()) -> onnx.ModelProto:
    """The graph that TensorRT-RTX is to be given."""
    return render_for(library(BACKEND), graph, precision, keep_fp32)


def build(folder: Path, manifest: Manifest, checkpoint: object = None, progress: Progress = no_progress) -> None:
    """Write `engine.plan` beside `model.onnx`."""
    build_engine(folder / "model.onnx", folder / ENGINE, manifest.batch, library(BACKEND), progress)
