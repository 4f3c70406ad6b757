"""What FP16 has no room for: found, kept in FP32 and nothing else, with the numbers of FP32."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from hgedge.errors import QuantizationError
from hgedge.quantization.calibrate import collect_ranges
from hgedge.quantization.half import MAX_HALF, to_half
from hgedge.quantization.half_range import LIMIT, layers_beyond_half, peaks
from hgedge.quantization.insert_qdq import quantize
from hgedge.quantization.simulated_half import simulated_half

FACTOR = 1e5
PLANTED = {"hgs.0.up.0.conv1", "hgs.0.up.0.conv1.relu", "hgs.0.up.0.conv2"}  # what makes or reads the channel
MAX_FLOAT_RMSE = 0.003  # every tensor rounded to 11 bits; measured: 0.0012, with the planted channel and without
SKIP = "stem.residual1.add"  # quantised, and read by several
SAME = 1e-5  # FP32 adds in another order


def change(model: onnx.ModelProto, name: str, how) -> None:
    item = next(item for item in model.graph.initializer if item.name == name)
    values = numpy_helper.to_array(item).copy()
    how(values)
    item.CopyFrom(numpy_helper.from_array(values, name))


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


@pytest.fixture(scope="module")
def planted(hourglass, photographs, run):
    """One channel times 1e5, and the weights that read it divided by it: a ReLU between passes a factor on."""
    model = copy_of(hourglass)
    (made,) = run(model, np.stack(photographs[:8]), "hgs.0.up.0.conv1.relu")
    channel = int(made.max(axis=(0, 2, 3)).argmax())

    def scale(values):
        values[channel] *= FACTOR

    def divide(values):
        values[:, channel] /= FACTOR

    change(model, "hgs.0.up.0.conv1.weight", scale)
    change(model, "hgs.0.up.0.conv1.bias", scale)
    change(model, "hgs.0.up.0.conv2.weight", divide)
    return model


@pytest.fixture(scope="module")
def probed(planted, photographs):
    return peaks(planted, photographs[:8])


def relative_rmse(made, expected):
    return float(np.sqrt(np.mean((made - expected) ** 2) / np.mean((expected - expected.mean()) ** 2)))


def casts(model):
    return Counter(node.op_type for node in model.graph.node)["Cast"]


def test_peaks_are_those_of_every_tensor(hourglass, photographs, run):
    found = peaks(hourglass, photographs[:3])
    names = [name for node in hourglass.graph.node for name in node.output]
    assert list(found) == ["image", *names]
    made = run(hourglass, np.stack(photographs[:3]), *found)
    np.testing.assert_allclose(list(found.values()), [np.abs(values).max() for values in made], rtol=1e-4)


def test_a_sound_network_keeps_nothing(hourglass, photographs):
    assert layers_beyond_half(hourglass, peaks(hourglass, photographs[:8])) == {}


def test_a_planted_overflow_is_kept_in_fp32_and_nothing_else(hourglass, planted, probed, photographs, run):
    batch = np.stack(photographs[:8])
    (expected,), (equal,) = run(hourglass, batch), run(planted, batch)
    np.testing.assert_allclose(equal, expected, atol=SAME * np.abs(expected).max())
    (broken,) = run(simulated_half(to_half(planted)), batch)
    assert not np.isfinite(broken).all()

    kept = layers_beyond_half(planted, probed)
    assert set(kept) == PLANTED and min(kept.values()) > MAX_HALF > LIMIT
    half = to_half(planted, kept)
    assert casts(half) == 4  # the graph's ends, and of the one region
    (made,), (sound,) = run(simulated_half(half), batch), run(simulated_half(to_half(hourglass)), batch)
    assert 0 < relative_rmse(made, expected) < MAX_FLOAT_RMSE
    assert 0 < relative_rmse(sound, expected) < MAX_FLOAT_RMSE


@pytest.mark.parametrize("placement", ["conv", "stream"])
def test_int8_crosses_the_border_without_casts(planted, probed, photographs, run, placement):
    """In front of conv1 and between the two stand Q/DQ pairs; behind conv2 an addition reads floats."""
    source = quantize(planted, collect_ranges(planted, photographs[:32]), placement)
    kept = layers_beyond_half(source, probed)
    assert set(kept) == PLANTED
    half = to_half(source, kept)
    onnx.checker.check_model(half, full_check=True)
    assert casts(half) == 3
    types = {item.name: item.data_type for item in half.graph.initializer}
    scales = {name.removesuffix(".weight.scale"): kind for name, kind in types.items() if name.endswith("weight.scale")}
    assert {name for name, kind in scales.items() if kind == TensorProto.FLOAT} == PLANTED & scales.keys()
    batch = np.stack(photographs[:8])
    (exact,), (int8,), (made,) = run(planted, batch), run(source, batch), run(simulated_half(half), batch)
    assert np.isfinite(made).all() and relative_rmse(made, exact) < 1.4 * relative_rmse(int8, exact)


def test_a_constant_may_be_needed_in_both_types(hourglass, photographs, run):
    """Where FP32 makes a tensor and FP16 reads it, Q and DQ share a scale but not its type."""
    source = quantize(hourglass, collect_ranges(hourglass, photographs[:32]), "stream")
    half = to_half(source, [SKIP])
    types = {item.name: item.data_type for item in half.graph.initializer}
    assert types[f"{SKIP}.scale"] == TensorProto.FLOAT16 and types[f"{SKIP}.scale.float"] == TensorProto.FLOAT
    reads = {node.output[0]: list(node.input) for node in half.graph.node}
    assert reads[f"{SKIP}.quantized"][:2] == [SKIP, f"{SKIP}.scale.float"]
    assert reads[f"{SKIP}.dequantized"][:2] == [f"{SKIP}.quantized", f"{SKIP}.scale"]
    assert np.isfinite(run(simulated_half(half), np.stack(photographs[:2]))[0]).all()


def test_weights_beyond_fp16_are_kept(small, noise, run):
    model = copy_of(small)
    change(model, "r2.conv1.weight", lambda values: values.__setitem__((0, 0, 0, 0), 70000.0))
    assert layers_beyond_half(model, {}) == {"r2.conv1": 70000.0}
    half = to_half(model, ["r2.conv1"])
    weight = next(item for item in half.graph.initializer if item.name == "r2.conv1.weight")
    assert weight.data_type == TensorProto.FLOAT and numpy_helper.to_array(weight).max() == 70000
    with pytest.raises(QuantizationError, match=r"'r2.conv1.weight' must lie within ±65504"):
        to_half(model)


def test_a_layer_between_two_joins_them(graph_maker):
    g = graph_maker()
    x = g.conv("image", "first", (4, 3))
    x = g.node("Relu", [x], "between")
    x = g.conv(g.conv(x, "second", (4, 4)), "third", (4, 4))
    g.conv(x, "outs", (2, 4), out="heatmaps")
    model = g.model(2)
    assert set(layers_beyond_half(model, {"image": 1e4, "second": 1e6})) == {"first", "between", "second", "third"}
    half = to_half(model, ["first", "between", "second", "third"])
    assert [node.op_type for node in half.graph.node] == ["Conv", "Relu", "Conv", "Conv", "Cast", "Conv", "Cast"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(small, photographs, value):
    broken = copy_of(small)
    change(broken, "r2.conv1.weight", lambda values: values.__setitem__((0, 0, 0, 0), value))
    with pytest.raises(
        QuantizationError, match=r"tensor 'r2.conv1' holds NaN or infinite values in FP32, for picture 0"
    ):
        peaks(broken, photographs[:1])
    with pytest.raises(QuantizationError, match=r"'r2.conv1.weight' holds NaN or infinite values"):
        layers_beyond_half(broken, {})


def test_no_picture_and_no_such_layer_are_refused(small):
    with pytest.raises(QuantizationError, match="the FP16 range probe needs pictures, but got none"):
        peaks(small, [])
    with pytest.raises(QuantizationError, match=r"r9\.conv should stay FP32, but no layer of the graph makes that"):
        to_half(small, ["r9.conv", "r1.conv1"])
