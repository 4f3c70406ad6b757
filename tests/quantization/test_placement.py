from __future__ import annotations

import numpy as np
import onnx
import pytest

from hgedge.errors import ConfigError, QuantizationError
from hgedge.quantization.placement import Placement, head_indices, quantized_reads, quantized_tensors

CONV = {
    *("image", "stem.relu", "r1.bn1.relu", "r1.conv1.relu", "r2.bn1.relu", "r3.bn1.relu"),
    *("hg.add", "features.relu", "last.bn.relu"),
}
STREAM = CONV | {"r1.skip", "r1.add", "r2.add", "r3.add", "merge.add"}


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("placement", "expected"), [("conv", CONV), (Placement.STREAM, STREAM)])
def test_quantises_exactly_what_the_placement_names(make_small, placement, expected, swapped):
    names = quantized_tensors(make_small(swapped), placement)
    assert set(names) == expected
    assert len(names) == len(expected)


def test_names_follow_the_order_of_the_graph(small):
    made = ["image", *(node.output[0] for node in small.graph.node)]
    names = quantized_tensors(small, "stream")
    assert list(names) == sorted(names, key=made.index)


def readers(model: onnx.ModelProto, placement: str, tensor: str) -> set[str]:
    return {model.graph.node[node].name for node, _ in quantized_reads(model, placement)[tensor]}


def test_only_convolutions_read_int8_in_conv(small):
    assert readers(small, "conv", "stem.relu") == {"r1.skip"}
    assert readers(small, "conv", "hg.add") == {"features"}


def test_the_whole_residual_stream_reads_int8_in_stream(small):
    assert readers(small, "stream", "stem.relu") == {"r1.skip", "r1.bn1"}
    assert readers(small, "stream", "r1.skip") == {"r1.add"}
    assert readers(small, "stream", "r1.add") == {"r1.add.pool", "r3.bn1", "r3.add"}
    assert readers(small, "stream", "r2.add") == {"r2.add.up"}
    assert readers(small, "stream", "r3.add") == {"hg.add"}
    assert readers(small, "stream", "hg.add") == {"features", "merge.add"}


def test_head_reads_float_what_others_read_as_int8(graph_maker):
    g = graph_maker()
    x = g.node("Relu", [g.conv("image", "stem", (4, 3))], "stem.relu")
    g.node("Relu", [g.conv(x, "branch", (4, 4))], "unused")
    g.conv(x, "outs.0", (2, 4), out="heatmaps")
    model = g.model(2)
    assert quantized_tensors(model, "stream") == ("image", "stem.relu")
    assert readers(model, "stream", "stem.relu") == {"branch"}


def test_convolution_after_convolution_and_pool_gets_a_pair(graph_maker):
    g = graph_maker()
    x = g.node("MaxPool", [g.conv("image", "stem", (4, 3))], "stem.pool", kernel_shape=[2, 2], strides=[2, 2])
    g.conv(g.conv(g.conv(x, "one", (4, 4)), "two", (4, 4)), "outs.0", (2, 4), out="heatmaps")
    assert set(quantized_tensors(g.model(2), "stream")) == {"image", "stem.pool", "one"}


def test_real_hourglass_counts(hourglass):
    """Two stacks of depth 2: 3 convolutions a residual, and as many adds as the network has."""
    operations = [node.op_type for node in hourglass.graph.node]
    conv, stream = (set(quantized_tensors(hourglass, placement)) for placement in ("conv", "stream"))
    made_by_add = {node.output[0] for node in hourglass.graph.node if node.op_type == "Add"}
    read_by_conv = {
        node.input[0] for node in hourglass.graph.node if node.op_type == "Conv" and "heatmaps" not in node.output
    }
    assert conv == read_by_conv
    assert made_by_add <= stream and conv < stream
    assert stream - conv - made_by_add == {"stem.residual1.skip", "stem.residual2.skip"}
    assert operations.count("Add") == len(made_by_add)


def test_unknown_placement_names_the_known_ones(small):
    with pytest.raises(ConfigError, match=r"no placement is called 'all'; choose one of: conv, stream"):
        quantized_tensors(small, "all")


def test_no_convolution_makes_heatmaps(graph_maker):
    g = graph_maker()
    g.node("MaxPool", [g.conv("image", "stem", (2, 3))], "heatmaps", kernel_shape=[2, 2])
    with pytest.raises(QuantizationError, match=r"output 'heatmaps' is made by a Conv.*--precision fp32"):
        quantized_tensors(g.model(2), "conv")


def end(g, tail):
    """A network whose last convolution is followed by `tail(g, tensor)`."""
    x = g.node("Relu", [g.conv("image", "stem", (4, 3))], "stem.relu")
    tail(g, g.conv(g.conv(x, "body", (4, 4)), "last", (2, 4)))
    return g.model(2)


def scaled(g, tensor):
    norm = [g.constant(f"n{part}", np.ones(2)) for part in range(4)]
    tensor = g.node("BatchNormalization", [tensor, *norm], "norm")
    tensor = g.node("Add", [tensor, g.constant("offset", np.ones((1, 2, 1, 1)))], "moved")
    tensor = g.node(
        "Transpose", [g.node("Transpose", [tensor], "last.nhwc", perm=[0, 2, 3, 1])], "nchw", perm=[0, 3, 1, 2]
    )
    g.node("Sigmoid", [tensor], "heatmaps")


def enlarged(g, tensor):
    scales = g.constant("scales", np.array([1, 1, 2, 2]))
    g.node("Resize", [tensor, "", scales], "heatmaps", mode="linear")


def summed(g, tensor):
    small = g.node("MaxPool", [g.conv("body", "other", (2, 4))], "pooled", kernel_shape=[1, 1])
    g.node("Add", [g.conv("body", "beside", (2, 4)), g.node("Add", [tensor, small], "sum")], "heatmaps")


@pytest.mark.parametrize(("tail", "heads"), [(scaled, {"last"}), (enlarged, {"last"}), (summed, {"last", "beside"})])
@pytest.mark.parametrize("placement", list(Placement))
def test_head_is_all_that_goes_straight_into_heatmaps(graph_maker, tail, heads, placement):
    model = end(graph_maker(), tail)
    names = {model.graph.node[index].name for index in head_indices(model)}
    convolutions = {node.name for node in model.graph.node if node.op_type == "Conv"}
    assert names & convolutions == heads and "heatmaps" in names
    read = {model.graph.node[node].name for reads in quantized_reads(model, placement).values() for node, _ in reads}
    assert not read & names and convolutions - heads <= read


def test_a_deconvolution_can_be_the_head(graph_maker):
    g = graph_maker()
    x = g.node("Relu", [g.conv("image", "stem", (4, 3))], "stem.relu")
    weight = g.constant("up.weight", np.ones((4, 2, 2, 2)))
    g.node("ConvTranspose", [g.conv(x, "body", (4, 4)), weight], "heatmaps", strides=[2, 2])
    assert set(quantized_tensors(g.model(2), "stream")) == {"image", "stem.relu"}


def test_an_add_of_a_constant_and_a_smooth_skip(graph_maker):
    """A constant's Add is no part of the stream; what a bilinear Resize made is a skip with steps of its own."""
    g = graph_maker()
    x = g.node("Add", [g.conv("image", "stem", (4, 3), stride=2), g.constant("one", np.ones((1, 4, 1, 1)))], "moved")
    low = g.node("AveragePool", [g.node("PRelu", [x, g.constant("slope", np.ones((4, 1, 1)))], "act")], "low",
                 kernel_shape=[2, 2], strides=[2, 2])  # fmt: skip
    low = g.node("Resize", [low, "", g.constant("scales", np.array([1, 1, 2, 2]))], "up", mode="linear")
    g.conv(g.node("Add", [low, g.conv("act", "body", (4, 4))], "sum"), "outs", (2, 4), out="heatmaps")
    assert set(quantized_tensors(g.model(2), "stream")) == {"image", "low", "up", "act"}


def test_whole_numbers_are_left_alone(graph_maker):
    """Shapes that the graph computes are added too."""
    g = graph_maker()
    x = g.node("Relu", [g.conv("image", "stem", (4, 3))], "stem.relu")
    shape = g.node("Shape", [x], "shape")
    x = g.node("Reshape", [x, g.node("Sub", [g.node("Add", [shape, shape], "twice"), shape], "once")], "same")
    g.conv(g.conv(x, "body", (4, 4)), "outs", (2, 4), out="heatmaps")
    model = onnx.shape_inference.infer_shapes(g.model(2))
    assert set(quantized_tensors(model, "stream")) == {"image", "same"}
