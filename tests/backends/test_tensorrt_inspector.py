"""What the engine inspector tells, read from documents as NVIDIA's pages show them; no engine was asked for these.

Source: the engine inspector's pages of TensorRT 8.5 and 10.16, issue 4020 of NVIDIA/TensorRT (10.1), and the page on
the inspector's migration from 10.x to 11.x.
"""

from __future__ import annotations

import json

import pytest

from hgedge.backends.tensorrt.inspector import Kernel, kernels, summary
from hgedge.cli.inspect import engine_text, kernels_text, show
from hgedge.errors import ExportError

INT8, FP16, FP32 = "Row major Int8 format", "Channel major FP16 format where channel % 8 == 0", "Row major linear FP32"
WIDE = "Thirty-two wide channel vectorized row major Int8 format."
UNIT, RECORD = "\x1f", "\x1e"  # what parts the nodes, up to 8.6 and since


def tensor(kind, key="Format/Datatype"):
    return {"Name": "t", "Location": "Device", "Dimensions": [1, 64, 48, 48], key: kind}


def layer(name, kind, reads, writes, nodes=(), parted=UNIT, **more):
    metadata = parted.join(f"[ONNX Layer: {node}]" for node in nodes)
    sides = {"Inputs": [tensor(each) for each in reads], "Outputs": [tensor(each) for each in writes]}
    return {"Name": name, "LayerType": kind, **sides, "StreamId": 0, "Metadata": metadata, **more}


def document(*layers, **more):
    return json.dumps({"Layers": list(layers), **more})


OF_10 = document(
    layer("Reformatting CopyNode for Input Tensor 0 to stem", "Reformat", [FP32], [FP16], Origin="REFORMAT"),
    layer("stem.conv + stem.conv.relu", "CaskConvolution", [INT8], [WIDE], ["stem.conv", "stem.conv.relu"], RECORD,
          ParameterType="Convolution", Weights={"Type": "Int8", "Count": 9408}, HasResidual=0),
    layer("up.conv3 + up.add", "CaskConvolution", [WIDE, FP16], [FP16], ["up.conv3", "up.add"],
          Weights={"Type": "Int8", "Count": 4096}, HasResidual=1),
    layer("__myl_ResiAdd_myl0_3", "kgen", ["Half", "Half"], ["Half"], ["out.up", "out.add"]),
    layer("outs.1", "CaskGemmConvolution", ["Half"], ["Float"], ["outs.1"], Weights={"Type": "Half", "Count": 14}),
    layer("outs.1 [profile 1]", "CaskConvolution", ["Half"], ["Float"], ["outs.1"]),
    Bindings=["image", "heatmaps", "image [profile 1]", "heatmaps [profile 1]"],
)  # fmt: skip
OPERATORS = {
    "stem.conv": "Conv", "stem.conv.relu": "Relu", "up.conv3": "Conv", "up.add": "Add", "out.up": "Resize",
    "out.add": "Add", "outs.1": "Conv",
}  # fmt: skip


def test_kernels_of_the_first_profile():
    found = kernels(OF_10)
    assert [kernel.kind for kernel in found] == [
        "Reformat", "CaskConvolution", "CaskConvolution", "kgen", "CaskGemmConvolution"
    ]  # fmt: skip
    assert found[0] == Kernel(
        "Reformatting CopyNode for Input Tensor 0 to stem", "Reformat", "f32", ("f32",), ("f16",), ()
    )
    assert found[1].nodes == ("stem.conv", "stem.conv.relu")
    assert found[2] == Kernel(
        "up.conv3 + up.add", "CaskConvolution", "i8", ("i8", "f16"), ("f16",), ("up.conv3", "up.add")
    )
    assert found[4].precision == "f16" and found[4].writes == ("f32",)


def test_what_became_of_the_graph():
    found = summary(kernels(OF_10), OPERATORS)
    assert found["layers"] == {"stem.conv": "i8", "up.conv3": "i8", "outs.1": "f16"}
    assert found["convolutions"] == {"i8": 2, "f16": 1}
    assert found["reformats"] == 1 and (found["fused_additions"], found["additions"]) == (1, 2)
    assert kernels_text(found) == "5 a batch, 1 of them reformats; 1 of 2 additions are done by a convolution's kernel"
    missing = summary(kernels(OF_10), {**OPERATORS, "merge.conv": "Conv"})
    assert missing["layers"]["merge.conv"] == "?" and missing["convolutions"] == {"i8": 2, "f16": 1, "?": 1}


def test_without_the_graph_kernels_speak_for_themselves():
    found = summary(kernels(OF_10), {})
    assert found["layers"] == {"stem.conv + stem.conv.relu": "i8", "up.conv3 + up.add": "i8", "outs.1": "f16"}
    assert found["additions"] is None and kernels_text(found) == "5 a batch, 1 of them reformats"


def test_version_11_parts_format_and_type():
    page = {
        "Name": "image", "IOMode": "Input", "DataType": "Float", "Dimensions": [1, 3, 192, 192], "Location": "Device",
        "IsShapeInferenceIO": False, "ProfileInfo": [{"Format": "Row major linear FP32 format (kLINEAR)"}],
    }  # fmt: skip
    conv = layer("stem.conv", "CaskConvolution", [], [], ["stem.conv"])
    conv["Inputs"] = [{"Name": "t", "DataType": "Int8", "Format": "Thirty-two wide channel vectorized (kCHW32)"}]
    conv["Outputs"] = [{"Name": "u", "Datatype": "Half", "Format": "Channel major format where channel % 8 == 0"}]
    found = kernels(document(conv, **{"I/O Tensors": [page]}))
    assert (found[0].precision, found[0].reads, found[0].writes) == ("i8", ("i8",), ("f16",))


def test_version_8_5_has_names_alone():
    old = layer("up.conv1 + PWN(up.conv1.relu) || up.conv2", "CaskConvolution", [WIDE], [WIDE])
    del old["Metadata"]
    assert kernels(document(old))[0].nodes == ("up.conv1", "up.conv1.relu", "up.conv2")


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("Row major linear FP32", "f32"), ("Float", "f32"), ("Half", "f16"), (FP16, "f16"), (WIDE, "i8"),
        ("Int8", "i8"), ("Row major linear UInt8 format", "u8"), ("Row major linear BFloat16 format", "bf16"),
        ("FP8", "f8"),
        ("Int32", "i32"), ("Row major linear Int64 format", "i64"), ("Row major linear BOOL", "bool"),
        ("Unknown format", "?"),
    ],
)  # fmt: skip
def test_types_by_any_name(told, kind):
    assert kernels(document(layer("x", "kgen", [told], [told])))[0].precision == kind


def test_an_engine_without_details_has_names_only():
    assert kernels(document("stem.conv + stem.conv.relu")) == (
        Kernel("stem.conv + stem.conv.relu", "?", "?", (), (), ("stem.conv", "stem.conv.relu")),
    )


@pytest.mark.parametrize("told", ["", "none", "[]", '{"Bindings": []}'])
def test_what_is_no_such_document(told):
    with pytest.raises(ExportError, match="the engine inspector tells no layers, but "):
        kernels(told)


def test_the_page_shows_kernels(tmp_path):
    from io import StringIO

    from rich.console import Console

    from hgedge import bundle as bundles
    from hgedge.cli.inspect import graph_document
    from hgedge.models.zoo import shipped_half

    half = shipped_half("default")
    document = bundles.inspect(half) | graph_document(half)
    document["engine"] = summary(kernels(OF_10), OPERATORS)
    console = Console(file=StringIO(), width=120, highlight=False)
    show(console, document, layers=True)
    text = console.file.getvalue()
    assert "kernels: 5 a batch, 1 of them reformats" in text
    assert "it runs 2 in i8 (stem.conv, up.conv3), 1 in f16 (outs.1)" in engine_text(document)
    assert "asks for INT8" not in engine_text(document)
    rows = [line.split() for line in text[text.index("\nkernel ") :].splitlines()[2:7]]
    assert rows[2] == ["CaskConvolution", "i8", "i8", "f16", "f16", "up.conv3,", "up.add"]
