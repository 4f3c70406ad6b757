"""Bundles of somebody else's ONNX: what options say, what the file says, range tables, engines."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from hgedge.builder import BuildOptions, build, options_of  # noqa: E402
from hgedge.builder.from_onnx import network_from_onnx  # noqa: E402
from hgedge.builder.network import network_of  # noqa: E402
from hgedge.bundle import open_bundle  # noqa: E402
from hgedge.errors import ConfigError, QuantizationError  # noqa: E402
from hgedge.runtime.pipeline import load  # noqa: E402
from hgedge.spec import InputSpec  # noqa: E402
from tests.export.foreign import MobileStacks, SimpleBaseline, exported, seeded  # noqa: E402

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SAID = {"mean": MEAN, "std": STD, "color": "bgr"}
SET = """name = "five"
names = ["a", "b", "c", "d", "e"]
skeleton = [[0, 1], [1, 2]]
flip_indices = [0, 2, 1, 3, 4]
"""
FP32_TOLERANCE = 1e-4  # of the heatmaps' range: engines add in another order
# INT8 against FP32, relative RMSE; measured on these untrained nets: 0.02 to 0.04
INT8_TOLERANCE = 0.1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    onnx.save(exported(seeded(SimpleBaseline), 13), folder / "simple net.onnx")
    onnx.save(exported(seeded(MobileStacks), 18, dynamo=True, free={0: "n"}, outputs=3), folder / "mobile.onnx")
    onnx.save(exported(seeded(SimpleBaseline), 13, free={2: "h", 3: "w"}), folder / "free.onnx")
    (folder / "five.toml").write_text(SET)
    return folder


def options(folder, name="simple net.onnx", **more):
    said = {"model": str(folder / name), "output": folder / "engines", "precision": "fp32", **more}
    return BuildOptions(**{"keypoints": str(folder / "five.toml"), **said})


def heatmaps_of(net, pictures, output=None):
    """What PyTorch makes of uint8 BGR crops, normalised as SAID says, with NumPy."""
    images = (pictures / 255 - np.array(MEAN)) / np.array(STD)
    with torch.inference_mode():
        made = net(torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32)))
    return (made if output is None else made[output]).numpy()


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("name", "make", "output"), [("simple net", SimpleBaseline, None), ("mobile", MobileStacks, 2)]
)
def test_fp32_and_int8(folder, picture_folder, lspet_crops, backend, name, make, output):
    """The engines' heatmaps of real pictures against PyTorch's."""
    pytest.importorskip(backend)
    pictures = lspet_crops(6, (64, 64))
    expected = heatmaps_of(seeded(make), pictures, output)
    for precision in ("fp32", "int8"):
        source = picture_folder if precision == "int8" else None
        report = build(
            options(folder, f"{name}.onnx", precision=precision, calibration=source, backend=backend, **SAID)
        )
        assert report.bundle.name == f"{name.replace(' ', '-')}-{precision}-{backend}"
        with load(report.bundle) as engine:
            made = engine.session.run(pictures)
        assert made.shape == expected.shape
        if precision == "fp32":
            assert np.abs(made - expected).max() <= FP32_TOLERANCE * np.ptp(expected)
        else:
            error = np.sqrt(np.mean((made - expected) ** 2)) / expected.std()
            assert 0 < error <= INT8_TOLERANCE
            assert 0 < report.num_convs_int8 < report.num_convs
    manifest = open_bundle(report.bundle)
    assert manifest.input == InputSpec((64, 64), "bgr", MEAN, STD)
    assert manifest.keypoints.names == ("a", "b", "c", "d", "e") and manifest.decode.stride == 4
    assert manifest.model.num_stacks == (1 if output is None else 2)
    weights = sum(parameter.numel() for parameter in seeded(make).parameters())
    assert manifest.model.parameters == pytest.approx(weights, rel=0.05)  # folded normalisation, and dropped outputs


def test_a_range_table_fits_its_file_alone(folder, picture_folder):
    first = build(options(folder, precision="int8", calibration=picture_folder, backend="onnxruntime", force=True))
    table = first.bundle / "calibration.json"
    assert json.loads(table.read_text())["naming_version"] == 0
    again = build(options(folder, precision="int8", calibration=table, backend="onnxruntime", force=True))
    assert open_bundle(again.bundle).calibration == open_bundle(first.bundle).calibration
    with pytest.raises(QuantizationError, match="was made for another network or input"):
        build(options(folder, "mobile.onnx", precision="int8", calibration=table, backend="onnxruntime", force=True))
    with pytest.raises(QuantizationError, match="was made for another network or input"):
        build(options(folder, precision="int8", calibration=table, backend="onnxruntime", mean=(0.5,), force=True))


def test_a_bundle_of_it_is_built_again(folder, picture_folder):
    """A portable half of foreign ONNX is as good as any other."""
    half = build(options(folder, precision="int8", calibration=picture_folder, engine=False)).bundle
    report = build(BuildOptions(model=str(half), backend="onnxruntime", output=folder / "second"))
    assert open_bundle(report.bundle).model == open_bundle(half).model and report.num_convs_int8 == 3


def test_one_picture_at_a_time(folder, lspet_crops):
    """A batch that the graph fixes to 1: sessions split what comes, larger engines are refused."""
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    model = exported(seeded(SimpleBaseline), 13)
    (head,) = [node for node in model.graph.node if "out" in node.output]
    head.output[0] = "all"
    for name, value in (("starts", [0]), ("ends", [1])):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), name))
    model.graph.node.append(onnx.helper.make_node("Slice", ["all", "starts", "ends"], ["out"]))
    onnx.save(model, folder / "single.onnx")
    expected = heatmaps_of(seeded(SimpleBaseline), lspet_crops(3, (64, 64)))
    for backend in ("openvino", "onnxruntime"):
        with load(build(options(folder, "single.onnx", backend=backend, **SAID)).bundle) as engine:
            made = engine.session.run(lspet_crops(3, (64, 64)))
        assert np.abs(made - expected).max() <= FP32_TOLERANCE * np.ptp(expected)
    with pytest.raises(ConfigError, match=r"computes one picture at a time, but --batch asks for \(1, 4\)"):
        network_of(options(folder, "single.onnx", batch=(1, 4)))


@pytest.mark.parametrize("name", ["simple net.onnx", "mobile.onnx"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_tensorrt_rtx_takes_it(folder, picture_folder, precision, name):
    """All of it in FP16, ReLU6, bilinear Resize, PReLU and deconvolutions included."""
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs TensorRT-RTX: pip install 'hgedge[tensorrt-rtx]'")
    source = picture_folder if precision == "int8" else None
    report = build(options(folder, name, precision=precision, calibration=source, backend="tensorrt-rtx"))
    assert "engine.plan" in open_bundle(report.bundle).files


def test_the_size_of_a_free_input(folder):
    with pytest.raises(ConfigError, match=r"has no fixed height and width; say them: --input HxW"):
        network_of(options(folder, "free.onnx"))
    network = network_of(options(folder, "free.onnx", input_hw=(96, 64)))
    assert network.input.hw == (96, 64) and network.suffixes == ("96x64",)
    assert network.golden().fp32_heatmaps.shape == (4, 5, 24, 16)


def test_what_is_not_said_is_said_in_the_log(folder, caplog):
    caplog.set_level("INFO")
    network = network_from_onnx(folder / "simple net.onnx", options(folder, keypoints=None))
    assert network.keypoints.names == tuple("01234") and network.keypoints.skeleton == ()
    assert network.input == InputSpec((64, 64), "rgb")
    assert "no --keypoints: 5 keypoints without names or skeleton, called 0 to 4" in caplog.text
    assert "--color, --mean, --std by default" in caplog.text


def test_one_number_is_for_every_channel(folder):
    network = network_of(options(folder, mean=(0.5,), std=(0.25,)))
    assert (network.input.mean, network.input.std) == ((0.5,) * 3, (0.25,) * 3)


def test_digest_of_weights_and_structure(folder, tmp_path):
    def digest(model):
        onnx.save(model, tmp_path / "other name.onnx")
        return network_of(options(folder, str(tmp_path / "other name.onnx"))).sha256

    net = seeded(SimpleBaseline)
    same = digest(exported(net, 13))
    assert same == network_of(options(folder)).sha256
    with torch.no_grad():
        net.head.weight[0, 0] += 1
    assert digest(exported(net, 13)) != same


def test_a_recipe(folder):
    (folder / "recipe.toml").write_text(
        f'model = "{folder / "simple net.onnx"}"\nprecision = "fp32"\nkeypoints = "{folder / "five.toml"}"\n'
        'mean = [0.5, 0, 1]\nstd = [2]\ncolor = "bgr"\nheatmaps = "out"\n'
    )
    recipe = options_of({"model": str(folder / "recipe.toml"), "color": "rgb"})
    network = network_of(recipe)
    assert network.input == InputSpec((64, 64), "rgb", (0.5, 0.0, 1.0), (2.0,) * 3)
    assert network.keypoints.name == "five"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"num_stacks": 1}, r"--num-stacks needs a checkpoint; .* --heatmaps NAME"),
        ({"backend": "torch"}, "backend torch runs checkpoints"),
        ({"std": (0.0,)}, "mean and std are of pixels divided by 255, std above 0"),
        ({"mean": (float("nan"),)}, "mean and std are of pixels divided by 255"),
        ({"color": "gray"}, "--color gray does not go with the network's input, which takes 3 channels"),
        ({"keypoints": "nowhere.toml"}, "nowhere.toml cannot be read as TOML"),
    ],
)
def test_refused(folder, more, message):
    with pytest.raises(ConfigError, match=message):
        network_of(options(folder, **more))


@pytest.mark.parametrize("option", [{"keypoints": "lsp14"}, {"mean": (0.0,)}, {"color": "bgr"}, {"heatmaps": "out"}])
def test_options_of_onnx_do_not_go_with_checkpoints(tiny_checkpoint, option):
    asked = dataclasses.replace(BuildOptions(model=str(tiny_checkpoint)), **option)
    with pytest.raises(ConfigError, match=f"--{next(iter(option))} goes with an ONNX file, but .* is none"):
        network_of(asked)
