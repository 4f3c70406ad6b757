"""Stacked-hourglass pose estimation on edge devices: build an engine, run it.

    engine = hgedge.load("engines/default-int8-openvino")
    poses = engine(frame_bgr)

Names are imported when they are first used: `import hgedge` alone loads no library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hgedge.builder import BuildReport
    from hgedge.errors import (
        BackendUnavailable,
        CheckpointError,
        ConfigError,
        EngineMismatch,
        ExportError,
        HgedgeError,
        KernelError,
        NoisyMachine,
        QuantizationError,
        ShapeError,
        SourceError,
    )
    from hgedge.pose import Frame, KeypointSet, Pose
    from hgedge.runtime.pipeline import Pipeline, load

__version__ = "0.1.0"

__all__ = [
    "BackendUnavailable",
    "CheckpointError",
    "ConfigError",
    "EngineMismatch",
    "ExportError",
    "Frame",
    "HgedgeError",
    "KernelError",
    "KeypointSet",
    "NoisyMachine",
    "Pipeline",
    "Pose",
    "QuantizationError",
    "ShapeError",
    "SourceError",
    "__version__",
    "build",
    "load",
]

_ELSEWHERE = {"hgedge.pose": ("Frame", "KeypointSet", "Pose"), "hgedge.runtime.pipeline": ("Pipeline", "load")}


def build(model: str | None = None, precision: str | None = None, **options: Any) -> BuildReport:
    """Build a bundle; needs `hgedge[export]`, or `hgedge[build]` from a bundle.

    Args:
        model: What to build from: a name, a checkpoint, an ONNX file, a bundle or a recipe; by default the shipped
            model.
        precision: "fp32", "fp16", "bf16" or "int8"; by default the recipe's, or "int8".
        options: Further fields of `hgedge.builder.BuildOptions`.

    Raises:
        HgedgeError: An option is wrong, or a step failed; the subclass tells which.
    """
    from hgedge import builder, records

    given = {"model": model, "precision": precision, **options}
    asked = {name: value for name, value in given.items() if value is not None}
    typed = records.from_mapping(builder.BuildOptions, asked, "hgedge.build")
    return builder.build(builder.options_of({name: getattr(typed, name) for name in asked}))


def __getattr__(name: str) -> Any:
    if name in __all__:
        module = next((module for module, names in _ELSEWHERE.items() if name in names), "hgedge.errors")
        return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'hgedge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
