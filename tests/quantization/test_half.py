"""FP16 rendering: types and Casts of the graph, and its numbers on real photographs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hgedge.errors import QuantizationError
from hgedge.quantization.calibrate import collect_ranges
from hgedge.quantization.half import to_half
from hgedge.quantization.insert_qdq import num_int8_convs, quantize
from hgedge.quantization.simulated_half import simulated_half

# Measured for this network: 0.0011. Half a unit in the last place of FP16 is 0.0005, and every tensor is rounded.
MAX_FLOAT_RMSE = 0.003
# Rounded to FP16 first, some values near a rounding edge fall to the other INT8 step: that adds to INT8's own error,
# but less than as much again.
MAX_ERROR_RATIO = 1.4


def relative_rmse(made: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(np.mean((made - expected) ** 2) / np.mean((expected - expected.mean()) ** 2)))


def types(model: onnx.ModelProto) -> dict[str, int]:
    """The type of every tensor, inferred strictly, constants included."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, check_type=True).graph
    found = {item.name: item.data_type for item in inferred.initializer}
    for item in (*inferred.value_info, *inferred.input, *inferred.output):
        found[item.name] = item.type.tensor_type.elem_type
    assert {name for node in model.graph.node for name in node.output} <= set(found)
    return found


def opset(model: onnx.ModelProto) -> int:
    return next(item.version for item in model.opset_import if item.domain == "")


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


@pytest.fixture(scope="module")
def ranges(hourglass, photographs):
    return collect_ranges(hourglass, photographs)


def check_types(half, source):
    onnx.checker.check_model(half, full_check=True)
    operations = Counter(node.op_type for node in half.graph.node)
    assert operations.pop("Cast") == 2
    assert operations == Counter(node.op_type for node in source.graph.node)
    sizes = {name for node in half.graph.node if node.op_type == "Resize" for name in node.input[1:] if name}
    found = types(half)
    assert sizes and {found.pop(name) for name in sizes} == {TensorProto.FLOAT}
    assert {found.pop("image"), found.pop("heatmaps")} == {TensorProto.FLOAT}
    return set(found.values())


def test_float_graph_is_fp16_between_its_ends(hourglass):
    before = hourglass.SerializeToString(deterministic=True)
    half = to_half(hourglass)
    assert check_types(half, hourglass) == {TensorProto.FLOAT16}
    assert opset(half) == 17
    assert hourglass.SerializeToString(deterministic=True) == before
    first, last = half.graph.node[0], half.graph.node[-1]
    assert (first.op_type, first.input[0]) == (last.op_type, "image")
    assert (last.op_type, last.output[0]) == ("Cast", "heatmaps")


def test_quantised_graph_has_fp16_scales_and_biases(hourglass, ranges):
    source = quantize(hourglass, ranges, "stream")
    half = to_half(source)
    assert check_types(half, source) == {TensorProto.FLOAT16, TensorProto.INT8}
    assert opset(half) == 19 and half.ir_version >= 9
    assert num_int8_convs(half) == num_int8_convs(source) > 0
    ours, theirs = constants(half), constants(source)
    for name, values in theirs.items():
        if values.dtype == np.int8:
            np.testing.assert_array_equal(ours[name], values)


def test_numbers_of_the_float_graph(hourglass, photographs, run):
    batch = np.stack(photographs[:8])
    (expected,), (made,) = run(hourglass, batch), run(simulated_half(to_half(hourglass)), batch)
    assert made.dtype == np.float32
    assert 0 < relative_rmse(made, expected) < MAX_FLOAT_RMSE


@pytest.mark.parametrize("placement", ["conv", "stream"])
def test_numbers_of_the_quantised_graph(hourglass, ranges, photographs, run, placement):
    source = quantize(hourglass, ranges, placement)
    batch = np.stack(photographs[:8])
    exact, int8, made = (run(model, batch)[0] for model in (hourglass, source, simulated_half(to_half(source))))
    assert (made != int8).any()
    assert relative_rmse(made, exact) < MAX_ERROR_RATIO * relative_rmse(int8, exact)


def test_a_channel_of_nearly_zeros_keeps_its_weights(graph_maker, noise, run):
    g = graph_maker()
    g.conv(g.node("Relu", [g.conv("image", "conv", (4, 3), kernel=3)], "relu"), "outs.0", (2, 4), out="heatmaps")
    source = g.model(2)
    weight = next(item for item in source.graph.initializer if item.name == "conv.weight")
    values = numpy_helper.to_array(weight).copy()
    values[0] *= 1e-6  # its scale is below what FP16 tells
    values[1] *= 1e-4  # and this one between two of its subnormal numbers
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    half = constants(to_half(quantize(source, {"image": (0, 1), "relu": (0, 4)}, "conv")))
    scale = half["conv.weight.scale"].astype(np.float64).reshape(-1, 1, 1, 1)
    assert (scale > 0).all()
    stored = half["conv.weight.quantized"] * scale
    peak = np.abs(values).max(axis=(1, 2, 3), keepdims=True)
    assert (np.abs(stored - values) <= np.maximum(peak * 0.05, 2**-25)).all()


@pytest.mark.parametrize("value", [70000.0, np.inf, np.nan])
def test_weights_beyond_fp16_are_named(small, value):
    broken = onnx.ModelProto()
    broken.CopyFrom(small)
    weight = next(item for item in broken.graph.initializer if item.name == "r2.conv1.weight")
    values = numpy_helper.to_array(weight).copy()
    values.flat[5] = value
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    with pytest.raises(QuantizationError, match=r"'r2.conv1.weight' must lie within ±65504 .*, but reaches"):
        to_half(broken)


def test_other_graphs_are_refused(small):
    with pytest.raises(QuantizationError, match="but the graph has Cast"):
        to_half(to_half(small))
    strange = onnx.ModelProto()
    strange.CopyFrom(small)
    strange.graph.node.append(helper.make_node("Erf", ["r1.add"], ["extra"]))
    with pytest.raises(QuantizationError, match="but the graph has Erf; give the FP32 graph"):
        to_half(strange)
    old = onnx.ModelProto()
    old.CopyFrom(small)
    old.opset_import[0].version = 11
    with pytest.raises(QuantizationError, match="opset 13 to 19, but this one has 11"):
        to_half(old)


def test_opset_13_is_raised(small_of_opset_13):
    assert opset(to_half(small_of_opset_13)) == 17


@pytest.fixture
def small_of_opset_13(small):
    model = onnx.ModelProto()
    model.CopyFrom(small)
    model.opset_import[0].version = 13
    onnx.checker.check_model(model, full_check=True)
    return model


def test_operators_of_other_networks(graph_maker, photographs, run):
    """Bounds beyond FP16's range (an open Clip, a Pad of minus infinity) end there; the numbers stay."""
    g = graph_maker()
    x = g.conv("image", "stem", (8, 3), kernel=3, stride=2)
    x = g.node("Clip", [x, g.constant("low", np.float32(0)), g.constant("high", np.finfo(np.float32).max)], "clip")
    g.constants.append(numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads"))
    wide = g.node("Pad", [x, "pads", g.constant("least", np.float32(-np.inf))], "wide")
    small = g.node("MaxPool", [wide], "pool", kernel_shape=[3, 3], strides=[2, 2])
    small = g.node("LeakyRelu", [small], "leaky", alpha=0.1)
    up = g.node(
        "ConvTranspose", [small, g.constant("up.weight", g.rng.normal(size=(8, 8, 2, 2)) / 8)], "up", strides=[2, 2]
    )
    gate = g.node("Sigmoid", [g.node("GlobalAveragePool", [up], "mean")], "gate")
    both = g.node("Concat", [g.node("Mul", [up, gate], "gated"), x], "both", axis=1)
    slope = g.constant("slope", np.full((16, 1, 1), 0.2))
    g.conv(g.node("PRelu", [g.node("Sub", [both, slope], "less"), slope], "prelu"), "outs", (4, 16), out="heatmaps")
    source = g.model(4)
    half, batch = to_half(source), np.stack(photographs[:8])
    assert check_types_of(half) == {TensorProto.FLOAT16, TensorProto.INT64}
    (expected,), (made,) = run(source, batch), run(simulated_half(half), batch)
    assert 0 < relative_rmse(made, expected) < MAX_FLOAT_RMSE


def check_types_of(half):
    onnx.checker.check_model(half, full_check=True)
    found = types(half)
    assert {found.pop("image"), found.pop("heatmaps")} == {TensorProto.FLOAT}
    return set(found.values())


@pytest.mark.parametrize(("version", "known"), [(17, False), (18, True)])
def test_reduce_mean_is_known_since_its_axes_are_an_input(graph_maker, version, known):
    g = graph_maker()
    x = g.conv("image", "stem", (4, 3))
    g.constants.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    mean = g.node("ReduceMean", [x, "axes"], "mean") if known else g.node("ReduceMean", [x], "mean", axes=[2, 3])
    g.conv(g.node("Mul", [x, mean], "scaled"), "outs", (2, 4), out="heatmaps")
    source = g.model(2, opset=version)
    if known:
        assert TensorProto.FLOAT16 in check_types_of(to_half(source))
    else:
        with pytest.raises(QuantizationError, match="but the graph has ReduceMean"):
            to_half(source)
