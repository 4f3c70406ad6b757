"""Files that are read, and files that are refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hgedge.errors import ConfigError, ExportError
from hgedge.export.onnx_ends import ImageInput, heatmap_output, image_input
from hgedge.export.read_onnx import opset, read_onnx


def network(shape=("N", 3, 64, 64), opset=17, nodes=(), outputs=("heatmaps",)) -> onnx.ModelProto:
    """A convolution, then the nodes given as (type, input, output)."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    made = [helper.make_node("Conv", ["x", "weight"], ["conv" if nodes else "heatmaps"], strides=[4, 4], pads=[1] * 4)]
    made += [helper.make_node(kind, [read], [name]) for kind, read, name in nodes]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(made, "g", [image], ends, [numpy_helper.from_array(weight, "weight")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(model, folder, **how):
    onnx.save(model, folder / "model.onnx", **how)
    return folder / "model.onnx"


def test_external_data_is_pulled_in(tmp_path):
    model = network()
    kept = numpy_helper.to_array(model.graph.initializer[0]).copy()
    path = saved(model, tmp_path, save_as_external_data=True, location="model.data", size_threshold=0)
    (weight,) = read_onnx(path).graph.initializer
    assert (numpy_helper.to_array(weight) == kept).all() and not weight.external_data
    (tmp_path / "model.data").unlink()
    with pytest.raises(ExportError, match=r"keeps weights in model.data, which cannot be read beside it"):
        read_onnx(path)


def test_external_data_from_elsewhere_is_not_read(tmp_path):
    path = saved(network(), tmp_path, save_as_external_data=True, location="model.data", size_threshold=0)
    (tmp_path / "inner").mkdir()
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../model.data"
    (tmp_path / "inner" / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match="cannot be read beside it"):
        read_onnx(tmp_path / "inner" / "model.onnx")


def test_initializers_that_are_inputs_do_not_count(tmp_path):
    model = network()
    model.graph.input.append(helper.make_tensor_value_info("weight", TensorProto.FLOAT, (4, 3, 3, 3)))
    path = saved(model, tmp_path)
    assert image_input(read_onnx(path), None, path).name == "x"


@pytest.mark.parametrize(("given", "kept"), [(9, 17), (12, 17), (13, 13), (18, 18), (19, 19), (21, 17), (24, 17)])
def test_opsets(tmp_path, given, kept):
    assert opset(read_onnx(saved(network(opset=given, nodes=[("Relu", "conv", "heatmaps")]), tmp_path))) == kept


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (network(opset=25, nodes=[("Gelu", "conv", "heatmaps")]), "opset 25, which cannot become 17 .*from 13 to 19"),
        (network(nodes=[("QuantizeLinear", "conv", "heatmaps")]), r"already \(QuantizeLinear\); give the float"),
        (network(opset=20, nodes=[("Nonsense", "conv", "heatmaps")]), "has opset 20, which cannot become 17"),
    ],
)  # fmt: skip
def test_refused(tmp_path, model, message):
    with pytest.raises(ExportError, match=message):
        read_onnx(saved(model, tmp_path))


def test_operators_of_a_runtime_are_refused(tmp_path):
    model = network(nodes=[("FusedConv", "conv", "heatmaps")])
    model.graph.node[1].domain = "com.microsoft"
    with pytest.raises(ExportError, match=r"has com.microsoft.FusedConv; export it again"):
        read_onnx(saved(model, tmp_path))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(tmp_path, value):
    model = network()
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[1, 2, 0, 0] = value
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))
    with pytest.raises(ExportError, match=r"weight \(read by Conv of heatmaps\) holds NaN or Inf"):
        read_onnx(saved(model, tmp_path))


@pytest.mark.parametrize("content", [b"", b"junk" * 100, b"\x08\x08"])
def test_junk(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ExportError, match="model.onnx is not an ONNX file"):
        read_onnx(tmp_path / "model.onnx")


def ends(tmp_path, shape, hw=None):
    model = network(shape)
    return image_input(model, hw, tmp_path / "model.onnx")


def test_layouts_and_sizes_of_the_input(tmp_path):
    assert ends(tmp_path, (1, 3, 64, 48)) == ImageInput("x", "NCHW", 3, (64, 48), 1, TensorProto.FLOAT, True)
    assert ends(tmp_path, ("N", 64, 48, 1)) == ImageInput("x", "NHWC", 1, (64, 48), 0, TensorProto.FLOAT, True)
    assert ends(tmp_path, ("N", 3, "h", "w"), (32, 96)) == ImageInput("x", "NCHW", 3, (32, 96), 0, 1, False)
    assert ends(tmp_path, ("N", 3, 64, 48), (64, 48)).sized_by_file


@pytest.mark.parametrize(
    ("shape", "hw", "error", "message"),
    [
        ((1, 3, 64, 3), None, ExportError, r"x \(1, 3, 64, 3\) could be NCHW as well as NHWC"),
        ((1, 4, 64, 64), None, ExportError, "has 1 or 3 channels neither in axis 1 nor in the last"),
        ((3, 64, 64), None, ExportError, r"must be a batch of pictures, four axes, but is \(3, 64, 64\)"),
        ((1, 3, "h", "w"), None, ConfigError, r"\(1, 3, h, w\) has no fixed height and width; say them: --input HxW"),
        ((1, 3, 64, 64), (96, 96), ConfigError, "is fixed, but --input asks for 96x96; leave --input out"),
    ],
)
def test_inputs_that_are_refused(tmp_path, shape, hw, error, message):
    with pytest.raises(error, match=message):
        ends(tmp_path, shape, hw)


def test_an_input_of_whole_numbers(tmp_path):
    model = network()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    with pytest.raises(ExportError, match="input x must take floats, but takes UINT8"):
        image_input(model, None, tmp_path)


IMAGE = ImageInput("x", "NCHW", 3, (64, 48), 1, TensorProto.FLOAT, True)


@pytest.mark.parametrize(
    ("shapes", "count", "name", "layout", "alike"),
    [
        ({"a": (1, 14, 16, 12)}, None, "a", "NCHW", 1),
        ({"a": (1, 16, 12, 14)}, None, "a", "NHWC", 1),
        ({"a": (1, 38, 16, 12), "b": (1, 14, 16, 12)}, 14, "b", "NCHW", 1),
        ({"a": (1, 14, 16, 12), "b": (1, 14, 16, 12), "c": (1, 14)}, None, "b", "NCHW", 2),
        ({"a": (1, 14, 64, 48)}, 14, "a", "NCHW", 1),
    ],
)
def test_the_output_is_found(tmp_path, shapes, count, name, layout, alike):
    found = heatmap_output(shapes, IMAGE, None, count, tmp_path)
    assert (found.name, found.layout, found.num_stacks) == (name, layout, alike)


@pytest.mark.parametrize("shape", [(1, 14), (1, 14, 16, 16), (1, 14, 24, 18), (1, 14, 128, 96), (1, 17, 16, 12)])
def test_no_output_is_found(tmp_path, shape):
    with pytest.raises(ExportError, match=r"must have an output of 14 heatmaps.*\(64x48\).*but has: a \(1, "):
        heatmap_output({"a": shape}, IMAGE, None, 14, tmp_path)
