"""Run an OpenVINO engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov

from hgedge.bundle import file_of
from hgedge.errors import EngineMismatch
from hgedge.spec import Manifest

PRECISION_HINTS = {"fp32": "f32", "fp16": "f32", "int8": "f32", "bf16": "bf16"}  # of what is not in INT8


class OpenVINOSession:
    """One compiled model a batch size; crops are split over the sizes that were asked for.

    An array that comes again is not handed over again: what is called between two runs finds no cache warm.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        core = ov.Core()
        properties = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[manifest.precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
        self.requests: dict[int, ov.InferRequest] = {}
        self._read: dict[int, np.ndarray] = {}  # batch size -> the array that its request reads
        try:
            for size in sorted(set(manifest.batch), reverse=True):
                model = core.read_model(
                    file_of(folder, manifest, "engine.xml"), file_of(folder, manifest, "engine.bin")
                )
                model.reshape([size, *manifest.input.hw, manifest.input.channels])
                self.requests[size] = core.compile_model(model, "CPU", properties).create_infer_request()
        except RuntimeError as error:
            raise EngineMismatch(f"OpenVINO cannot load {folder / 'engine.xml'}: {error}") from error

    def run(self, crops: np.ndarray) -> np.ndarray:
        """Predict heatmaps; see `hgedge.backends.base.Session`."""
        if len(crops) in self.requests:
            return self._infer(crops)
        parts, start = [], 0
        while start < len(crops):
            left = len(crops) - start
            size = next((size for size in self.requests if size <= left), min(self.requests))
            part = crops[start : start + size]
            padded = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), part.dtype)])
            parts.append(self._infer(padded)[: len(part)].copy())
            start += size
        return np.concatenate(parts)

    def _infer(self, crops: np.ndarray) -> np.ndarray:
        request = self.requests[len(crops)]
        if crops is not self._read.get(len(crops)):
            self._read[len(crops)] = np.ascontiguousarray(crops)
            request.set_input_tensor(ov.Tensor(self._read[len(crops)], shared_memory=True))
        request.infer()
        heatmaps: np.ndarray = request.get_output_tensor().data
        return heatmaps

    def layer_precisions(self) -> dict[str, str]:
        """Name of each executed convolution -> type of what it reads, such as "u8", "i8" or "f32".

        OpenVINO's own "runtimePrecision" says f16 where weights are only stored so.
        """
        request = next(iter(self.requests.values()))
        found = {}
        for node in request.get_compiled_model().get_runtime_model().get_ordered_ops():
            info = node.get_rt_info()
            if info["layerType"].astype(str) == "Convolution":
                found[node.get_friendly_name()] = str(node.get_input_element_type(0).get_type_name())
        return found

    def close(self) -> None:
        """Free the compiled models."""
        self.requests.clear()


def load(folder: Path, manifest: Manifest) -> OpenVINOSession:
    """Load the engine of a bundle whose hashes hold."""
    return OpenVINOSession(folder, manifest)
