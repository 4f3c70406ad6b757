"""Run `model.onnx` in ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime

from hgedge.bundle import file_of
from hgedge.errors import EngineMismatch
from hgedge.spec import InputSpec, Manifest

QUIET = 3  # errors alone


class ONNXRuntimeSession:
    """The graph as it is, on all cores; all crops at once where it can.

    Args:
        graph: Its file, or what the file holds.
        spec: How crops are normalised.
        optimised: False runs node by node, as the graph says.
    """

    def __init__(self, graph: Path | bytes, spec: InputSpec, optimised: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.log_severity_level = QUIET
        if not optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        content = graph if isinstance(graph, bytes) else str(graph)
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library raises types of its own
            what = "a graph" if isinstance(graph, bytes) else graph
            raise EngineMismatch(f"ONNX Runtime cannot load {what}: {error}") from error
        self.one_by_one = self.session.get_inputs()[0].shape[0] == 1  # some networks of others have a fixed batch
        self.swap = spec.color == "rgb"
        self.mean = 255 * np.asarray(spec.mean, np.float32)
        self.scale = 1 / (255 * np.asarray(spec.std, np.float32))

    def run(self, crops: np.ndarray) -> np.ndarray:
        """Predict heatmaps; see `hgedge.backends.base.Session`."""
        ordered = crops[..., ::-1] if self.swap else crops
        images = np.ascontiguousarray(((ordered - self.mean) * self.scale).transpose(0, 3, 1, 2))
        if not self.one_by_one:
            return self._run(images)
        return np.concatenate([self._run(images[i : i + 1]) for i in range(len(images))])

    def _run(self, images: np.ndarray) -> np.ndarray:
        heatmaps: np.ndarray = self.session.run(["heatmaps"], {"image": images})[0]
        return heatmaps

    def close(self) -> None:
        """Free the session."""
        del self.session


def load(folder: Path, manifest: Manifest) -> ONNXRuntimeSession:
    """Load the graph of a bundle whose hashes hold."""
    return ONNXRuntimeSession(file_of(folder, manifest, "model.onnx"), manifest.input)
