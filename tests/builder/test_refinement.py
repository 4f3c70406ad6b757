"""`refinement`: a bundle decodes as it was asked for, tells so, and says how to be built again."""

from __future__ import annotations

import shlex

import numpy as np
import pytest

from hgedge import records
from hgedge.builder import BuildOptions, build, options_of
from hgedge.builder.build import bundle_name
from hgedge.builder.network import network_of
from hgedge.bundle import open_bundle, read_manifest, rebuild
from hgedge.errors import ConfigError
from hgedge.models import shipped_half
from hgedge.runtime.decode import decode
from hgedge.runtime.pipeline import load
from hgedge.spec import DecodeSpec

ROUNDED_PX = 1e-3


def made(output, **asked):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    return build(BuildOptions(backend="openvino", output=output, **asked))


@pytest.fixture(scope="module")
def quarter(tmp_path_factory):
    """The default model in INT8, whose golden agreement is not 0."""
    return made(tmp_path_factory.mktemp("quarter"))


@pytest.fixture(scope="module")
def dark(tmp_path_factory):
    return made(tmp_path_factory.mktemp("dark"), refinement="dark")


def test_name_manifest_and_digest_follow(quarter, dark):
    assert [report.bundle.name for report in (quarter, dark)] == ["default-int8-openvino", "default-int8-openvino-dark"]
    one, other = (open_bundle(report.bundle) for report in (quarter, dark))
    assert (one.decode, other.decode) == (DecodeSpec(), DecodeSpec(refinement="dark"))
    assert one.digest != other.digest and one.files["model.onnx"] == other.files["model.onnx"]
    with load(dark.bundle) as pipeline:
        assert pipeline.decode.refinement == "dark"


def test_agreement_is_of_what_is_decoded(quarter, dark):
    golden = np.load(dark.bundle / "golden.npz")
    for report, refinement in ((quarter, "quarter"), (dark, "dark")):
        engine, fp32 = (decode(golden[f"{name}_heatmaps"], refinement=refinement)[0] for name in ("engine", "fp32"))
        distance = np.linalg.norm(engine - fp32, axis=-1).mean()
        assert report.agreement["mean_px"] == pytest.approx(distance, abs=ROUNDED_PX)
    assert abs(dark.agreement["mean_px"] - quarter.agreement["mean_px"]) > ROUNDED_PX


def test_a_bundle_keeps_its_own_unless_asked(dark):
    kept = BuildOptions(model=str(dark.bundle), precision="fp32")
    assert bundle_name(kept, network_of(kept), "openvino") == "default-fp32-openvino-dark"
    asked = BuildOptions(model=str(dark.bundle), precision="fp32", refinement="quarter")
    assert network_of(asked).decode == DecodeSpec() and network_of(kept).decode == DecodeSpec(refinement="dark")
    assert bundle_name(asked, network_of(asked), "openvino") == "default-fp32-openvino"


def test_what_builds_it_again_repeats_it(dark, quarter):
    assert "--refinement" not in rebuild(read_manifest(quarter.bundle), quarter.bundle)
    words = shlex.split(rebuild(read_manifest(dark.bundle), dark.bundle))
    assert words[:4] == ["rebuild:", "hgedge", "build", str(dark.bundle)]
    assert words[words.index("--refinement") + 1] == "dark"


def test_the_rest_of_a_models_decoding_stays(tiny_checkpoint, tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'hgedge[export]'")
    from hgedge.checkpoints import load_checkpoint, save_checkpoint

    source = load_checkpoint(tiny_checkpoint)
    own, path = DecodeSpec(shift=0, refinement="dark"), tmp_path / "own.safetensors"
    save_checkpoint(path, source.net, name="own", input=source.input, keypoints=source.keypoints, decode=own)
    assert network_of(BuildOptions(model=str(path))).decode == own
    assert network_of(BuildOptions(model=str(path), refinement="quarter")).decode == DecodeSpec(shift=0)


def test_an_onnx_file_takes_it(tmp_path):
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'hgedge[onnxruntime]'")
    file = tmp_path / "other.onnx"
    file.write_bytes((shipped_half("default") / "source.onnx").read_bytes())
    options = BuildOptions(model=str(file), keypoints="lsp14", refinement="dark")
    network = network_of(options)
    assert network.decode == DecodeSpec(refinement="dark")
    assert bundle_name(options, network, None).startswith("other-int8-portable") and network.input.hw == (192, 192)


def test_a_recipe_says_it_and_is_overruled(tmp_path):
    recipe = tmp_path / "dark.toml"
    recipe.write_text('precision = "fp32"\nrefinement = "dark"\n')
    assert options_of({"model": str(recipe)}).refinement == "dark"
    assert options_of({"model": str(recipe), "refinement": "quarter"}).refinement == "quarter"
    recipe.write_text('refinement = "darker"\n')
    with pytest.raises(ConfigError, match=r"dark\.toml.*refinement must be one of quarter, dark, but got 'darker'"):
        options_of({"model": str(recipe)})


def test_a_budget_is_measured_as_it_decodes(tmp_path):
    from hgedge.builder.budget import prepared

    options = BuildOptions(precision="fp32", refinement="dark", backend="onnxruntime", output=tmp_path)
    subject, _ = prepared(options, network_of(options), "onnxruntime", None, lambda *_: None)
    assert records.to_mapping(subject.manifest.decode)["refinement"] == "dark"
