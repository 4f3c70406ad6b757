"""FP16 builds: what stays FP32, what FP16 arithmetic gives, and what is refused, whatever runs the engine."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from rich.console import Console

torch = pytest.importorskip("torch", reason="needs the exporter: pip install 'hgedge[export]'")
pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")

from hgedge.builder import BuildOptions, build  # noqa: E402
from hgedge.bundle import open_bundle, seal  # noqa: E402
from hgedge.checkpoints import load_checkpoint  # noqa: E402
from hgedge.checkpoints.save import save_checkpoint  # noqa: E402
from hgedge.cli.build import show  # noqa: E402
from hgedge.cli.main import main  # noqa: E402
from hgedge.errors import ConfigError, ExportError, QuantizationError  # noqa: E402
from hgedge.evaluation.evaluate import evaluate, pipeline_of  # noqa: E402

FACTOR = 1e5
PLANTED = ("hgs.0.up.0.conv1", "hgs.0.up.0.conv1.relu", "hgs.0.up.0.conv2")
NEAR_PX = 1.0  # of 64; rounding to FP16 moves few peaks by a quarter of a cell of 4 pixels


def changed(checkpoint, folder, change):
    """The network of a checkpoint with other weights."""
    found = load_checkpoint(checkpoint)
    with torch.no_grad():
        change(found.net)
    path = folder / "changed.safetensors"
    save_checkpoint(path, found.net, name="changed", input=found.input, keypoints=found.keypoints, half=False)
    return path


def plant(net):
    """One channel times 1e5 in front of a ReLU, and the weights behind it divided by that: equal in FP32."""
    block = net.hgs[0].up[0]
    for tensor in (block.bn2.weight, block.bn2.bias):
        tensor[0] = tensor[0].abs() * FACTOR + FACTOR
    block.conv2.weight[:, 0] /= FACTOR


@pytest.fixture(scope="module")
def planted(tiny_checkpoint, tmp_path_factory):
    return changed(tiny_checkpoint, tmp_path_factory.mktemp("planted"), plant)


@pytest.fixture(scope="module")
def portable(planted, tmp_path_factory):
    """The planted network's portable half, in FP16."""
    return build(BuildOptions(str(planted), "fp16", engine=False, output=tmp_path_factory.mktemp("portable"))).bundle


@pytest.fixture(scope="module")
def unprobed(portable, tmp_path_factory):
    """The same as a bundle that says nothing of FP16."""
    return build(BuildOptions(str(portable), "fp32", engine=False, output=tmp_path_factory.mktemp("unprobed"))).bundle


@pytest.fixture(scope="module")
def engine(portable, tmp_path_factory):
    """The report of its engine for OpenVINO."""
    return build(BuildOptions(str(portable), "fp16", "openvino", output=tmp_path_factory.mktemp("engines")))


def test_what_is_kept_is_logged_reported_and_noted(unprobed, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    report = build(BuildOptions(str(unprobed), "fp16", engine=False, output=tmp_path))
    assert report.kept_fp32 == open_bundle(report.bundle).kept_fp32 == PLANTED
    for name in PLANTED:
        assert f"{name} stays FP32: it holds values of up to" in caplog.text


def test_fp16_arithmetic_is_simulated_and_finite(engine):
    manifest = open_bundle(engine.bundle)
    assert engine.kept_fp32 == manifest.kept_fp32 == PLANTED
    assert engine.agreement == {"mean_px": 0.0, "p99_px": 0.0}  # the engine computes in FP32, and stores all of it
    assert engine.simulated_agreement == manifest.simulated_agreement
    assert engine.simulated_agreement["mean_px"] < NEAR_PX


def test_weights_are_stored_in_fp16_where_all_fit_it(tiny_checkpoint, engine, tmp_path):
    sound = build(BuildOptions(str(tiny_checkpoint), "fp16", "openvino", output=tmp_path))
    assert sound.kept_fp32 == ()
    sizes = [(report.bundle / "engine.bin").stat().st_size for report in (sound, engine)]
    assert sizes[0] < 0.6 * sizes[1]


@pytest.mark.tensorrt
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_tensorrt_builds_the_region_in_fp32(portable, picture_folder, tmp_path, precision):
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs TensorRT-RTX: pip install 'hgedge[tensorrt-rtx]'")
    from hgedge.backends.tensorrt.library import library
    from hgedge.backends.tensorrt.network import describe, parse

    options = {"calibration": picture_folder, "calibration_images": 32} if precision == "int8" else {}
    report = build(BuildOptions(str(portable), precision, "tensorrt-rtx", output=tmp_path, **options))
    assert report.kept_fp32 == PLANTED and (report.bundle / "engine.plan").stat().st_size > 0
    found = describe(parse(report.bundle / "model.onnx", library("tensorrt-rtx")).network)
    if precision == "fp16":
        assert found.layers["CAST"] == 4  # the graph's ends, and of the region
        assert found.convolutions == {"HALF": report.num_convs - 2, "FLOAT": 2}
        assert report.simulated_agreement["mean_px"] < NEAR_PX
    else:
        assert (
            found.layers["CAST"] == 3 and report.simulated_agreement is None
        )  # in front of the region stands a Q/DQ pair
        assert found.convolutions == {"INT8": report.num_convs - 1, "HALF": 1}
        assert found.tensors["FLOAT"] > 2


WITHOUT = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnxruntime"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
import json, logging
from pathlib import Path
from hgedge.builder import BuildOptions, build
logging.basicConfig()
report = build(BuildOptions(sys.argv[1], "fp16", "openvino", output=Path(sys.argv[2])))
print(json.dumps([report.kept_fp32, report.simulated_agreement]))
"""


@pytest.mark.parametrize("known", [True, False])
def test_without_onnx_runtime_the_bundle_tells(portable, unprobed, tmp_path, known):
    """As on a Jetson: a bundle says what its maker found; of one that says nothing, a warning does."""
    bundle = portable if known else unprobed
    done = subprocess.run([sys.executable, "-c", WITHOUT, bundle, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [list(PLANTED if known else PLANTED[:1]), None]  # a weight is beyond too
    assert ("only weights are checked for FP16's range, not activations" in done.stderr) != known


def test_a_calibration_set_is_probed_and_part_of_the_digest(portable, picture_folder, tmp_path):
    options = {"calibration": picture_folder, "calibration_images": 32, "output": tmp_path, "engine": False}
    told = []
    report = build(BuildOptions(str(portable), "fp16", **options), lambda *step: told.append(step))
    assert report.kept_fp32 == PLANTED and ("calibrate", 32, 32) in told
    assert not list(report.bundle.glob("calibration.json")) and open_bundle(report.bundle).calibration is None
    with pytest.raises(ConfigError, match="holds a bundle built from other weights"):
        build(BuildOptions(str(portable), "fp16", output=tmp_path, engine=False))


def test_evaluation_says_what_is_simulated(engine, shared_data, tmp_path, caplog):
    data = shared_data / "lspet"
    document = evaluate(str(engine.bundle), data, limit=4, simulate_fp16=True)
    assert document["simulated"] == "fp16"
    assert "simulated" not in evaluate(str(engine.bundle), data, limit=4)
    assert "this engine stores FP16 but computes in FP32; for FP16 arithmetic: --simulate-fp16" in caplog.text
    crops = np.load(engine.bundle / "golden.npz")["crops"]
    with pipeline_of(str(engine.bundle), simulate_fp16=True) as half, pipeline_of(str(engine.bundle)) as whole:
        made, expected = half.session.run(crops), np.load(engine.bundle / "golden.npz")["fp32_heatmaps"]
        assert np.abs(whole.session.run(crops) - expected).max() < np.abs(made - expected).max()
    np.testing.assert_array_equal(made, made.astype(np.float16))
    whole = build(BuildOptions(str(engine.bundle), "fp32", "openvino", output=tmp_path)).bundle
    with pytest.raises(ConfigError, match=r"but .* is fp32; build one: hgedge build .* --precision fp16"):
        evaluate(str(whole), data, limit=4, simulate_fp16=True)
    with pytest.raises(ConfigError, match="default is no bundle; build one to simulate: hgedge build default"):
        evaluate("default", data, limit=4, simulate_fp16=True)


def test_fp16_that_is_not_finite_is_refused(unprobed, tmp_path, monkeypatch):
    """As if no picture had shown the channel."""
    monkeypatch.setattr("hgedge.quantization.half_range.LIMIT", np.inf)
    with pytest.raises(ExportError, match="in fp16, 4 of 4 golden inputs give heatmaps that are not finite; show the"):
        build(BuildOptions(str(unprobed), "fp16", "openvino", output=tmp_path / "engines"))
    assert not list(tmp_path.glob("engines/*"))


@pytest.mark.parametrize(
    ("backend", "precision", "message"),
    [
        (
            "onnxruntime",
            "fp32",
            "in fp32, 4 of 4 golden inputs give heatmaps that are not finite; check the weights of",
        ),
        ("openvino", "fp16", r"tensor 'hgs\.1\..*' holds NaN or infinite values in FP32, for picture 0"),
    ],
)
def test_what_is_not_finite_fails_every_build(unprobed, tmp_path, backend, precision, message):
    """Finite weights, but sums beyond FP32, in a bundle that knows nothing of it."""
    bundle = shutil.copytree(unprobed, tmp_path / "bundle")
    model = onnx.load(bundle / "source.onnx")
    for item in model.graph.initializer:
        if item.name in ("hgs.0.up.0.conv3.weight", "hgs.1.up.0.conv3.weight"):
            item.CopyFrom(onnx.numpy_helper.from_array(np.full(item.dims, 3e25, np.float32), item.name))
    onnx.save(model, bundle / "source.onnx")
    seal(bundle, open_bundle(unprobed))
    with pytest.raises((ExportError, QuantizationError), match=message):
        build(BuildOptions(str(bundle), precision, backend, output=tmp_path / "engines"))
    assert not list(tmp_path.glob("engines/*"))


def test_golden_heatmaps_that_are_not_finite_fail_every_build(unprobed, tmp_path):
    """OpenVINO would hide them: its ReLU makes 0 of NaN."""
    bundle = shutil.copytree(unprobed, tmp_path / "bundle")
    golden = dict(np.load(bundle / "golden.npz"))
    golden["fp32_heatmaps"][2, 0, 0, 0] = np.nan
    np.savez(bundle / "golden.npz", **golden)
    seal(bundle, open_bundle(unprobed))
    with pytest.raises(ExportError, match="in fp32, 1 of 4 golden inputs give heatmaps that are not finite; check the"):
        build(BuildOptions(str(bundle), "fp32", "openvino", output=tmp_path / "engines"))
    assert not list(tmp_path.glob("engines/*"))


def test_people_are_told_too(engine, shared_data, capfd):
    code = main(
        ["evaluate", str(engine.bundle), "--data", str(shared_data / "lspet"), "--limit", "2", "--simulate-fp16"]
    )
    assert code == 0 and "simulated: FP16 arithmetic, every tensor rounded; not the engine" in capfd.readouterr().out
    show(Console(width=200), engine)
    text = capfd.readouterr().out
    assert f"3 layers: {', '.join(PLANTED)}" in text and "(simulated, every tensor rounded)" in text
