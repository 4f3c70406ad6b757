"""Run the graphs of a bundle: in ONNX Runtime, or where there is none in OpenVINO."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hgedge.errors import BackendUnavailable, EngineMismatch

if TYPE_CHECKING:
    import onnx

RUNNERS = ("onnxruntime", "openvino")
QUIET = 4  # ONNX Runtime: fatal alone
MERGE = re.compile(r"merge_features\.(\d+)")  # reads the features that stack's heatmaps are made of
Run = Callable[[np.ndarray], list[np.ndarray]]


def runner() -> str | None:
    """The library that graphs are run in; None where there is none of them."""
    return next((name for name in RUNNERS if _is_here(name)), None)


def inside() -> bool:
    """Whether onnx is here, which tensors inside of a graph are asked for with."""
    return _is_here("onnx")


def _is_here(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


class Graph:
    """An ONNX file of a bundle whose hashes hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run: Run | None = None

    def heatmaps(self, images: np.ndarray) -> np.ndarray:
        """Heatmaps (N, K, h, w) of normalised images (N, C, H, W), one at a time.

        Raises:
            EngineMismatch: The graph cannot be run.
        """
        if self._run is None:
            self._run = _runnable(self.path.read_bytes(), ["heatmaps"], self.path)
        return np.concatenate([self._run(images[i : i + 1])[0] for i in range(len(images))]).astype(np.float32)

    def features(self, images: np.ndarray) -> dict[int, np.ndarray]:
        """Of every stack but the last: the features (N, F, h, w) that its heatmaps are a 1x1 convolution of.

        Only graphs that hgedge exported name them, and onnx is needed to ask for them; else there are none.
        """
        if not inside():
            return {}
        found = {node.name: node.input[0] for node in self.proto.graph.node if node.op_type == "Conv"}
        names = {int(match[1]): found[name] for name in found if (match := MERGE.fullmatch(name)) is not None}
        run = self._with_outputs(list(names.values()))
        made = [run(images[i : i + 1]) for i in range(len(images))]
        return {stack: np.concatenate(parts) for stack, parts in zip(names, zip(*made))}

    def at_limits(self, images: np.ndarray) -> dict[str, float]:
        """Quantised tensor -> share of its values that lie at a limit of their type; of unsigned ones the upper.

        Needs onnx; see `inside`.
        """
        names = [node.output[0] for node in self.proto.graph.node if node.op_type == "QuantizeLinear"]
        run = self._with_outputs(names)
        shares = np.zeros(len(names))
        for index in range(len(images)):
            shares += [_share(values) for values in run(images[index : index + 1])]
        return dict(zip(names, (shares / len(images)).tolist()))

    @cached_property
    def proto(self) -> onnx.ModelProto:
        """The file as onnx reads it."""
        import onnx

        return onnx.load(str(self.path))

    def _with_outputs(self, names: Sequence[str]) -> Run:
        import onnx

        if not names:
            return lambda images: []
        wide = onnx.ModelProto()
        wide.CopyFrom(self.proto)
        del wide.graph.output[:]
        wide.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        return _runnable(wide.SerializeToString(), list(names), self.path)


def _share(values: np.ndarray) -> float:
    info = np.iinfo(values.dtype)
    low = -info.max if info.min < 0 else info.min - 1  # -127 and -128; of unsigned values 0 is no limit
    return float(((values >= info.max) | (values <= low)).mean())


def _runnable(content: bytes, names: list[str], path: Path) -> Run:
    """A function from normalised images to the named tensors."""
    library = runner()
    if library is None:
        raise BackendUnavailable("graphs are run in ONNX Runtime: pip install 'hgedge[onnxruntime]'")
    try:
        return _in_onnxruntime(content, names) if library == "onnxruntime" else _in_openvino(content)
    except Exception as error:  # the libraries raise types of their own
        raise EngineMismatch(f"{library} cannot run {path}: {' '.join(str(error).split())}") from error


def _in_onnxruntime(content: bytes, names: list[str]) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: list(session.run(names, {"image": images}))


def _in_openvino(content: bytes) -> Run:
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: [np.array(values) for values in compiled(images).values()]
