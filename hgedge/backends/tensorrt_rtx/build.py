"""Build a TensorRT-RTX engine. Neither a GPU nor a driver is needed: kernels are chosen where it is loaded."""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from hgedge.backends.tensorrt import configure, fits
from hgedge.backends.tensorrt.build import DEFAULTS, ENGINE, HALF, build_engine, check_precision, render_for
from hgedge.backends.tensorrt.build import why_not_here as why_tensorrt_not_here
from hgedge.backends.tensorrt.gpu import gpu
from hgedge.backends.tensorrt.library import library
from hgedge.device import cpu
from hgedge.errors import BackendUnavailable
from hgedge.progress import Progress, no_progress
from hgedge.spec import DeviceInfo, EngineOptions, Manifest

if TYPE_CHECKING:
    import onnx

__all__ = ["HALF", "build", "check", "check_fits", "check_options", "device", "render", "version", "why_not_here"]

log = logging.getLogger(__name__)

BACKEND = "tensorrt-rtx"
UNSIGNED_AFTER_RELU = False
FOR_OTHER_GPUS = True
DEVICES = "NVIDIA RTX GPU, Ampere or newer"
CAPABILITIES = ("sm_86", "sm_89", "sm_120")  # as documented: the builder that is told none says that it has none
CURRENT = ("current",)

why_not_here = functools.partial(why_tensorrt_not_here, BACKEND)


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


def check_options(options: EngineOptions, precision: str) -> None:
    """Raise ConfigError for what TensorRT-RTX has not, BackendUnavailable for the current GPU where there is none."""
    configure.check_rtx(options, library(BACKEND))
    if options.gpu_capability == CURRENT:
        try:
            gpu()
        except BackendUnavailable as error:
            raise BackendUnavailable(
                f"--gpu-capability current is that of this machine's GPU, but {error}; name it, as --gpu-capability 8.6"
            ) from error


def device(options: EngineOptions = DEFAULTS) -> DeviceInfo:
    """The GPUs that engines are built for."""
    if options.gpu_capability == CURRENT:
        return gpu()
    if options.gpu_capability:
        named = ", ".join(options.gpu_capability)
        features = tuple(f"sm_{asked.replace('.', '')}" for asked in options.gpu_capability)
        return DeviceInfo(f"NVIDIA GPU of compute capability {named}", cpu().architecture, features)
    return DeviceInfo(DEVICES, cpu().architecture, CAPABILITIES)


def check_fits(folder: Path, manifest: Manifest) -> None:
    """Raise EngineMismatch for an engine of another system or version; which GPUs it runs on, the library says."""
    fits.check_fits(folder, manifest, gpu(), version(), portable=True)


def render(graph: onnx.ModelProto, precision: str, keep_fp32: Collection[str] = ()) -> onnx.ModelProto:
    """The graph that TensorRT-RTX is to be given."""
    return render_for(library(BACKEND), graph, precision, keep_fp32)


def build(folder: Path, manifest: Manifest, checkpoint: object = None, progress: Progress = no_progress) -> None:
    """Write `engine.plan` beside `model.onnx`."""
    trt, options = library(BACKEND), manifest.engine_options
    build_engine(folder / "model.onnx", folder / ENGINE, manifest.batch, trt, progress, options=options)
