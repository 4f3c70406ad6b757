"""Graphs for TensorRT-RTX, whose builder needs no GPU."""

from __future__ import annotations

import functools

import onnx
import pytest

from hgedge.backends.tensorrt.build import render_for
from hgedge.backends.tensorrt.library import library
from hgedge.models.zoo import config_of, shipped_half
from hgedge.quantization.insert_qdq import quantize
from hgedge.quantization.placement import quantized_tensors
from hgedge.spec import InputSpec


@pytest.fixture(scope="session")
def rtx():
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs TensorRT-RTX: pip install 'hgedge[tensorrt-rtx]'")
    return library("tensorrt-rtx")


@pytest.fixture(scope="session")
def source():
    """source(name): the FP32 graph of a named model, with seeded weights where none are shipped."""

    @functools.cache
    def graph(name):
        if (half := shipped_half(name)) is not None:
            return onnx.load(half / "source.onnx")
        import torch

        from hgedge.export.to_onnx import onnx_from_network
        from hgedge.models.hourglass import HourglassNet

        torch.manual_seed(0)
        config = config_of(name)
        return onnx_from_network(HourglassNet(config).eval(), InputSpec(), config.num_stacks)

    return graph


@pytest.fixture(scope="session")
def rendered(source):
    """rendered(name, precision, trt): the graph that a library is to get; every tensor has a range of its own."""

    def graph(name, precision, trt, unsigned=False):
        float_graph = source(name)
        if precision == "int8":
            tensors = enumerate(quantized_tensors(float_graph, "stream"))
            ranges = {tensor: (-1.0, 2.0 + index / 64) for index, tensor in tensors}
            float_graph = quantize(float_graph, ranges, "stream", unsigned)
        return render_for(trt, float_graph, precision)

    return graph


@pytest.fixture(scope="session")
def onnx_file(rtx, rendered, tmp_path_factory):
    """onnx_file(name, precision): the same as a file, for TensorRT-RTX."""
    folder = tmp_path_factory.mktemp("graphs")

    @functools.cache
    def file(name, precision):
        path = folder / f"{name}-{precision}.onnx"
        onnx.save(rendered(name, precision, rtx), path)
        return path

    return file
