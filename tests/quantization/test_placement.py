from __future__ import annotations

import onnx
import pytest

from hgedge.errors import ConfigError, QuantizationError
from hgedge.quantization.placement import Placement, quantized_reads, quantized_tensors

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
    g.node("Relu", [g.conv("image", "stem", (2, 3))], "heatmaps")
    with pytest.raises(QuantizationError, match=r"output 'heatmaps' is made by a Conv.*hgedge export"):
        quantized_tensors(g.model(2), "conv")
