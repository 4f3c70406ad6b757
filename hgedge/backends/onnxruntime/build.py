"""ONNX Runtime needs no file of its own: its engine is `model.onnx`, signed Q/DQ with an FP32 remainder if quantised.

TensorRT 8 gets the same graph, so the loss of its ranges can be measured here; for speed on a CPU there is OpenVINO.
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from hgedge.errors import ConfigError
from hgedge.progress import Progress, no_progress
from hgedge.spec import DeviceInfo, Manifest

UNSIGNED_AFTER_RELU = False


def version() -> str:
    """ONNX Runtime's version."""
    return str(onnxruntime.__version__)


def check(precision: str, device: DeviceInfo) -> None:
    """Raise ConfigError for a precision that this backend has no graph for."""
    if precision not in ("fp32", "int8"):
        raise ConfigError(f"backend onnxruntime runs fp32 and int8, but got --precision {precision}")


def build(folder: Path, manifest: Manifest, checkpoint: object = None, progress: Progress = no_progress) -> None:
    """Nothing to write beside `model.onnx`."""
