"""Layers of graphs: costs against PyTorch and counting by ones, precisions against the graphs' own Q/DQ pairs."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from hgedge.errors import ExportError
from hgedge.export.layers import CONVOLUTIONS, layers
from hgedge.quantization.calibrate import collect_ranges
from hgedge.quantization.half import to_half
from hgedge.quantization.insert_qdq import num_int8_convs, quantize


@pytest.fixture(scope="module")
def ranges(small_model):
    pictures = np.random.default_rng(0).uniform(0, 1, (4, 3, 64, 64)).astype(np.float32)
    return collect_ranges(small_model, list(pictures))


@pytest.fixture(scope="module")
def signed(small_model, ranges):
    return quantize(small_model, ranges, "stream")


@pytest.fixture(scope="module")
def unsigned(small_model, ranges):
    return quantize(small_model, ranges, "stream", unsigned=True)


def graph(nodes, constants, channels=6, hw=(10, 12)):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", channels, *hw])
    heatmaps = helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, None)
    made = helper.make_graph(nodes, "test", [image], [heatmaps], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def convolution(op, weight_shape, weight_node=False, **attributes):
    """A graph of one convolution with a weight of ones."""
    weight = numpy_helper.from_array(np.ones(weight_shape, np.float32), "weight")
    node = helper.make_node(op, ["image", "weight"], ["heatmaps"], name="only", **attributes)
    if weight_node:
        return graph([helper.make_node("Constant", [], ["weight"], value=weight), node], [])
    return graph([node], [weight])


@pytest.mark.parametrize(
    ("op", "weight_shape", "attributes"),
    [
        ("Conv", (8, 6, 3, 3), {}),
        ("Conv", (8, 6, 1, 1), {"strides": [2, 2]}),
        ("Conv", (8, 3, 3, 5), {"group": 2}),
        ("Conv", (12, 1, 3, 3), {"group": 6, "strides": [2, 1]}),
        ("Conv", (8, 6, 3, 3), {"dilations": [2, 2]}),
        ("ConvTranspose", (6, 8, 4, 4), {"strides": [2, 2]}),
        ("ConvTranspose", (6, 4, 2, 2), {"group": 2, "strides": [2, 2]}),
        ("ConvTranspose", (6, 1, 3, 3), {"group": 6}),
    ],
)
@pytest.mark.parametrize("weight_node", [False, True])
def test_macs_are_what_ones_add_up_to(op, weight_shape, attributes, weight_node):
    """Of ones without padding, every multiply-accumulate adds 1 to the sum of what is made."""
    model = convolution(op, weight_shape, weight_node, **attributes)
    (made,) = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, {"image": np.ones((1, 6, 10, 12), np.float32)}
    )
    (layer,) = layers(model)
    assert layer.macs == made.sum(dtype=np.float64)
    assert (layer.op, layer.precision, layer.activation, layer.scales) == (op, "fp32", None, ())
    assert (layer.shape, layer.parameters) == (made.shape[1:], math.prod(weight_shape))
    assert layer.weight_bytes == 4 * layer.parameters


def test_every_convolution_costs_what_pytorch_runs(small_net, small_model):
    found = {layer.name: layer for layer in layers(small_model) if layer.op == "Conv"}
    counted = {}

    def count(name):
        return lambda module, _, output: counted.update(
            {name: (tuple(output.shape[1:]), module.weight.numel() * output.shape[2] * output.shape[3])}
        )

    convs = {name: module for name, module in small_net.named_modules() if isinstance(module, torch.nn.Conv2d)}
    hooks = [module.register_forward_hook(count(name)) for name, module in convs.items() if name in found]
    with torch.no_grad():
        small_net(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    assert {name: (layer.shape, layer.macs) for name, layer in found.items()} == counted
    assert all(convs[name].weight.numel() + convs[name].out_channels == found[name].parameters for name in found)


def test_layers_are_the_nodes_in_order(small_model, signed):
    expected = [node.name for node in small_model.graph.node]
    assert [layer.name for layer in layers(small_model)] == expected == [layer.name for layer in layers(signed)]


@pytest.mark.parametrize("kind", ["small_model", "signed", "unsigned"])
def test_weights_are_all_that_the_file_stores(kind, request):
    """But for what belongs to no layer's weights: scales of Resizes, scale and zero point of each activation."""
    model = request.getfixturevalue(kind)
    nodes = model.graph.node
    apart = {name for node in nodes if node.op_type == "Resize" for name in node.input[1:]}
    apart |= {name for node in nodes if node.op_type == "QuantizeLinear" for name in node.input[1:]}
    stored = [numpy_helper.to_array(item) for item in model.graph.initializer if item.name not in apart]
    assert sum(layer.weight_bytes for layer in layers(model)) == sum(array.nbytes for array in stored)


def test_quantised_convolutions(small_model, signed, unsigned):
    for model, activations in ((signed, {"s8"}), (unsigned, {"s8", "u8"})):
        found = [layer for layer in layers(model) if layer.precision == "int8"]
        assert len(found) == num_int8_convs(model) == sum(layer.op == "Conv" for layer in layers(small_model)) - 1
        assert {layer.activation for layer in found} == activations
        assert all(len(layer.scales) == 1 and layer.op == "Conv" for layer in found)
    assert sum(layer.parameters for layer in layers(signed)) == sum(layer.parameters for layer in layers(small_model))


def test_unsigned_where_a_relu_made_it(unsigned):
    relus = {node.output[0] for node in unsigned.graph.node if node.op_type == "Relu"}
    quantised = {node.output[0]: node for node in unsigned.graph.node if node.op_type == "DequantizeLinear"}
    reads = {node.name: node.input[0] for node in unsigned.graph.node if node.op_type == "Conv"}
    found = [layer for layer in layers(unsigned) if layer.activation]
    after = [reads[layer.name].removesuffix(".dequantized") in relus for layer in found]
    assert any(after) and not all(after)
    assert all(layer.activation == "u8" for layer, relu in zip(found, after) if relu)
    constants = {item.name: numpy_helper.to_array(item) for item in unsigned.graph.initializer}
    for layer in found:
        assert layer.scales == (float(constants[quantised[reads[layer.name]].input[1]]),)


def test_what_is_not_int8_runs_in_fp16_where_the_graph_is_fp16(small_model, signed):
    half = layers(to_half(signed))
    assert [layer.op for layer in half if layer.precision == "fp32"] == ["Cast"]  # the last one, to FP32
    assert [layer.name for layer in half if layer.precision == "int8"] == [
        layer.name for layer in layers(signed) if layer.precision == "int8"
    ]
    assert {layer.precision for layer in layers(to_half(small_model)) if layer.op in CONVOLUTIONS} == {"fp16"}
    assert sum(layer.weight_bytes for layer in layers(to_half(small_model))) * 2 == sum(
        layer.weight_bytes for layer in layers(small_model)
    )


def test_a_quantised_weight_alone_makes_no_int8():
    values = numpy_helper.from_array(np.ones((8, 6, 3, 3), np.int8), "values")
    scale = numpy_helper.from_array(np.ones(8, np.float32), "scale")
    nodes = [
        helper.make_node("DequantizeLinear", ["values", "scale"], ["weight"], axis=0),
        helper.make_node("Conv", ["image", "weight"], ["heatmaps"]),
    ]
    (layer,) = layers(graph(nodes, [values, scale]))
    assert (layer.name, layer.precision, layer.scales) == ("heatmaps", "fp32", ())
    assert (layer.parameters, layer.weight_bytes) == (8 * 6 * 9, 8 * 6 * 9 + 4 * 8)


def test_sizes_that_are_not_fixed_are_told():
    with pytest.raises(ExportError, match=r"Conv 'only' needs static sizes .* 'heatmaps' is .*fixed input height"):
        layers(_resized(convolution("Conv", (8, 6, 3, 3)), ["N", 6, "H", "W"]))


def _resized(model: onnx.ModelProto, shape: list) -> onnx.ModelProto:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.FLOAT, shape))
    return model
