"""The wheel on a machine that has NumPy and onnx, but neither PyTorch nor onnxsim nor OpenCV: as on a Jetson."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest

from hgedge.bundle import open_bundle
from hgedge.checkpoints import resolve
from hgedge.models import shipped_half, shipped_weights
from hgedge.runtime.golden import load_golden
from hgedge.runtime.preprocess import normalise

BARE = ("numpy", "dacite", "rich", "typer", "onnx")
LACKING = ("torch", "onnxsim", "onnxscript", "cv2", "safetensors", "scipy", "onnxruntime")
EXACT = 1e-4  # of the heatmaps' range: what the rewrites may cost (hgedge/export/verify.py)


def with_requirements(names):
    """Names of distributions and of all that they need here."""
    found, todo = set(), list(names)
    while todo:
        name = todo.pop()
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system or Python
        if distribution.name in found:
            continue
        found.add(distribution.name)
        todo += [re.split(r"[^\w.-]", text)[0] for text in distribution.requires or () if "extra ==" not in text]
    return found


def link(names, folder):
    """Make the modules of distributions importable from a folder."""
    for name in with_requirements(names):
        files = importlib.metadata.distribution(name).files or ()
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            place = importlib.metadata.distribution(name).locate_file(top)
            if not (folder / top).exists():
                (folder / top).symlink_to(place)


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    """The wheel's files, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def bare(wheel, tmp_path):
    """bare(extra, *arguments): the wheel's program with few libraries, and nothing of this environment."""

    def run(extra, *arguments):
        link((*BARE, *extra), wheel)
        code = f"import sys; sys.path.append({str(wheel)!r}); from hgedge.cli.main import main; sys.exit(main())"
        command = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


def test_the_environment_lacks_what_it_should(bare, wheel):
    bare((), "--version")
    code = (
        f"import sys, importlib.util as u; sys.path.append({str(wheel)!r}); print([u.find_spec(n) for n in {LACKING}])"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str([None] * len(LACKING))


def test_int8_with_tensorrt_rtx_alone(bare, tmp_path):
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs TensorRT-RTX: pip install 'hgedge[tensorrt-rtx]'")
    libraries = ("tensorrt_rtx_cu13_bindings", "tensorrt_rtx_cu13_libs")
    done = bare(libraries, "build", "--precision", "int8", "--backend", "tensorrt-rtx", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    manifest = open_bundle(tmp_path / report["bundle"])
    assert "engine.plan" in manifest.files and report["num_convs_int8"] == report["num_convs"] - 1
    assert manifest.model.sha256 == open_bundle(shipped_half("default")).model.sha256


def test_int8_with_openvino_is_measured(bare, tmp_path):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    done = bare(("openvino",), "build", "--backend", "openvino", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["agreement"]["mean_px"] < 2
    done = bare(("openvino",), "run", "--source", "x.jpg", "--no-window")
    assert done.returncode == 3 and "pip install 'hgedge[video]'" in done.stderr


@pytest.mark.parametrize("option", [("--num-stacks", "1"), ("--input", "128x128"), ("--backend", "torch")])
def test_what_needs_pytorch_says_so(bare, option):
    done = bare(("openvino",), "build", "--precision", "fp32", *option)
    assert done.returncode == 3 and "pip install 'hgedge[export]'" in done.stderr, done.stderr


@pytest.mark.parametrize("name", ["default", "face68"])
def test_the_half_is_the_checkpoints(name):
    """New weights need a new half."""
    half, checkpoint = shipped_half(name), resolve(name)
    manifest = open_bundle(half)
    assert manifest.model.sha256 == checkpoint.sha256 and manifest.precision == "int8" and manifest.backend is None
    assert (manifest.input, manifest.keypoints) == (checkpoint.input, checkpoint.keypoints)
    session = onnxruntime.InferenceSession(half / "source.onnx", providers=["CPUExecutionProvider"])
    golden = load_golden(half / "golden.npz")
    (heatmaps,) = session.run(["heatmaps"], {"image": normalise(golden.crops, manifest.input)})
    import torch

    with torch.inference_mode():
        ours = checkpoint.net(torch.from_numpy(normalise(golden.crops, manifest.input)))[:, -1].numpy()
    for other in (heatmaps, golden.fp32_heatmaps):
        assert np.abs(other - ours).max() <= EXACT * np.ptp(ours)


@pytest.mark.parametrize("name", ["default", "face68"])
def test_the_half_is_portable(name):
    half = shipped_half(name)
    types = {item.data_type for item in onnx.load(half / "model.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in types and onnx.TensorProto.UINT8 not in types
    assert shipped_weights(name).parent == half.parent
