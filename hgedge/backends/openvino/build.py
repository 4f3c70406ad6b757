"""Build an OpenVINO engine: the graph with colour order, scale and layout folded in, as IR (`engine.xml`, `.bin`).

The folded input is `image` (1, H, W, C) uint8, BGR or grey, as crops come; batches are set when the engine is loaded.
"""

from __future__ import annotations

import logging
from pathlib import Path

import openvino as ov
from openvino.preprocess import ColorFormat, PrePostProcessor

from hgedge.errors import BackendUnavailable
from hgedge.progress import Progress, no_progress
from hgedge.spec import DeviceInfo, InputSpec, Manifest

log = logging.getLogger(__name__)

UNSIGNED_AFTER_RELU = True  # spares a reorder before each convolution
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


def version() -> str:
    """OpenVINO's version, without the build's number."""
    return str(ov.get_version()).split("-")[0]


def check(precision: str, device: DeviceInfo) -> None:
    """Raise BackendUnavailable for a precision that this CPU cannot compute in; say so where FP16 is only stored."""
    if precision == "bf16" and not any(flag in device.features for flag in BF16_FLAGS):
        raise BackendUnavailable(
            f"bf16 needs a CPU with one of {', '.join(BF16_FLAGS)}, but {device.name} has none; use --precision fp32"
        )
    if precision == "fp16":
        log.warning("fp16 on a CPU: weights are stored as FP16, arithmetic is FP32")


def build(folder: Path, manifest: Manifest, checkpoint: object = None, progress: Progress = no_progress) -> None:
    """Write `engine.xml` and `engine.bin` beside `model.onnx`."""
    model = fold_input(ov.Core().read_model(folder / "model.onnx"), manifest.input)
    stored_in_half = manifest.precision == "fp16" and not manifest.kept_fp32  # it would clip what is beyond FP16
    ov.save_model(model, folder / "engine.xml", compress_to_fp16=stored_in_half)


def fold_input(model: ov.Model, spec: InputSpec) -> ov.Model:
    """Put normalisation, colour order and layout of uint8 crops into the model.

    Args:
        model: Input (N, C, H, W) float32, normalised.
        spec: How crops are normalised.

    Returns:
        The model with input (1, H, W, C) uint8, BGR or grey.
    """
    steps = PrePostProcessor(model)
    tensor = steps.input().tensor()
    tensor.set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    convert = steps.input().preprocess()
    convert.convert_element_type(ov.Type.f32)
    if spec.color != "gray":
        tensor.set_color_format(ColorFormat.BGR)
        convert.convert_color(ColorFormat.RGB if spec.color == "rgb" else ColorFormat.BGR)
    convert.mean([255 * value for value in spec.mean]).scale([255 * value for value in spec.std])
    steps.input().model().set_layout(ov.Layout("NCHW"))
    folded = steps.build()
    folded.reshape([1, *spec.hw, spec.channels])
    return folded
