"""Groups of convolutions, and graphs in which some of them stay float."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hgedge.errors import ConfigError
from hgedge.quantization.calibrate import collect_ranges
from hgedge.quantization.groups import groups
from hgedge.quantization.half import to_half
from hgedge.quantization.insert_qdq import num_int8_convs, quantize

SMALL = {
    "stem": ("stem",),
    "r1": ("r1.conv1", "r1.skip", "r1.conv2"),
    "r2": ("r2.conv1",),
    "r3": ("r3.conv1",),
    "merge": ("features", "merge"),
    "last.conv": ("last.conv",),
}
PLANTED = 1e4  # times which one channel is larger than its neighbours
HALF_RMSE = 0.08  # where FP16 rounds an INT8 value to its neighbour; measured: 0.03
RUINED, SOUND = 0.3, 0.1  # relative RMSE with the planted channel in INT8, and with it float; measured: 0.9 and 0.02


def serialized(model: onnx.ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)


@pytest.fixture(scope="module")
def ranges(hourglass, noise):
    return collect_ranges(hourglass, noise)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_group_is_what_lies_between_additions(make_small, swapped):
    found = groups(make_small(swapped))
    assert found == SMALL and list(found) == list(SMALL)


def test_every_convolution_but_the_head_is_in_one_group(hourglass):
    found = groups(hourglass)
    members = [name for group in found.values() for name in group]
    convolutions = [node.output[0] for node in hourglass.graph.node if node.op_type == "Conv"]
    assert sorted(members) == sorted(set(convolutions) - {"heatmaps"})
    assert found["hgs.0.up.0"] == tuple(f"hgs.0.up.0.conv{index}" for index in (1, 2, 3))
    assert set(found["stem.residual1"]) == {f"stem.residual1.{name}" for name in ("conv1", "conv2", "conv3", "skip")}
    assert found["stem.conv"] == ("stem.conv",)


def test_without_additions_every_convolution_is_its_own(graph_maker):
    g = graph_maker()
    x = g.node("Relu", [g.conv(g.norm_relu("image", "bn", 3), "one", (4, 3))], "one.relu")
    x = g.node("Add", [g.conv(x, "two", (4, 4)), g.constant("offset", np.ones((1, 4, 1, 1)))], "moved")
    x = g.node("Concat", [x, "one.relu"], "both", axis=1)
    g.conv(g.conv(x, "three", (4, 8)), "outs", (2, 4), out="heatmaps")
    assert groups(g.model(2)) == {name: (name,) for name in ("one", "two", "three")}


def test_a_network_that_is_a_head_alone_has_none(graph_maker):
    g = graph_maker()
    g.conv("image", "outs", (2, 3), out="heatmaps")
    assert groups(g.model(2)) == {}


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("placement", ["conv", "stream"])
def test_none_is_the_graph_of_before_and_all_is_fp32(hourglass, ranges, placement, unsigned):
    plain = quantize(hourglass, ranges, placement, unsigned)
    assert (
        serialized(quantize(hourglass, ranges, placement, unsigned, ())) == serialized(plain) != serialized(hourglass)
    )
    assert serialized(quantize(hourglass, ranges, placement, unsigned, groups(hourglass))) == serialized(hourglass)


def test_all_is_fp32_where_the_image_is_resized_before_the_stem(graph_maker, noise):
    g = graph_maker()
    x = g.node("Resize", ["image", "", g.constant("scales", np.array([1, 1, 0.5, 0.5]))], "low", mode="linear")
    x = g.node("Add", [g.conv(x, "one", (4, 3)), g.conv(x, "two", (4, 3))], "sum")
    g.conv(g.node("Resize", [x, "", g.constant("up", np.array([1, 1, 2, 2]))], "sum.up"), "o", (2, 4), out="heatmaps")
    model = g.model(2)
    found = collect_ranges(model, noise)
    assert num_int8_convs(quantize(model, found, "stream")) == 2
    assert serialized(quantize(model, found, "stream", float_groups=["sum"])) == serialized(model)


@pytest.mark.parametrize("placement", ["conv", "stream"])
def test_a_float_group_reads_float_and_the_rest_stays_as_it_was(hourglass, ranges, placement):
    before = {node.output[0]: list(node.input) for node in quantize(hourglass, ranges, placement).graph.node}
    floats = {node.output[0]: list(node.input) for node in hourglass.graph.node}
    for name, convolutions in groups(hourglass).items():
        mixed = {
            node.output[0]: list(node.input)
            for node in quantize(hourglass, ranges, placement, float_groups=[name]).graph.node
        }
        changed = {made for made in floats if mixed[made] != before[made]}
        assert changed >= set(convolutions)
        assert all(mixed[made] == floats[made] for made in changed)
        others = {made for other, members in groups(hourglass).items() if other != name for made in members}
        assert not changed & others


def relative_rmse(made: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(np.mean((made - expected) ** 2)) / expected.std())


def test_a_planted_channel_is_rescued_by_its_group_alone(hourglass, noise, run):
    """One channel between conv2 and conv3 is enormous, and conv3 takes it back: the same network in FP32."""
    model = onnx.ModelProto()
    model.CopyFrom(hourglass)
    constants = {item.name: item for item in model.graph.initializer}
    for name, index, factor in (("conv2.weight", 3, PLANTED), ("conv2.bias", 3, PLANTED)):
        item = constants[f"stem.residual2.{name}"]
        values = numpy_helper.to_array(item).copy()
        values[index] *= factor
        item.CopyFrom(numpy_helper.from_array(values, item.name))
    item = constants["stem.residual2.conv3.weight"]
    values = numpy_helper.to_array(item).copy()
    values[:, 3] /= PLANTED
    item.CopyFrom(numpy_helper.from_array(values, item.name))
    batch, found = np.stack(noise), collect_ranges(model, noise)
    (expected,) = run(model, batch)
    errors = {}
    for name in (None, "stem.residual2", "stem.residual3"):
        mixed = quantize(model, found, "conv", float_groups=[name] if name else [])
        errors[name] = relative_rmse(run(mixed, batch)[0], expected)
    assert errors["stem.residual2"] < SOUND < RUINED < min(errors[None], errors["stem.residual3"]), errors


def test_in_fp16_the_float_groups_are_half(hourglass, ranges, noise, run):
    chosen = ("stem.residual2", "hgs.1.inner.inner.0", "merge_features.0")
    mixed = quantize(hourglass, ranges, "stream", float_groups=chosen)
    half = to_half(mixed)
    types = {item.name: item.data_type for item in half.graph.initializer}
    for made in (name for group in chosen for name in groups(hourglass)[group]):
        assert types[f"{made}.weight"] == onnx.TensorProto.FLOAT16
    assert num_int8_convs(half) == num_int8_convs(mixed)
    pictures = np.stack(noise)
    assert relative_rmse(run(half, pictures)[0], run(mixed, pictures)[0]) < HALF_RMSE


def test_an_unknown_group_names_its_neighbours(hourglass, ranges):
    with pytest.raises(
        ConfigError, match=r"has 22 groups .* none is called 'hgs\.0\.up\.1'; did you mean 'hgs\.0\.up\.0'"
    ):
        quantize(hourglass, ranges, "conv", float_groups=["hgs.0.down.0", "hgs.0.up.1"])
    with pytest.raises(ConfigError, match=r"none is called 'xyz'; list them with: hgedge inspect BUNDLE --layers"):
        quantize(hourglass, ranges, "conv", float_groups=["xyz"])
