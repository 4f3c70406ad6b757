"""Build a TensorRT engine, `engine.plan`, with TensorRT 8.6 to 11 or TensorRT-RTX.

The precision is a property of the graph: FP32, all FP16, or INT8 between Q and DQ with the rest in FP16. What the
library offers is asked of the library, not of its version.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hgedge.backends.tensorrt import configure, fits
from hgedge.backends.tensorrt.cache import cache_path, write_whole
from hgedge.backends.tensorrt.gpu import gpu, memory_bytes
from hgedge.backends.tensorrt.library import (
    library,
    logger,
    needs_newer_driver,
    ran_out_of_memory,
    reasons,
    strongly_typed,
)
from hgedge.backends.tensorrt.progress import Steps, monitor
from hgedge.errors import BackendUnavailable, ConfigError, ExportError, HgedgeError
from hgedge.progress import Progress, no_progress
from hgedge.spec import DeviceInfo, EngineOptions, Manifest

if TYPE_CHECKING:  # a machine that only runs engines has no onnx
    import onnx

BACKEND = "tensorrt"
ENGINE = "engine.plan"
PRECISIONS = ("fp32", "fp16", "int8")
HALF = ("fp16", "int8")
UNSIGNED_AFTER_RELU = False
WORKSPACE_SHARE = 0.75  # of the free memory; the rest is for tensors, weights and the system
DEFAULTS = EngineOptions()


def version() -> str:
    """TensorRT's version."""
    return str(library(BACKEND).__version__)


def check(precision: str, device: DeviceInfo) -> None:
    """Raise BackendUnavailable where TensorRT or a GPU is missing, ConfigError for a precision without a graph."""
    check_precision(precision, BACKEND)
    library(BACKEND)
    try:
        gpu()
    except BackendUnavailable as error:
        raise BackendUnavailable(
            f"TensorRT builds an engine on the GPU that it is for, but {error}; "
            "build there: hgedge build --no-engine makes the portable half to take along"
        ) from error


def check_options(options: EngineOptions, precision: str) -> None:
    """Raise ConfigError or BackendUnavailable for what TensorRT has not, or not on this GPU."""
    configure.check_tensorrt(options, precision, library(BACKEND), gpu())


def device(options: EngineOptions = DEFAULTS) -> DeviceInfo:
    """The GPU that engines are built for."""
    return gpu()


def check_fits(folder: Path, manifest: Manifest) -> None:
    """Raise EngineMismatch for an engine of another GPU, system or version."""
    fits.check_fits(folder, manifest, gpu(), version())


def why_not_here(backend: str = BACKEND) -> str | None:
    """What is missing to run engines of TensorRT or TensorRT-RTX on this machine; None: nothing."""
    from hgedge.runtime.cuda.context import driver

    try:
        library(backend)
        gpu()
        driver()
    except BackendUnavailable as error:
        return str(error)
    return None


def render(graph: onnx.ModelProto, precision: str, keep_fp32: Collection[str] = ()) -> onnx.ModelProto:
    """The graph that TensorRT is to be given."""
    return render_for(library(BACKEND), graph, precision, keep_fp32)


def build(folder: Path, manifest: Manifest, checkpoint: object = None, progress: Progress = no_progress) -> None:
    """Write `engine.plan` beside `model.onnx`."""
    trt = library(BACKEND)
    build_engine(
        folder / "model.onnx",
        folder / ENGINE,
        manifest.batch,
        trt,
        progress,
        cache_path(trt, gpu(), "timing"),
        manifest.engine_options,
        int(WORKSPACE_SHARE * memory_bytes()[0]),
    )


def check_precision(precision: str, backend: str) -> None:
    """Raise ConfigError for a precision that TensorRT gets no graph of."""
    if precision not in PRECISIONS:
        raise ConfigError(f"backend {backend} builds {', '.join(PRECISIONS)}, but got --precision {precision}")


def render_for(
    trt: ModuleType, graph: onnx.ModelProto, precision: str, keep_fp32: Collection[str] = ()
) -> onnx.ModelProto:
    """FP16 in the graph, but for an INT8 graph on TensorRT 8: it reads no FP16 scales, and chooses FP16 itself."""
    needs_half = precision == "fp16" or (precision == "int8" and strongly_typed(trt))
    if not needs_half:
        return graph
    from hgedge.quantization.half import to_half

    return to_half(graph, keep_fp32)


def build_engine(
    model_path: Path,
    engine_path: Path,
    batch: tuple[int, ...],
    trt: ModuleType,
    progress: Progress = no_progress,
    timing_cache: Path | None = None,
    options: EngineOptions = DEFAULTS,
    workspace_bytes: int | None = None,
) -> None:
    """Build an engine and write it, whole or not at all.

    Args:
        model_path: ONNX file with the input `image` (N, C, H, W).
        engine_path: Where to.
        batch: Sizes that N may have; each gets an optimisation profile.
        trt: `tensorrt` or `tensorrt_rtx`.
        progress: Told about the builder's steps, where the library tells.
        timing_cache: File of measured kernel times, read if it is there and written after; None: do without.
        options: What else is asked for.
        workspace_bytes: Device memory that a layer may use where the options do not say; None: the library's limit.

    Raises:
        ExportError: The graph cannot be parsed or built.
        QuantizationError: The graph has unsigned or asymmetric Q/DQ pairs.
        BackendUnavailable: The builder does not start, or there is too little device memory.
    """
    from hgedge.backends.tensorrt.network import parse

    parsed = parse(model_path, trt, on_dla=options.dla is not None)
    if options.workspace_mib is not None:
        workspace_bytes = options.workspace_mib * configure.MIB
    config = configure.configured(parsed, batch, options, workspace_bytes, trt)
    if timing_cache is not None:
        _use(config, timing_cache)
    steps = Steps(progress)
    watcher = monitor(trt, steps)  # must outlive the build
    if watcher is not None:
        config.progress_monitor = watcher
    logger(trt).errors.clear()
    engine = parsed.builder.build_serialized_network(parsed.network, config)
    if steps.failure is not None:
        raise steps.failure
    if engine is None:
        raise _failure(model_path, trt, options)
    write_whole(engine_path, engine)
    if timing_cache is not None:
        write_whole(timing_cache, config.get_timing_cache().serialize())


def _use(config: Any, timing_cache: Path) -> None:
    known = timing_cache.read_bytes() if timing_cache.is_file() else b""
    if not config.set_timing_cache(config.create_timing_cache(known), False):  # another device's
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _failure(model_path: Path, trt: ModuleType, options: EngineOptions) -> HgedgeError:
    """Why a builder gave no engine, and what to do."""
    what = f"{trt.__name__} {trt.__version__} cannot build {model_path}: {reasons(trt)}"
    if needs_newer_driver(trt):
        return BackendUnavailable(f"{what}; update the NVIDIA driver")
    if ran_out_of_memory(trt):
        return BackendUnavailable(f"{what}; {_free()}: close other programs, or build for smaller batches")
    if "workspace" in reasons(trt).lower():
        return ExportError(f"{what}; give it more with --workspace-mib, or leave that out")
    if options.dla is not None and not options.gpu_fallback:
        return ExportError(f"{what}; let the GPU run what the DLA core cannot: --gpu-fallback")
    return ExportError(f"{what}; try --precision fp32")


def _free() -> str:
    try:
        free, total = memory_bytes()
    except BackendUnavailable as error:
        return str(error)
    return f"the GPU has {free // configure.MIB} of {total // configure.MIB} MiB free"
