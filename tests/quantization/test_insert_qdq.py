from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hgedge.errors import ConfigError, QuantizationError
from hgedge.quantization.calibrate import collect_ranges
from hgedge.quantization.insert_qdq import activation_scale, after_relu, num_int8_convs, quantize, quantized_weight
from hgedge.quantization.placement import quantized_reads, quantized_tensors
from hgedge.quantization.ranges import make_table, table_key
from hgedge.spec import InputSpec

PLACEMENTS = ("conv", "stream")
# A float32 quotient may fall to either side of a half step: a few units in the last place beyond it.
HALF_STEP = 0.5 + 1e-4
# The order of float32 additions in a convolution of 27 products of order 1.
SAME_SUM = {"rtol": 1e-5, "atol": 1e-5}
# Measured for this network: 0.017 and 0.033, the residual stream being rounded as often as it is added to.
MAX_RMSE = {"conv": 0.03, "stream": 0.05}


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def relative_rmse(made: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(np.mean((made - expected) ** 2) / np.mean((expected - expected.mean()) ** 2)))


@pytest.fixture(scope="module")
def small_ranges(small, noise):
    return collect_ranges(small, noise)


@pytest.fixture(scope="module")
def hourglass_ranges(hourglass, photographs):
    return collect_ranges(hourglass, photographs)


def test_weights_are_within_half_a_step_per_channel(hourglass, hourglass_ranges):
    quantised = constants(quantize(hourglass, hourglass_ranges, "stream"))
    weights = {name: value for name, value in constants(hourglass).items() if f"{name}.quantized" in quantised}
    assert len(weights) == sum(node.op_type == "Conv" for node in hourglass.graph.node) - 1
    for name, weight in weights.items():
        stored, scale = quantised[f"{name}.quantized"], quantised[f"{name}.scale"]
        assert stored.dtype == np.int8 and stored.min() >= -127
        assert (np.abs(stored).reshape(len(stored), -1).max(axis=1) == 127).all()
        step = scale.astype(np.float64).reshape(-1, 1, 1, 1)
        assert (np.abs(stored * step - weight) <= HALF_STEP * step).all()


def test_all_zero_and_tiny_channels():
    weight = np.zeros((3, 2, 1, 1), np.float32)
    weight[1] = 1e-44
    weight[2] = [[[-2.0]], [[1.0]]]
    stored, scale = quantized_weight(weight)
    assert (scale > 0).all() and np.isfinite(scale).all()
    assert not stored[:2].any()
    assert stored[2].ravel().tolist() == [-127, 64]  # 63.5 rounds to even
    np.testing.assert_allclose(scale[2], 2 / 127, rtol=1e-7)


def test_activation_scale_reaches_both_ends():
    assert activation_scale(-3.0, 1.0) == np.float32(3 / 127)
    assert activation_scale(0.0, 2.0) == np.float32(2 / 127)
    assert activation_scale(0.0, 0.0) == np.float32(1 / 127)
    assert activation_scale(-1.0, 1.0).dtype == np.float32


def test_one_convolution_equals_numpy(graph_maker, noise, run):
    g = graph_maker()
    g.conv(g.node("Relu", [g.conv("image", "conv", (4, 3), kernel=3)], "relu"), "outs.0", (2, 4), out="heatmaps")
    model = g.model(2)
    float_constants = constants(model)
    limits = (-0.1, 0.8)  # narrower than the pictures: clips
    image = np.stack(noise) * 2 - 0.5
    made, heatmaps = run(quantize(model, {"image": limits}, "conv"), image, "relu", "heatmaps")

    step = np.float32(0.8) / np.float32(127)
    seen = np.clip(np.round(image / step), -128, 127).astype(np.float32) * step
    assert seen.max() < image.max() and seen.min() > image.min()
    weight = float_constants["conv.weight"]
    steps = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / np.float32(127)
    weight = np.clip(np.round(weight / steps), -127, 127).astype(np.float32) * steps
    padded = np.pad(seen, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    expected = np.einsum("nchwij,ocij->nohw", windows, weight) + float_constants["conv.bias"].reshape(-1, 1, 1)
    expected = np.maximum(expected, 0)
    np.testing.assert_allclose(made, expected, **SAME_SUM)
    head = np.einsum("nchw,oc->nohw", expected, float_constants["outs.0.weight"][:, :, 0, 0])
    np.testing.assert_allclose(heatmaps, head + float_constants["outs.0.bias"].reshape(-1, 1, 1), **SAME_SUM)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("which", ["small", "hourglass"])
def test_structure_is_what_tensorrt_takes(request, which, placement):
    model = request.getfixturevalue(which)
    quantised = quantize(model, request.getfixturevalue(f"{which}_ranges"), placement)
    onnx.checker.check_model(quantised, full_check=True)
    assert [(item.domain, item.version) for item in quantised.opset_import] == [("", 17)]
    values, nodes = constants(quantised), quantised.graph.node
    maker = {node.output[0]: node for node in nodes}
    pairs = [node for node in nodes if node.op_type == "QuantizeLinear"]
    assert {node.input[0] for node in pairs} == set(quantized_tensors(model, placement))
    assert len(pairs) == len({node.input[0] for node in pairs})
    for node in nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert values[node.input[2]].dtype == np.int8 and not values[node.input[2]].any()
            assert values[node.input[1]].dtype == np.float32 and (values[node.input[1]] > 0).all()
            if node.input[0] in values:
                assert helper.get_node_attr_value(node, "axis") == 0
                assert values[node.input[1]].shape == values[node.input[0]].shape[:1] == values[node.input[2]].shape
            else:
                assert values[node.input[1]].shape == values[node.input[2]].shape == ()
        if node.op_type == "Conv" and "heatmaps" not in node.output:
            assert [maker[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
            assert values[node.input[2]].dtype == np.float32
        if "heatmaps" in node.output:
            assert maker[node.input[0]].op_type == "Relu" and values[node.input[1]].dtype == np.float32
    assert all(item.data_type != TensorProto.UINT8 for item in quantised.graph.initializer)
    assert set(values) == {name for node in nodes for name in node.input} & set(
        values
    )  # no float weight is left behind
    convolutions = sum(node.op_type == "Conv" for node in nodes)
    assert (num_int8_convs(model), num_int8_convs(quantised)) == (0, convolutions - 1)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_exactly_the_placements_reads_are_rewired(small, small_ranges, placement):
    quantised = {node.name: node for node in quantize(small, small_ranges, placement).graph.node}
    chosen = {(small.graph.node[i].name, at) for reads in quantized_reads(small, placement).values() for i, at in reads}
    for node in small.graph.node:
        rewired = {
            (node.name, at)
            for at, (before, after) in enumerate(zip(node.input, quantised[node.name].input))
            if after == f"{before}.dequantized" and not before.endswith(".weight")
        }
        assert rewired == {read for read in chosen if read[0] == node.name}


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_heatmaps_stay_close_to_float(hourglass, hourglass_ranges, photographs, run, placement):
    batch = np.stack(photographs[:8])
    (expected,) = run(hourglass, batch)
    (made,) = run(quantize(hourglass, hourglass_ranges, placement), batch)
    assert 0 < relative_rmse(made, expected) < MAX_RMSE[placement]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_unsigned_is_what_a_relu_made_and_nothing_else(hourglass, hourglass_ranges, photographs, run, placement):
    signed, unsigned = (quantize(hourglass, hourglass_ranges, placement, unsigned=u) for u in (False, True))
    made = constants(unsigned)
    maker = {name: node.op_type for node in hourglass.graph.node for name in node.output}
    for name in quantized_tensors(hourglass, placement):
        zero, scale, high = made[f"{name}.zero_point"], made[f"{name}.scale"], hourglass_ranges[name][1]
        assert zero == 0 and (zero.dtype == np.uint8) == (maker.get(name) == "Relu")
        if zero.dtype == np.uint8:
            np.testing.assert_allclose(scale, high / 255, rtol=1e-6)
    num_convs = sum(node.op_type == "Conv" for node in hourglass.graph.node)
    assert num_int8_convs(unsigned) == num_int8_convs(signed) == num_convs - 1
    batch = np.stack(photographs[:8])
    (expected,) = run(hourglass, batch)
    coarse, fine = (relative_rmse(run(model, batch)[0], expected) for model in (signed, unsigned))
    assert fine < coarse


def test_after_relu_follows_what_only_copies(hourglass):
    names = after_relu(hourglass)
    assert {"stem.conv.relu", "stem.residual1.conv1.relu"} <= names
    assert not any(name.endswith(".add") or name == "image" for name in names)


def test_a_table_gives_the_same_graph_as_its_ranges(small, small_ranges):
    table = make_table(table_key("ab", InputSpec(), 1), "mean-minmax", 32, {**small_ranges, "unused": (0.0, 1.0)})
    assert quantize(small, table, "stream") == quantize(small, small_ranges, "stream")


def test_shared_weight_is_stored_once_and_kept_float_for_the_head(graph_maker, run, noise):
    g = graph_maker()
    x = g.conv("image", "one", (3, 3))
    for name in ("two", "heatmaps"):
        x = g.node("Conv", [x, "one.weight", "one.bias"], name)
    model = g.model(3)
    quantised = quantize(model, collect_ranges(model, noise), "conv")
    names = [item.name for item in quantised.graph.initializer]
    assert names.count("one.weight.quantized") == names.count("one.weight") == 1
    assert num_int8_convs(quantised) == 2
    run(quantised, noise[0][None])


def test_the_given_model_is_left_alone(small, small_ranges):
    before = small.SerializeToString()
    quantize(small, small_ranges, "stream")
    assert small.SerializeToString() == before


def test_refusals(small, small_ranges, make_small):
    with pytest.raises(QuantizationError, match=r"float graph, but this one holds DequantizeLinear .*source\.onnx"):
        quantize(quantize(small, small_ranges, "conv"), small_ranges, "conv")
    with pytest.raises(QuantizationError, match=r"1 of the 14 tensors to quantise have no range, first 'r3.add'"):
        quantize(small, {name: value for name, value in small_ranges.items() if name != "r3.add"}, "stream")
    quantize(small, {name: value for name, value in small_ranges.items() if name != "r3.add"}, "conv")
    with pytest.raises(QuantizationError, match=r"range of 'image' has low 1.0 above high 0.0"):
        quantize(small, {**small_ranges, "image": (1.0, 0.0)}, "conv")
    with pytest.raises(ConfigError, match=r"no placement is called 'all'"):
        quantize(small, small_ranges, "all")
    old = make_small()
    old.opset_import[0].version = 12
    with pytest.raises(QuantizationError, match=r"needs opset 13 or newer, but the graph has 12"):
        quantize(old, small_ranges, "conv")


def test_weights_that_cannot_become_int8_are_named(make_small, small_ranges):
    model = make_small()
    weight = next(item for item in model.graph.initializer if item.name == "merge.weight")
    weight.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(weight), np.nan), "merge.weight"))
    with pytest.raises(QuantizationError, match=r"weight 'merge.weight' must hold finite float32.*NaN or infinity"):
        quantize(model, small_ranges, "conv")
    model.graph.initializer.remove(weight)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["merge.weight"], value=weight))
    with pytest.raises(QuantizationError, match=r"'merge.weight' of 'merge' must be an initializer"):
        quantize(model, small_ranges, "conv")


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.openvino
def test_openvino_runs_every_convolution_but_the_head_in_int8(hourglass, hourglass_ranges, photographs, run, placement):
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    quantised = quantize(hourglass, hourglass_ranges, placement)
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(quantised.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    executed = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops()]
    precisions = [
        info["runtimePrecision"].astype(str) for info in executed if info["layerType"].astype(str) == "Convolution"
    ]
    assert precisions.count("f32") == 1
    assert {p for p in precisions if p != "f32"} <= {"i8", "u8"}
    assert len(precisions) == sum(node.op_type == "Conv" for node in hourglass.graph.node)
    batch = photographs[0][None]
    (expected,) = run(quantised, batch)
    made = compiled({"image": batch})["heatmaps"]
    rmse = np.sqrt(np.mean((made - expected) ** 2) / np.mean((expected - expected.mean()) ** 2))
    assert rmse < MAX_RMSE[placement]


def test_after_relu_knows_its_like(graph_maker):
    g = graph_maker()
    x = g.conv("image", "stem", (4, 3), kernel=3)
    six, low = (g.constant(name, np.float32(value)) for name, value in (("six", 6), ("low", -1)))
    zero = g.constant("zero", np.float32(0))
    x = g.node("Clip", [x, zero, six], "relu6")
    g.node("AveragePool", [x], "average", kernel_shape=[2, 2])
    g.node("Clip", [x, low, six], "below")
    g.node("Clip", [x, "", six], "open")
    g.node("Sigmoid", [x], "sigmoid")
    scales = g.constant("scales", np.array([1, 1, 2, 2]))
    for mode in ("linear", "cubic"):
        g.node("Resize", [x, "", scales], mode, mode=mode)
    g.conv(x, "outs", (2, 4), out="heatmaps")
    assert after_relu(g.model(2)) == {"relu6", "average", "sigmoid", "linear"}


def test_grouped_and_depthwise_weights_have_a_scale_an_output_channel(graph_maker, noise, run):
    g = graph_maker()
    x = g.node("Relu", [g.conv("image", "stem", (8, 3), kernel=3)], "stem.relu")
    for name, groups in (("depthwise", 8), ("grouped", 2)):
        weight = g.constant(
            f"{name}.weight", g.rng.normal(size=(8, 8 // groups, 3, 3)) * np.arange(1, 9).reshape(8, 1, 1, 1)
        )
        x = g.node("Conv", [x, weight], name, group=groups, pads=[1] * 4)
    g.conv(x, "outs", (2, 8), out="heatmaps")
    model = g.model(2)
    quantised = quantize(model, collect_ranges(model, noise), "conv")
    assert num_int8_convs(quantised) == 3
    made = constants(quantised)
    for name in ("depthwise", "grouped"):
        given = constants(model)[f"{name}.weight"]
        scale, steps = made[f"{name}.weight.scale"], made[f"{name}.weight.quantized"]
        np.testing.assert_allclose(scale, np.abs(given).max((1, 2, 3)) / 127, rtol=1e-6)
        assert (np.abs(steps * scale.reshape(-1, 1, 1, 1) - given).max((1, 2, 3)) <= scale * 0.5001).all()
    batch = np.stack(noise)
    (expected,), (found,) = run(model, batch), run(quantised, batch)
    assert 0 < relative_rmse(found, expected) < 0.05  # measured: 0.011
