"""ONNX that lies."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


def network(image=("N", 3, 64, 64), opset=17, tail="", inputs=1, fill=None) -> onnx.ModelProto:
    """Heatmaps of four keypoints at a quarter of the size by one convolution; `tail`: what follows it."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    weight[0, 0, 0, 0] = weight[0, 0, 0, 0] if fill is None else fill
    conv = helper.make_node("Conv", ["x", "w"], ["y" if tail else "heatmaps"], strides=[4, 4], pads=[1] * 4)
    constants = {"w": weight, "scale": np.float32(0.1), "zero": np.int8(0), "square": np.ones((256, 256), np.float32)}
    after = {
        "": [],
        "Gelu": [helper.make_node("Gelu", ["y"], ["heatmaps"])],
        "Q": [
            helper.make_node("QuantizeLinear", ["y", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["heatmaps"]),
        ],
        "classes": [
            helper.make_node("GlobalAveragePool", ["y"], ["p"]),
            helper.make_node("Flatten", ["p"], ["heatmaps"]),
        ],
        "deep": [helper.make_node("MatMul", ["y", "square"], ["heatmaps"])],
    }[tail]
    nodes = [conv, *after]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)]
    ends += [helper.make_tensor_value_info(f"more{i}", TensorProto.FLOAT, (1,)) for i in range(1, inputs)]
    output = helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, None)
    read = {name for node in nodes for name in node.input}
    given = [numpy_helper.from_array(value, name) for name, value in constants.items() if name in read]
    graph = helper.make_graph(nodes, "g", ends, [output], given)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def junk(folder):
    (folder / "model.onnx").write_bytes(bytes(range(256)) * 20)


def cut_off(folder):
    (folder / "model.onnx").write_bytes(network().SerializeToString()[:200])


def without_its_data(folder):
    onnx.save(network(), folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (folder / "weights.bin").unlink()


def of(**how):
    def write(folder):
        onnx.save(network(**how), folder / "model.onnx")

    return write


def nothing(folder):
    """No file at all."""


FIVE = 'name = "five"\nnames = ["a", "b", "c", "d", "e"]\nskeleton = []\nflip_indices = [0, 1, 2, 3, 4]\n'


def five_keypoints(folder):
    of()(folder)
    (folder / "five.toml").write_text(FIVE)


def bad_set(folder):
    of()(folder)
    (folder / "set.toml").write_text('name = "x"\nnames = ["a"]\nskeleton = [[0, 1]]\nflip_indices = [0]\n')


CASES = {
    "no file": (nothing, (), "cannot read model.onnx: No such file or directory"),
    "junk": (junk, (), "model.onnx is not an ONNX file"),
    "cut off": (cut_off, (), "model.onnx is not an ONNX file, or cut off"),
    "external data missing": (without_its_data, (), "keeps weights in weights.bin, which cannot be read beside it"),
    "opset 25": (of(opset=25, tail="Gelu"), (), "has opset 25, which cannot become 17"),
    "free size": (of(image=("N", 3, "h", "w")), (), "has no fixed height and width; say them: --input HxW"),
    "two inputs": (of(inputs=2), (), "must have one input, the picture, but has 2: x, more1"),
    "NaN": (of(fill=np.nan), (), "w (read by Conv of heatmaps) holds NaN or Inf"),
    "quantised": (of(tail="Q"), (), "is quantised already (DequantizeLinear, QuantizeLinear); give the float network"),
    "classification": (of(tail="classes"), (), "must have an output of heatmaps"),
    "runtime refuses": (of(tail="deep"), (), "ONNX Runtime cannot run model.onnx"),
    "no such output": (of(), ("--heatmaps", "maps"), "has no output 'maps'; --heatmaps must be one of: heatmaps (1,"),
    "too few means": (of(), ("--mean", "0.5,0.5"), "rgb needs 3 values of mean and std, got (0.5, 0.5)"),
    "mean of words": (of(), ("--mean", "imagenet"), "--mean must be numbers with commas between, but got 'imagenet'"),
    "unknown color": (of(), ("--color", "rbg"), "color must be one of rgb, bgr, gray, but got 'rbg'"),
    "unknown set": (of(), ("--keypoints", "lps14"), "but got 'lps14'; did you mean 'lsp14'?"),
    "too many keypoints": (five_keypoints, ("--keypoints", "five.toml"), "must have an output of 5 heatmaps"),
    "a set that lies": (bad_set, ("--keypoints", "set.toml"), "skeleton of 'x' names a keypoint outside 0..0"),
}  # fmt: skip


@pytest.mark.parametrize(("prepare", "arguments", "message"), CASES.values(), ids=list(CASES))
def test_it_is_refused(refused, tmp_path, prepare, arguments, message):
    prepare(tmp_path)
    refused(("build", "model.onnx", "--precision", "fp32", "--backend", "onnxruntime", *arguments), 2, message)


def test_options_of_onnx_are_refused_for_a_checkpoint(refused):
    refused(("build", "TINY", "--color", "bgr"), 2, "--color goes with an ONNX file, but", "is none")


def test_a_sound_one_is_built(process, tmp_path):
    of(image=(1, 3, "h", "w"))(tmp_path)
    done = process("build", "model.onnx", "--input", "64x32", "--precision", "fp32", "--backend", "onnxruntime", "-v")
    assert done.returncode == 0, done.stderr
    for line in (
        "input: rgb, (pixel / 255 - (0.0, 0.0, 0.0)) / (1.0, 1.0, 1.0), NCHW; --color, --mean, --std by default",
        "heatmaps are output heatmaps (1, 4, 16, 8), NCHW",
        "no --keypoints: 4 keypoints without names or skeleton, called 0 to 3",
    ):
        assert line in " ".join(done.stderr.split()), done.stderr
    assert "engines/model-fp32-onnxruntime-64x32" in done.stdout
