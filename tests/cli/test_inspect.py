"""`hgedge inspect`, by the program and as a page: the manifest, the graph's wish and the engine's fact."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from hgedge import bundle as bundles
from hgedge.builder import BuildOptions, build
from hgedge.cli.inspect import engine_document, engine_text, graph_document, show
from hgedge.models.zoo import shipped_half

ADDED = {"graph", "layers", "groups", "graph_reason", "engine", "engine_reason"}
HEADS = ("bundle", "model", "precision", "backend", "input", "keypoints", "skeleton", "decode", "calibration")


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default model in INT8 for OpenVINO."""
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    return build(BuildOptions(backend="openvino", output=tmp_path_factory.mktemp("engines"))).bundle


@pytest.fixture(scope="module")
def document(int8: Path) -> dict:
    return bundles.inspect(int8) | graph_document(int8) | engine_document(int8)


def page(document: dict, width: int, layers: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show(console, document, layers)
    return console.file.getvalue()


def inspect_without(library: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """An empty place in `sys.modules` is how Python itself marks a module that cannot be imported."""
    code = (
        f"import sys; sys.modules['{library}'] = None; from hgedge.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "inspect", folder, "--json"]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_json_is_the_manifest_and_more(hgedge, bundle: Path) -> None:
    done = hgedge("inspect", bundle, "--json")
    assert done.returncode == 0 and done.stderr == ""
    document = json.loads(done.stdout)
    before = bundles.inspect(bundle)
    assert {key: document[key] for key in before} == {**before, "bundle": str(bundle)}
    assert document.keys() - before.keys() == ADDED
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert {key: document[key] for key in manifest} == manifest
    assert sum(layer["macs"] for layer in document["layers"]) / 1e9 == pytest.approx(
        document["model"]["gmacs"], abs=1e-4
    )
    assert document["engine"]["convolutions"] == {"f32": document["num_convs"]}
    assert document["engine_reason"] is None and document["graph_reason"] is None


def test_the_page_by_the_program(hgedge, bundle: Path) -> None:
    done = hgedge("inspect", bundle, "--layers")
    assert done.returncode == 0 and done.stderr == ""
    assert all(f"\n{head} " in f"\n{done.stdout}" for head in HEADS)
    assert "tiny: 2 stacks" in done.stdout and "fp32: 0 of " in done.stdout
    assert "\nstem.conv " in done.stdout and "\nouts.1 " in done.stdout
    assert "\nstem.conv " not in hgedge("inspect", bundle).stdout


def test_the_engine_runs_all_but_the_head_in_int8(document: dict) -> None:
    eight_bits = document["graph"]["precisions"]["int8"]["convolutions"]
    assert eight_bits == document["num_convs_int8"] == document["num_convs"] - 1
    found = document["engine"]["layers"]
    assert Counter(found.values()) == document["engine"]["convolutions"]
    assert {name for name, kind in found.items() if kind not in ("i8", "u8")} == {"outs.1"}
    assert found.keys() == {layer["name"] for layer in document["layers"] if layer["op"] == "Conv"}
    assert "1 in f32 (outs.1)" in engine_text(document) and "asks for INT8" not in engine_text(document)


def test_a_convolution_that_the_engine_does_not_run_in_int8_is_named(document: dict) -> None:
    layers = {**document["engine"]["layers"], "stem.conv": "f32"}
    engine = {"convolutions": dict(Counter(layers.values())), "layers": layers}
    text = engine_text({**document, "engine": engine})
    assert "2 in f32 (stem.conv, outs.1)" in text
    assert text.endswith("; the graph asks for INT8, but it does not in: stem.conv")


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_page_fits_and_cuts_nothing(document: dict, width: int) -> None:
    text = page(document, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    words = " ".join(text.split())
    for name in document["keypoints"]["names"]:
        assert f":{name}" in words
    assert f"INT8 {document['num_convs_int8']} " in words and "agreement with FP32, not accuracy" in words
    assert all(name in text and f"{size / 1024:.1f}" in text for name, size in document["bytes"].items())
    table = text[text.index("\nlayer") :].splitlines()[2:]
    starts = [line for line in table if re.search(r" (Conv|Relu|Add|BatchNorm|MaxPool|Resize) ", line)]
    assert len(starts) == len(document["layers"])
    if width == 120:
        assert [line.split()[0] for line in starts] == [layer["name"] for layer in document["layers"]]


def test_groups_that_stay_float_are_shown(hgedge, tmp_path: Path) -> None:
    asked = ("build", "--no-engine", "--float-groups", "stem.conv, hgs.0.up.0", "--output", tmp_path, "--json")
    folder = Path(json.loads(hgedge(*asked).stdout)["bundle"])
    document = json.loads(hgedge("inspect", folder, "--json").stdout)
    assert folder.name == "default-int8-portable-mixed"
    assert document["calibration"]["float_groups"] == ["hgs.0.up.0", "stem.conv"]
    precisions = {layer["name"]: layer["precision"] for layer in document["layers"]}
    kinds = {group: {precisions[name] for name in members} for group, members in document["groups"].items()}
    assert {group for group, found in kinds.items() if found == {"fp32"}} == {"hgs.0.up.0", "stem.conv"}
    assert all(found == {"int8"} for group, found in kinds.items() if group not in ("hgs.0.up.0", "stem.conv"))
    text = page(document | {"engine": None}, 120)
    assert "placement stream, float: hgs.0.up.0, stem.conv" in text
    rows = [line.split() for line in text[text.index("\ngroup ") :].splitlines()[2:]]
    assert [row[0] for row in rows] == list(document["groups"])
    assert ["hgs.0.up.0", "FP32", "conv1,", "conv2,", "conv3"] in rows


def test_a_portable_half_has_a_graph_and_no_engine(hgedge) -> None:
    half = shipped_half("default")
    document = json.loads(hgedge("inspect", half, "--json").stdout)
    assert document["engine"] is None and "is a portable half without an engine" in document["engine_reason"]
    assert document["graph"]["precisions"]["int8"]["activations"] == {"s8": document["num_convs_int8"]}
    text = " ".join(hgedge("inspect", half).stdout.split())
    assert "measured no: there is no engine" in text and "make an engine with: hgedge build" in text


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_engine_that_cannot_run_here_says_why(hgedge, tmp_path: Path, precision: str) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs TensorRT-RTX: pip install 'hgedge[tensorrt-rtx]'")
    folder = build(BuildOptions(precision=precision, backend="tensorrt-rtx", output=tmp_path)).bundle
    document = json.loads(hgedge("inspect", folder, "--json").stdout)
    if document["engine"] is None:
        assert "cannot run here" in document["engine_reason"]
    shares = document["graph"]["precisions"]
    assert {name: share["convolutions"] for name, share in shares.items()} == (
        {"fp16": 100, "fp32": 0} if precision == "fp16" else {"int8": 99, "fp16": 1, "fp32": 0}
    )
    text = page(document, 120, layers=False)
    assert "Cast 2" in text and "engine.plan" in text
    assert "\nFP16 " in text and "\nFP32 " not in text  # a Cast has nothing to count


def test_without_onnx_the_graph_is_not_read(int8: Path, program_environment: dict[str, str]) -> None:
    done = inspect_without("onnx", int8, program_environment)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["graph"] is None and document["layers"] is None
    expected = "this needs onnx, which is not installed; install it with: pip install 'hgedge[build]'"
    assert document["graph_reason"] == expected
    assert sum(document["engine"]["convolutions"].values()) == document["num_convs"]
    assert expected in " ".join(page(document, 80).split())


def test_without_its_library_the_engine_is_not_asked(int8: Path, program_environment: dict[str, str]) -> None:
    done = inspect_without("openvino", int8, program_environment)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["engine"] is None and "pip install 'hgedge[openvino]'" in document["engine_reason"]
    assert document["graph"] is not None


def test_an_engine_for_another_machine_is_not_asked(int8: Path, tmp_path: Path, hgedge) -> None:
    other = tmp_path / "other"
    shutil.copytree(int8, other)
    manifest = bundles.read_manifest(other)
    bundles.seal(other, dataclasses.replace(manifest, device=dataclasses.replace(manifest.device, system="plan9")))
    document = json.loads(hgedge("inspect", other, "--json").stdout)
    assert document["engine"] is None and "plan9" in document["engine_reason"]


def test_a_graph_that_is_none_is_one_line(int8: Path, tmp_path: Path, hgedge) -> None:
    other = tmp_path / "other"
    shutil.copytree(int8, other)
    manifest = bundles.read_manifest(other)
    (other / "model.onnx").write_bytes(b"\xff" * 9)
    bundles.seal(other, manifest)
    done = hgedge("inspect", other)
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert "model.onnx is not an ONNX file" in done.stderr
