"""ONNX as PyTorch's exporters write it, brought to hgedge's form: PyTorch itself is the reference."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

from hgedge.errors import ConfigError, ExportError  # noqa: E402
from hgedge.export.from_onnx import HALF_TOLERANCE, graph_from_onnx  # noqa: E402
from hgedge.export.onnx_ends import image_input  # noqa: E402
from hgedge.export.read_onnx import read_onnx  # noqa: E402
from hgedge.quantization.placement import head_indices  # noqa: E402
from hgedge.quantization.ranges import naming_version  # noqa: E402
from tests.export.foreign import (  # noqa: E402
    KEYPOINTS,
    ChannelsLast,
    MobileStacks,
    OneOutput,
    Shuffled,
    SimpleBaseline,
    exported,
    seeded,
)

CLOSE = 2e-6  # of the heatmaps' range; measured: 2e-7, as rewrites round differently
FREE = {0: "n"}
ALL_FREE = {0: "n", 2: "h", 3: "w"}
HW = (64, 64)


def picture(hw=HW):
    return np.random.default_rng(0).uniform(0, 1, (3, *hw)).astype(np.float32)


def converted(path, heatmaps=None, input_hw=None, num_keypoints=KEYPOINTS):
    model = read_onnx(path)
    image = image_input(model, input_hw, path)
    return graph_from_onnx(path, model, image, picture(image.hw), heatmaps, num_keypoints)


def saved(model, folder):
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def run(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["heatmaps"], {"image": images})[0]


def check(made, net, output=None, tolerance=CLOSE):
    """The graph keeps the contract, and gives PyTorch's heatmaps for one picture and for three."""
    graph = made.model.graph
    (image,), (heatmaps,) = graph.input, graph.output
    assert (image.name, heatmaps.name) == ("image", "heatmaps")
    assert {end.type.tensor_type.elem_type for end in (image, heatmaps)} == {TensorProto.FLOAT}
    hw = tuple(dim.dim_value for dim in image.type.tensor_type.shape.dim[2:])
    images = np.stack([picture(hw), picture(hw)[::-1], picture(hw)[:, ::-1]])
    last = isinstance(net, ChannelsLast)
    with torch.inference_mode():
        expected = net(torch.from_numpy(images.transpose(0, 2, 3, 1).copy() if last else images))
    expected = (expected if output is None else expected[output]).numpy()
    expected = expected.transpose(0, 3, 1, 2) if last else expected
    for count in (1, 3):
        assert np.abs(run(made.model, images[:count]) - expected[:count]).max() <= tolerance * np.ptp(expected)
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names) and all(names)
    assert naming_version(made.model) == 0 and made.free_batch
    return {node.op_type for node in graph.node}


@pytest.mark.parametrize(
    ("opset", "dynamo", "free"),
    [(13, False, None), (18, False, FREE), (18, True, None), (18, True, FREE), (11, False, ALL_FREE)],
)
def test_deconvolutions_of_either_exporter(tmp_path, opset, dynamo, free):
    net = seeded(SimpleBaseline)
    made = converted(saved(exported(net, opset, dynamo, free), tmp_path), input_hw=HW)
    operations = check(made, net)
    assert operations <= {"Conv", "ConvTranspose", "Relu", "BatchNormalization"}
    norms = sum(node.op_type == "BatchNormalization" for node in made.model.graph.node)
    assert norms <= 1  # of the deconvolution; those of convolutions are folded
    version = next(item.version for item in made.model.opset_import)
    assert version == (17 if opset == 11 else opset)


@pytest.mark.parametrize(("opset", "dynamo"), [(13, False), (18, True)])
def test_the_last_of_several_stacks(tmp_path, opset, dynamo, caplog):
    caplog.set_level("INFO")
    net = seeded(MobileStacks)
    made = converted(saved(exported(net, opset, dynamo, FREE, outputs=3), tmp_path))
    check(made, net, 2)
    assert (made.heatmaps.name, made.heatmaps.num_stacks) == ("out2", 2)
    assert "heatmaps are output out2 (1, 5, 16, 16), NCHW, the last of 2" in caplog.text


@pytest.mark.parametrize(("opset", "dynamo"), [(13, False), (18, True)])
def test_the_last_stack_of_one_output(tmp_path, opset, dynamo, caplog):
    """(N, S, K, h, w), as stacked hourglasses often give their maps; the last is quantised as if it were alone."""
    caplog.set_level("INFO")
    net = seeded(OneOutput)
    made = converted(saved(exported(net, opset, dynamo, FREE), tmp_path))
    with torch.inference_mode():
        expected = net(torch.from_numpy(picture()[None]))[:, -1].numpy()
    assert np.abs(run(made.model, picture()[None]) - expected).max() <= CLOSE * np.ptp(expected)
    assert made.heatmaps.num_stacks == 2 and "the last of its 2 stacks" in caplog.text
    assert not {"Gather", "Unsqueeze"} & {node.op_type for node in made.model.graph.node}
    assert len(head_indices(made.model)) == 1


def test_the_output_that_is_asked_for(tmp_path):
    net = seeded(MobileStacks)
    path = saved(exported(net, outputs=3), tmp_path)
    made = converted(path, "out1")
    check(made, net, 1)
    assert sum(node.op_type == "Concat" for node in made.model.graph.node) == 0  # what only out2 needs is gone
    with pytest.raises(ConfigError, match=r"no output 'out7'; --heatmaps must be one of: out0 \(1, 8, 16, 16\), out1"):
        converted(path, "out7")
    with pytest.raises(ExportError, match="must have an output of 5 heatmaps"):
        converted(path, "out0")
    with pytest.raises(ConfigError, match=r"several outputs that look like heatmaps.*--heatmaps out0\|out1\|out2"):
        converted(path, num_keypoints=None)


@pytest.mark.parametrize("make", [SimpleBaseline, Shuffled])
def test_channels_last(tmp_path, make):
    net = ChannelsLast(seeded(make))
    path = saved(exported(net, 13), tmp_path)
    made = converted(path)
    check(made, net)
    assert image_input(read_onnx(path), None, path).layout == made.heatmaps.layout == "NHWC"
    inner = 1 if make is Shuffled else 0
    assert sum(node.op_type == "Transpose" for node in made.model.graph.node) == inner


def test_a_batch_that_shapes_fix_is_freed(tmp_path):
    net = seeded(Shuffled)
    check(converted(saved(exported(net, 13), tmp_path)), net)


@pytest.mark.parametrize("channels_last", [False, True])
def test_without_onnxsim(tmp_path, monkeypatch, caplog, channels_last):
    caplog.set_level("INFO")
    monkeypatch.setitem(sys.modules, "onnxsim", None)
    net = ChannelsLast(seeded(SimpleBaseline)) if channels_last else seeded(Shuffled)
    free = {0: "n", 1: "h", 2: "w"} if channels_last else ALL_FREE
    made = converted(saved(exported(net, 13, free=free), tmp_path), input_hw=HW)
    operations = check(made, net)
    assert "onnxsim is not installed" in caplog.text
    assert ("Transpose" in operations) is not channels_last


def test_other_sizes(tmp_path):
    net = seeded(SimpleBaseline)
    path = saved(exported(net, 13, free=ALL_FREE), tmp_path)
    made = converted(path, input_hw=(96, 64))
    check(made, net)
    assert made.heatmaps.hw == (24, 16)


def test_fp16_is_widened(tmp_path):
    """All weights, ends and Casts in FP16, as converters leave them."""
    net = seeded(SimpleBaseline).half().float()  # weights that FP16 holds
    model = exported(net, 13)
    for item in model.graph.initializer:
        item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item).astype(np.float16), item.name))
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.elem_type = TensorProto.FLOAT16
    del model.graph.value_info[:]
    made = converted(saved(model, tmp_path))
    check(made, net, tolerance=HALF_TOLERANCE)
    assert all(item.data_type != TensorProto.FLOAT16 for item in made.model.graph.initializer)


def test_a_name_that_is_ours_already(tmp_path):
    """An inner tensor called `image`, an input called `heatmaps`."""
    net = seeded(SimpleBaseline)
    model = exported(net, 13)
    inner = model.graph.node[0].output[0]
    new = {"x": "heatmaps", inner: "image"}
    for node in model.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    model.graph.input[0].name = "heatmaps"
    check(converted(saved(model, tmp_path)), net)


def test_a_batch_that_cannot_be_freed(tmp_path, caplog):
    """The first picture alone is sliced out at the end."""
    net = seeded(SimpleBaseline)
    model = exported(net, 13)
    (head,) = [node for node in model.graph.node if "out" in node.output]
    head.output[0] = "all"
    for name, value in (("starts", [0]), ("ends", [1]), ("axes", [0])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    model.graph.node.append(helper.make_node("Slice", ["all", "starts", "ends", "axes"], ["out"]))
    made = converted(saved(model, tmp_path))
    assert not made.free_batch and "computes one picture at a time" in caplog.text
    assert made.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    with torch.inference_mode():
        expected = net(torch.from_numpy(picture()[None])).numpy()
    assert np.abs(run(made.model, picture()[None]) - expected).max() <= CLOSE * np.ptp(expected)


def test_the_same_file_gives_the_same_graph(tmp_path):
    path = saved(exported(seeded(MobileStacks), outputs=3), tmp_path)
    first, second = (converted(path).model.SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_heatmaps_without_values(tmp_path):
    net = seeded(SimpleBaseline)
    torch.nn.init.zeros_(net.head.weight)
    torch.nn.init.zeros_(net.head.bias)
    with pytest.raises(ExportError, match=r"range over 0.0 on a photograph.*check --mean, --std and --heatmaps"):
        converted(saved(exported(net), tmp_path))
