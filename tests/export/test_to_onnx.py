from __future__ import annotations

import copy
import logging
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from hgedge.errors import ConfigError, ExportError
from hgedge.export import onnx_from_network, write_onnx
from hgedge.models.hourglass import HourglassConfig, HourglassNet
from hgedge.spec import InputSpec


def shape_of(item):
    return [dim.dim_param or dim.dim_value for dim in item.type.tensor_type.shape.dim]


def wiring(model):
    """Each node by name: type, inputs in no order, and parameters' bytes."""
    values = {item.name: item.raw_data for item in model.graph.initializer}
    return {
        node.name: (node.op_type, sorted(node.input), [values[name] for name in node.input if name in values])
        for node in model.graph.node
    }


def test_ends_of_the_graph(small_model):
    (image,), (heatmaps,) = small_model.graph.input, small_model.graph.output
    assert (image.name, shape_of(image)) == ("image", ["N", 3, 64, 64])
    assert (heatmaps.name, shape_of(heatmaps)) == ("heatmaps", ["N", 5, 16, 16])
    assert image.type.tensor_type.elem_type == heatmaps.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert [(item.domain, item.version) for item in small_model.opset_import] == [("", 17)]
    assert small_model.ir_version == 8
    onnx.checker.check_model(small_model, full_check=True)


def test_hg2_is_made_of_these_nodes_and_no_others(hg2_model):
    residuals = 3 + 2 * (13 + 1)  # stem; a stack: three on each of four levels and the innermost one, and one after it
    assert Counter(node.op_type for node in hg2_model.graph.node) == {
        "Conv": 1 + 3 * residuals + 2 + 2 * 1 + 1 + 1,  # stem, residuals, two skips, features, merge_features.0, outs.1
        "BatchNormalization": residuals,  # the leading one of each
        "Relu": 1 + 3 * residuals + 2,
        "Add": residuals + 2 * 4 + 1,
        "MaxPool": 1 + 2 * 4,
        "Resize": 2 * 4,
    }
    assert residuals == 31


def test_resize_has_constant_scales_that_every_backend_takes(hg2_model):
    values = {item.name: numpy_helper.to_array(item) for item in hg2_model.graph.initializer}
    for node in hg2_model.graph.node:
        if node.op_type == "Resize":
            settings = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
            assert settings["mode"] == b"nearest"
            assert settings["coordinate_transformation_mode"] == b"asymmetric"
            assert settings["nearest_mode"] == b"floor"
            assert len(node.input) == 3 and not node.input[1]
            assert values[node.input[2]].tolist() == [1, 1, 2, 2]


def test_convolutions_and_their_parameters_bear_the_names_of_their_modules(hg2, hg2_model):
    parameters = hg2.state_dict()
    for node in hg2_model.graph.node:
        if node.op_type in ("Conv", "BatchNormalization"):
            assert list(node.input[1:3]) == [f"{node.name}.weight", f"{node.name}.bias"]
            assert all(name in parameters for name in node.input[1:])
    written = {item.name for item in hg2_model.graph.initializer}
    assert {name for name in written - set(parameters) if not name.endswith(".add.up.scales")} == set()


def test_sums_have_readable_names(hg2_model):
    sums = {node.output[0] for node in hg2_model.graph.node if node.op_type == "Add"}
    assert {
        "stem.residual1.add",  # with a skip
        "stem.residual3.add",  # without
        "hgs.0.up.0.add",
        "hgs.1.inner.inner.inner.inner.0.add",
        "hgs.0.add",
        "hgs.0.inner.inner.inner.add",
        "features.1.0.0.add",
        "merge_features.0.add",
    } < sums


def test_fewer_stacks_leave_the_other_names_and_values_as_they_are(hg1_model, hg2_model):
    one, two = wiring(hg1_model), wiring(hg2_model)
    assert set(one) - set(two) == {"outs.0"}
    assert {name: two[name] for name in one if name != "outs.0"} == {k: v for k, v in one.items() if k != "outs.0"}
    assert not any(name.startswith(("hgs.1", "features.1", "merge", "outs.1")) for name in one)


def test_two_exports_are_the_same_to_the_byte_and_carry_no_traces(small_net, small_input, small_model):
    again = onnx_from_network(small_net, small_input)
    written = again.SerializeToString(deterministic=True)
    assert written == small_model.SerializeToString(deterministic=True)
    assert b".py" not in written and b"torch" not in written


def test_a_network_fresh_from_training(small_input):
    net = HourglassNet(HourglassConfig(num_stacks=1, num_features=8, depth=1)).double().train()
    before = copy.deepcopy(net.state_dict())
    model = onnx_from_network(net, small_input)
    assert net.training and next(net.parameters()).dtype == torch.float64
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert logging.getLogger("torch.onnx").level == logging.NOTSET
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert len({node.input[1] for node in norms}) == len(norms) == 8  # equal parameters stay apart


def test_what_does_not_fit_is_refused(small_net):
    with pytest.raises(ConfigError, match="takes 3 channels, but gray has 1"):
        onnx_from_network(small_net, InputSpec(hw=(64, 64), color="gray", mean=(0.0,), std=(1.0,)))
    with pytest.raises(ConfigError, match=r"multiples of 8 .* got 64x68"):
        onnx_from_network(small_net, InputSpec(hw=(64, 68)))
    for number in (0, 3):
        with pytest.raises(ConfigError, match=f"num_stacks must be from 1 to 2 for this network, but got {number}"):
            onnx_from_network(small_net, InputSpec(hw=(64, 64)), num_stacks=number)


def test_write_replaces_the_file_whole(small_model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    write_onnx(small_model, path)
    assert onnx.load(path) == small_model
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_write_that_fails_leaves_nothing(small_model, tmp_path):
    taken = tmp_path / "model.onnx"
    taken.mkdir()
    with pytest.raises(ExportError, match=r"cannot write .*model\.onnx: Is a directory"):
        write_onnx(small_model, taken)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    with pytest.raises(ExportError, match=r"cannot write .*: No such file or directory; choose another place"):
        write_onnx(small_model, tmp_path / "absent" / "model.onnx")


def test_constant_values_are_float32(small_model):
    assert {numpy_helper.to_array(item).dtype for item in small_model.graph.initializer} == {np.dtype(np.float32)}
