"""Bundles in which some groups of layers stay float: what engines run, and what a second build makes of them."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import pytest

from hgedge import backends
from hgedge.builder import BuildOptions, build, options_of
from hgedge.bundle import open_bundle, read_manifest, rebuild
from hgedge.errors import ConfigError
from hgedge.export.statistics import read_summary
from hgedge.quantization.groups import groups

pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")

CHOSEN = ("hgs.0.up.0", "stem.conv", "merge_features.0")
EIGHT_BITS = {"i8", "u8"}
NEAR = 0.1  # relative RMSE between two INT8 runtimes (hgedge/DESIGN.md); measured: 0.02


@pytest.fixture(scope="module")
def plain(tiny_checkpoint, picture_folder, tmp_path_factory):
    """The portable half in INT8, placement conv, no group float."""
    output = tmp_path_factory.mktemp("plain")
    options = BuildOptions(str(tiny_checkpoint), calibration=picture_folder, calibration_images=32, output=output)
    return build(dataclasses.replace(options, placement="conv", engine=False)).bundle


@pytest.fixture(scope="module")
def mixed(plain, tmp_path_factory):
    output = tmp_path_factory.mktemp("mixed")
    return build(BuildOptions(str(plain), backend="openvino", float_groups=CHOSEN, output=output)).bundle


def heatmaps_of(bundle, crops):
    manifest = open_bundle(bundle)
    session = backends.sessions(manifest.backend.name).load(bundle, manifest)
    try:
        return np.concatenate([np.array(session.run(crop[None])) for crop in crops])
    finally:
        session.close()


def members(bundle):
    found = groups(onnx.load(bundle / "source.onnx"))
    return {name for group in CHOSEN for name in found[group]}


def test_name_and_manifest_tell_of_them(plain, mixed):
    assert mixed.name == "tiny-int8-openvino-conv-mixed" and plain.name == "tiny-int8-portable-conv"
    manifest = open_bundle(mixed)
    assert manifest.calibration.float_groups == tuple(sorted(CHOSEN)) and manifest.calibration.placement == "conv"
    assert manifest.num_convs_int8 == manifest.num_convs - 1 - len(members(mixed)) == manifest.num_convs - 7
    assert "--placement conv --float-groups hgs.0.up.0,merge_features.0,stem.conv" in rebuild(manifest)
    before = json.loads((plain / "manifest.json").read_text())
    del before["calibration"]["float_groups"]  # as of a bundle that was built before there were groups
    (mixed.parent / "manifest.json").write_text(json.dumps(before))
    assert read_manifest(mixed.parent).calibration.float_groups == ()


def test_openvino_runs_them_in_float_and_the_rest_in_int8(mixed):
    manifest = open_bundle(mixed)
    session = backends.sessions("openvino").load(mixed, manifest)
    found = {name.removesuffix("/WithoutBiases"): kind for name, kind in session.layer_precisions().items()}
    session.close()
    heads = {"outs.1"}
    assert {name for name, kind in found.items() if kind == "f32"} == members(mixed) | heads
    assert set(found.values()) - {"f32"} <= EIGHT_BITS and len(found) == manifest.num_convs


def test_onnx_runtime_computes_the_same(mixed, lspet_crops, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'hgedge[onnxruntime]'")
    other = build(BuildOptions(str(mixed), backend="onnxruntime", output=tmp_path)).bundle
    assert other.name == "tiny-int8-onnxruntime-conv-mixed"
    crops = lspet_crops(8, (64, 64))
    ours, theirs = heatmaps_of(mixed, crops), heatmaps_of(other, crops)
    assert np.sqrt(np.mean((ours - theirs) ** 2)) < NEAR * theirs.std()


def test_tensorrt_rtx_builds_them_in_fp16(mixed, tmp_path):
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs TensorRT-RTX: pip install 'hgedge[tensorrt-rtx]'")
    bundle = build(BuildOptions(str(mixed), backend="tensorrt-rtx", output=tmp_path)).bundle
    kinds = {layer.name: layer.precision for layer in read_summary(bundle / "model.onnx")[1] if layer.op == "Conv"}
    assert {name for name, kind in kinds.items() if kind == "fp16"} == members(mixed) | {"outs.1"}
    assert set(kinds.values()) == {"fp16", "int8"} and (bundle / "engine.plan").stat().st_size > 0


def test_a_bundle_builds_again_as_it_is(plain, mixed, tmp_path):
    again = open_bundle(build(BuildOptions(str(mixed), backend="openvino", output=tmp_path)).bundle)
    assert again.files["model.onnx"] == open_bundle(mixed).files["model.onnx"]
    assert again.calibration == open_bundle(mixed).calibration and again.digest == open_bundle(mixed).digest


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"float_groups": ()}, "tiny-int8-portable-conv"),
        ({"placement": "stream"}, "tiny-int8-portable-mixed"),
        ({"placement": "stream", "float_groups": ("stem.conv",)}, "tiny-int8-portable-mixed"),
        ({"precision": "fp32"}, "tiny-fp32-portable"),
    ],
)
def test_or_as_it_is_told(mixed, tmp_path, asked, name):
    options = BuildOptions(str(mixed), engine=False, output=tmp_path)
    report = build(dataclasses.replace(options, **asked))
    info = open_bundle(report.bundle).calibration
    assert report.bundle.name == name
    if info is not None:
        assert info.float_groups == asked.get("float_groups", tuple(sorted(CHOSEN)))
        assert info.placement == asked.get("placement", "conv")
    assert build(dataclasses.replace(options, **asked)).reused
    other = dataclasses.replace(options, **{**asked, "precision": "int8", "float_groups": ("features.1.1",)})
    if name == "tiny-int8-portable-mixed":
        with pytest.raises(ConfigError, match="holds a bundle built from other .*options"):
            build(other)


def test_a_recipe_names_them(mixed, tmp_path):
    recipe = tmp_path / "mixed.toml"
    recipe.write_text(f'model = "{mixed}"\nfloat_groups = ["hgs.1.up.0"]\n')
    assert options_of({"model": str(recipe)}).float_groups == ("hgs.1.up.0",)
    assert options_of({"model": str(recipe), "float_groups": ()}).float_groups == ()
    with pytest.raises(ConfigError, match="float_groups are of INT8, but precision is 'fp16'; leave them out"):
        options_of({"model": str(recipe), "precision": "fp16"})


def test_an_unknown_group_leaves_nothing(mixed, tmp_path):
    output = tmp_path / "engines"
    options = BuildOptions(str(mixed), backend="openvino", float_groups=("hgs.0.up",), output=output)
    with pytest.raises(ConfigError, match=r"none is called 'hgs\.0\.up'; did you mean 'hgs\.0\.up\.0'"):
        build(options)
    assert not output.exists() or not list(output.iterdir())
