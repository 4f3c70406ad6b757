"""FP16 engines, simulated: what FP16 arithmetic would give, on any CPU, slowly."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto

from hgedge.backends.onnxruntime.session import ONNXRuntimeSession
from hgedge.bundle import file_of
from hgedge.errors import ConfigError
from hgedge.quantization.half import to_half
from hgedge.quantization.simulated_half import simulated_half
from hgedge.spec import Manifest


def load(folder: Path, manifest: Manifest) -> ONNXRuntimeSession:
    """Load the graph of a bundle whose hashes hold, rounding every tensor to FP16 that is FP16 in an engine.

    Raises:
        ConfigError: Nothing of the engine is FP16.
    """
    model = onnx.load(file_of(folder, manifest, "model.onnx"))
    if not any(item.data_type == TensorProto.FLOAT16 for item in model.graph.initializer):
        if manifest.precision != "fp16":
            raise ConfigError(
                f"FP16 is simulated of bundles that hold any, but {folder} is {manifest.precision}; "
                f"build one: hgedge build {folder} --precision fp16"
            )
        model = to_half(model, manifest.kept_fp32 or ())
    return ONNXRuntimeSession(simulated_half(model).SerializeToString(), manifest.input, optimised=False)
