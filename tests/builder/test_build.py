"""Model to bundle, on a small seeded network and real photographs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from hgedge.builder import BuildOptions, build, options_of
from hgedge.bundle import open_bundle
from hgedge.errors import CheckpointError, ConfigError, EngineMismatch, QuantizationError
from hgedge.runtime.decode import decode
from hgedge.runtime.pipeline import load

pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")


def options(checkpoint, output, **changes):
    return BuildOptions(
        **{"model": str(checkpoint), "precision": "int8", "backend": "openvino", "output": output, **changes}
    )


@pytest.fixture(scope="module")
def built(tiny_checkpoint, picture_folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("engines")
    return build(options(tiny_checkpoint, output, calibration=picture_folder, calibration_images=32))


def test_report_and_files(built):
    assert built.bundle.name == "tiny-int8-openvino" and not built.reused
    assert built.num_convs_int8 == built.num_convs - 1
    assert set(built.seconds) == {"export", "calibrate", "quantize", "build", "total"}
    manifest = open_bundle(built.bundle)
    assert set(manifest.files) >= {"source.onnx", "model.onnx", "calibration.json", "golden.npz", "engine.xml"}
    assert manifest.measured and manifest.calibration.images == 32 and manifest.calibration.placement == "stream"
    assert manifest.model.num_stacks == 2 and manifest.backend.name == "openvino"


def test_graphs_have_the_contracts_ends(built):
    for name in ("source.onnx", "model.onnx"):
        graph = onnx.load(built.bundle / name).graph
        (image,), (heatmaps,) = graph.input, graph.output
        assert (image.name, heatmaps.name) == ("image", "heatmaps")
        shapes = [[dim.dim_value for dim in end.type.tensor_type.shape.dim][1:] for end in (image, heatmaps)]
        assert shapes == [[3, 64, 64], [14, 16, 16]]


def test_agreement_is_what_golden_holds(built):
    golden = np.load(built.bundle / "golden.npz")
    engine, fp32 = (decode(golden[name])[0] for name in ("engine_heatmaps", "fp32_heatmaps"))
    distance = np.linalg.norm(engine - fp32, axis=-1)
    assert built.agreement["mean_px"] == pytest.approx(distance.mean(), abs=1e-3)
    assert built.agreement["p99_px"] == pytest.approx(np.percentile(distance, 99), abs=1e-3)
    with load(built.bundle) as pipeline:
        again = pipeline.session.run(golden["crops"][:1])
    np.testing.assert_array_equal(again, golden["engine_heatmaps"][:1])


def test_the_same_is_reused_and_another_needs_force(built, tiny_checkpoint, picture_folder):
    same = options(tiny_checkpoint, built.bundle.parent, calibration=picture_folder, calibration_images=32)
    before = (built.bundle / "manifest.json").read_bytes()
    assert build(same).reused
    other = options(tiny_checkpoint, built.bundle.parent, calibration=picture_folder, calibration_images=33)
    with pytest.raises(ConfigError, match="holds a bundle built from other .*; replace it with --force"):
        build(other)
    assert (built.bundle / "manifest.json").read_bytes() == before


def test_what_is_not_default_is_in_the_name(tiny_checkpoint, built, tmp_path):
    table = built.bundle / "calibration.json"
    report = build(options(tiny_checkpoint, tmp_path, calibration=table, placement="conv", num_stacks=1, batch=(1, 2)))
    assert report.bundle.name == "tiny-int8-openvino-conv-1stack-b1-2"
    assert open_bundle(report.bundle).model.num_stacks == 1


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnxsim", "onnxscript", "safetensors"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
from pathlib import Path
from hgedge.builder import BuildOptions, build, options_of
report = build(BuildOptions(model=sys.argv[1], precision=sys.argv[3], backend="openvino", output=Path(sys.argv[2])))
print(report.bundle, report.agreement)
"""


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_bundle_builds_again_without_torch(built, tmp_path, precision):
    command = [sys.executable, "-c", BLOCK, str(built.bundle), str(tmp_path), precision]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    again = open_bundle(tmp_path / f"tiny-{precision}-openvino")
    first = open_bundle(built.bundle)
    assert again.files["source.onnx"] == first.files["source.onnx"]
    if precision == "int8":
        assert again.files["model.onnx"] == first.files["model.onnx"] and again.agreement == first.agreement


def test_portable_half_alone(tiny_checkpoint, built, tmp_path):
    report = build(options(tiny_checkpoint, tmp_path, calibration=built.bundle / "calibration.json", engine=False))
    manifest = open_bundle(report.bundle)
    assert report.bundle.name == "tiny-int8-portable" and report.backend == "none" and report.agreement is None
    assert not manifest.measured and manifest.backend is None
    assert set(manifest.files) == {"source.onnx", "model.onnx", "calibration.json", "golden.npz"}
    with pytest.raises(EngineMismatch, match="portable half without an engine; make one with: hgedge build"):
        load(report.bundle)
    assert (
        build(BuildOptions(model=str(report.bundle), backend="openvino", output=tmp_path)).agreement == built.agreement
    )


def test_a_recipe_is_read_and_overruled(tiny_checkpoint, built, tmp_path):
    recipe = tmp_path / "small.toml"
    table = built.bundle / "calibration.json"
    recipe.write_text(
        f'model = "{tiny_checkpoint}"\nprecision = "int8"\nbackend = "openvino"\n'
        f'calibration = "{table}"\nplacement = "conv"\n'
    )
    assert build(options_of({"model": str(recipe), "output": tmp_path})).bundle.name == "tiny-int8-openvino-conv"
    assert build(options_of({"model": str(recipe), "output": tmp_path, "precision": "fp32"})).precision == "fp32"
    recipe.write_text('precison = "int8"\n')
    with pytest.raises(ConfigError, match=r"small\.toml: unknown key 'precison'; did you mean 'precision'"):
        options_of({"model": str(recipe)})


def half_unreadable(folder, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for index, path in enumerate(sorted(folder.iterdir())):
        data = path.read_bytes()
        (damaged / path.name).write_bytes(data if index % 2 else data[: len(data) // 2])
    return damaged


def empty(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def text_table(folder, tmp_path):
    (tmp_path / "table.json").write_text("{")
    return tmp_path / "table.json"


def other_models_table(folder, tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({"key": "names1-ab", "method": "minmax", "images": 64,
        "naming_version": 1, "hgedge_version": "0.1.0", "ranges": {"stem": [0, 1]}, "format_version": 1}))  # fmt: skip
    return tmp_path / "other.json"


@pytest.mark.parametrize(
    ("calibration", "images", "message"),
    [
        (lambda folder, tmp_path: None, 128, "none come with .*; give pictures like those that it will see"),
        (lambda folder, tmp_path: tmp_path / "nowhere", 128, "no such calibration folder, recipe or table"),
        (lambda folder, tmp_path: folder, 31, "at least 32 pictures, but .* gives 31"),
        (empty, 128, "no picture|gives 0"),
        (half_unreadable, 40, "calibration pictures of .* cannot be read; remove or replace them"),
        (text_table, 128, r"table\.json"),
        (other_models_table, 128, "was made for another network or input .*; calibrate again with pictures"),
    ],
)
def test_calibration_that_cannot_be_used(tiny_checkpoint, picture_folder, tmp_path, calibration, images, message):
    source = calibration(picture_folder, tmp_path)
    output = tmp_path / "engines"
    with pytest.raises((QuantizationError, ConfigError), match=message):
        build(options(tiny_checkpoint, output, calibration=source, calibration_images=images))
    assert not output.exists() or not list(output.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_stacks": 3}, "tiny has 2 stacks, but --num-stacks asks for 3"),
        ({"input_hw": (100, 64)}, "--input must be multiples of 64"),
        ({"model": "nowhere.pth"}, "nowhere.pth"),
    ],
)
def test_options_that_do_not_go_with_the_model(tiny_checkpoint, tmp_path, changes, message):
    with pytest.raises((ConfigError, CheckpointError), match=message):
        build(options(tiny_checkpoint, tmp_path / "engines", precision="fp32", **changes))
    assert not (tmp_path / "engines").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "int4"}, "precision must be one of fp32, fp16, bf16, int8"),
        ({"placement": "all"}, "placement must be one of stream, conv"),
        ({"batch": (0,)}, "batch must be positive sizes"),
    ],
)
def test_options_that_make_no_sense(changes, message):
    with pytest.raises(ConfigError, match=message):
        BuildOptions(**changes)


def test_a_damaged_bundle_is_not_built_from(built, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in Path(built.bundle).iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    data = bytearray((copy / "source.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "source.onnx").write_bytes(data)
    with pytest.raises(EngineMismatch, match=r"source\.onnx is not the file that was built"):
        build(BuildOptions(model=str(copy), backend="openvino", output=tmp_path / "engines"))
