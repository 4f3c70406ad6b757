"""A network of two convolutions as an ONNX file, whose input may be free: built in no time."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from hgedge.benchmark.timing import interleaved

KEYPOINTS = 14


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory):
    """onnx_file(height, width): the file; without sizes, its input is free."""
    onnx = pytest.importorskip("onnx", reason="needs ONNX: pip install 'hgedge[build]'")
    folder = tmp_path_factory.mktemp("onnx")

    def write(*hw: int) -> Path:
        draw = np.random.default_rng(0)
        weights = {
            "stem.weight": draw.normal(0, 0.1, (8, 3, 7, 7)),
            "stem.bias": draw.normal(0, 0.1, 8),
            "body.weight": draw.normal(0, 0.3, (8, 8, 3, 3)),
            "head.weight": draw.normal(0, 0.3, (KEYPOINTS, 8, 1, 1)),
        }
        helper, numpy_helper = onnx.helper, onnx.numpy_helper
        nodes = [
            helper.make_node("Conv", ["image", "stem.weight", "stem.bias"], ["stem"], strides=[4, 4], pads=[3] * 4),
            helper.make_node("Relu", ["stem"], ["stem.relu"]),
            helper.make_node("Conv", ["stem.relu", "body.weight"], ["body"], pads=[1] * 4),
            helper.make_node("Relu", ["body"], ["body.relu"]),
            helper.make_node("Conv", ["body.relu", "head.weight"], ["maps"]),
        ]
        size = list(hw) or ["H", "W"]
        cells = [side // 4 for side in hw] or ["h", "w"]
        ends = [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", channels, *shape])
            for name, channels, shape in (("image", 3, size), ("maps", KEYPOINTS, cells))
        ]
        values = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
        graph = helper.make_graph(nodes, "two", ends[:1], ends[1:], values)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = folder / f"two{'x'.join(map(str, hw))}.onnx"
        onnx.save(model, path)
        return path

    return write


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """Where notes lie; with as few rounds as an interval needs, as no time decides a test."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hgedge.sweep.measure.ROUNDS", 30)
        patch.setattr("hgedge.sweep.measure.interleaved", functools.partial(interleaved, warmup=2))
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield cache / "hgedge" / "sweep"
