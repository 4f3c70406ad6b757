"""Build a TensorRT engine, `engine.plan`, with TensorRT 8.6 to 11 or TensorRT-RTX.

The precision is a property of the graph: FP32, all FP16, or INT8 between Q and DQ with the rest in FP16. What the
library offers is asked of the library, not of its version.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hgedge.backends.tensorrt.gpu import gpu
from hgedge.backends.tensorrt.library import library, logger, strongly_typed
from hgedge.backends.tensorrt.progress import Steps, monitor
from hgedge.errors import ConfigError, ExportError
from hgedge.progress import Progress, no_progress
from hgedge.spec import DeviceInfo, Manifest

if TYPE_CHECKING:  # a machine that only runs engines has no onnx
    import onnx

    from hgedge.backends.tensorrt.network import ParsedNetwork

BACKEND = "tensorrt"
ENGINE = "engine.plan"
PRECISIONS = ("fp32", "fp16", "int8")
HALF = ("fp16", "int8")
UNSIGNED_AFTER_RELU = False


def version() -> str:
    """TensorRT's version."""
    return str(library(BACKEND).__version__)


def check(precision: str, device: DeviceInfo) -> None:
    """Raise BackendUnavailable where TensorRT or a GPU is missing, ConfigError for a precision without a graph."""
    check_precision(precision, BACKEND)
    library(BACKEND)
    gpu()


def device() -> DeviceInfo:
    """The GPU that engines are built for."""
    return gpu()


def why_not_here() -> str:
    """Why engines cannot run on this machine."""
    return "this hgedge builds TensorRT engines, but has nothing that runs them yet"


def render(graph: onnx.ModelProto, precision: str, keep_fp32: Collection[str] = ()) -> onnx.ModelProto:
    """The graph that TensorRT is to be given."""
    return render_for(library(BACKEND), graph, precision, keep_fp32)


def build(folder: Path, manifest: Manifest, checkpoint: object = None, progress: Progress = no_progress) -> None:
    """Write `engine.plan` beside `model.onnx`."""
    trt = library(BACKEND)
    cache = timing_cache_path(trt, gpu())
    build_engine(folder / "model.onnx", folder / ENGINE, manifest.batch, trt, progress, cache)


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
) -> None:
    """Build an engine and write it, whole or not at all.

    Args:
        model_path: ONNX file with the input `image` (N, C, H, W).
        engine_path: Where to.
        batch: Sizes that N may have: any from the least to the largest, tuned for the largest.
        trt: `tensorrt` or `tensorrt_rtx`.
        progress: Told about the builder's steps, where the library tells.
        timing_cache: File of measured kernel times, read if it is there and written after; None: do without.

    Raises:
        ExportError: The graph cannot be parsed or built.
        QuantizationError: The graph has unsigned or asymmetric Q/DQ pairs.
        BackendUnavailable: The builder does not start.
    """
    from hgedge.backends.tensorrt.network import parse

    parsed = parse(model_path, trt)
    config = _configured(parsed, batch, trt)
    if timing_cache is not None:
        known = timing_cache.read_bytes() if timing_cache.is_file() else b""
        if not config.set_timing_cache(config.create_timing_cache(known), False):  # another device's
            config.set_timing_cache(config.create_timing_cache(b""), False)
    steps = Steps(progress)
    watcher = monitor(trt, steps)  # must outlive the build
    if watcher is not None:
        config.progress_monitor = watcher
    errors = logger(trt).errors
    errors.clear()
    engine = parsed.builder.build_serialized_network(parsed.network, config)
    if steps.failure is not None:
        raise steps.failure
    if engine is None:
        reasons = "; ".join(errors) or "it gives no reason"
        raise ExportError(
            f"{trt.__name__} {trt.__version__} cannot build {model_path}: {reasons}; try --precision fp32"
        )
    _write(engine_path, engine)
    if timing_cache is not None:
        _write(timing_cache, config.get_timing_cache().serialize())


def timing_cache_path(trt: ModuleType, device: DeviceInfo) -> Path:
    """The file of kernel times that were measured by this version of a library on this device."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    words = "-".join([trt.__name__, trt.__version__, device.name, *device.features])
    return base / "hgedge" / (re.sub(r"[^\w.-]+", "-", words) + ".timing")


def _configured(parsed: ParsedNetwork, batch: tuple[int, ...], trt: ModuleType) -> Any:
    """A builder's configuration: flags, and one profile over all sizes of a batch."""
    config = parsed.builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # FP32 means FP32
    for name in parsed.builder_flags:
        config.set_flag(getattr(trt.BuilderFlag, name))
    image = parsed.network.get_input(0)
    shapes = [(size, *image.shape[1:]) for size in (min(batch), max(batch), max(batch))]
    profile = parsed.builder.create_optimization_profile()
    profile.set_shape(image.name, *shapes)
    if config.add_optimization_profile(profile) < 0:
        raise ExportError(
            f"{trt.__name__} takes no batch of {min(batch)} to {max(batch)} for input {tuple(image.shape)}"
        )
    return config


def _write(path: Path, content: Any) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ExportError(f"cannot write {path}: {error.strerror}; make room there or choose another folder") from error
