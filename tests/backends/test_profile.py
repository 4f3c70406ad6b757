"""What is one backend's own in timing its layers; tests/benchmark/test_layers.py has what holds for all."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hgedge import bundle as bundles
from hgedge.backends.base import PROFILE_WARMUP
from hgedge.errors import EngineMismatch
from hgedge.models.zoo import shipped_half
from hgedge.spec import InputSpec
from tests.runtime.cuda.driver.build import environment

RUNS = 4
LARGE = (64, 64)


def network(rectified):
    """Two convolutions of unlike sizes; what they make is added. Names are not those of tensors."""
    random = np.random.default_rng(0)
    weights = {"w1": random.normal(size=(32, 3, 3, 3)), "w2": random.normal(size=(32, 32, 1, 1))}
    middle = "rectified" if rectified else "first made"
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["first made"], "conv 1", pads=[1, 1, 1, 1]),
        *([helper.make_node("Relu", ["first made"], ["rectified"], "relu 1")] if rectified else []),
        helper.make_node("Conv", [middle, "w2"], ["second made"], "conv 2"),
        helper.make_node("Add", ["second made", middle], ["heatmaps"], "sum"),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, *LARGE])
        for name, channels in (("image", 3), ("heatmaps", 32))
    ]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def crops():
    return np.random.default_rng(1).integers(0, 256, (2, *LARGE, 3), np.uint8)


@pytest.fixture
def sealed(tmp_path):
    """sealed(precision): what is in the folder, as a bundle."""

    def manifest(precision="fp32"):
        half = bundles.read_manifest(shipped_half("default"))
        return bundles.seal(tmp_path, dataclasses.replace(half, precision=precision, input=InputSpec(LARGE)))

    return manifest


@pytest.mark.parametrize("rectified", [True, False])
def test_onnx_runtime_s_names_lead_back_to_the_convolutions(tmp_path, sealed, crops, rectified):
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'hgedge[onnxruntime]'")
    from hgedge.backends.onnxruntime.profile import profile

    onnx.save(network(rectified), tmp_path / "model.onnx")
    steps = []
    found = profile(tmp_path, sealed(), crops, RUNS, lambda *step: steps.append(step))
    first = [layer for layer in found if layer.nodes[0] == "conv 1"]
    second = [layer for layer in found if layer.nodes[0] == "conv 2"]
    assert len(first) == len(second) == 1 and "Conv" in first[0].kind and "Conv" in second[0].kind
    assert all(len(layer.samples_ms) == RUNS and min(layer.samples_ms) >= 0 for layer in found)
    assert first[0].precision == "f32"
    steps_in_all = PROFILE_WARMUP + RUNS
    assert steps == [("profile", done + 1, steps_in_all) for done in range(steps_in_all)]
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "manifest.json"}  # the trace is gone


def test_onnx_runtime_and_a_graph_that_it_cannot_load(tmp_path, sealed, crops):
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'hgedge[onnxruntime]'")
    from hgedge.backends.onnxruntime.profile import profile

    (tmp_path / "model.onnx").write_bytes(b"none")
    with pytest.raises(EngineMismatch, match="ONNX Runtime cannot load .*model.onnx"):
        profile(tmp_path, sealed(), crops, RUNS)


@pytest.mark.openvino
@pytest.mark.parametrize("rectified", [True, False])
def test_openvino_tells_what_it_fused(crops, rectified):
    ov = pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    from hgedge.backends.openvino.profile import BLOCKS, profile_model

    model = ov.Core().read_model(network(rectified).SerializeToString())
    model.reshape([2, 3, *LARGE])
    given = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32)
    found = {layer.nodes[0]: layer for layer in profile_model(model, "fp32", given, RUNS) if layer.nodes}
    convolutions = [found["conv 1"], found["conv 2"]]
    assert all(layer.kind == "Convolution" and layer.precision == "f32" for layer in convolutions)
    assert ("relu 1" in found["conv 1"].nodes) == rectified
    assert sum("heatmaps" in layer.nodes for layer in found.values()) == 1  # so it calls the sum, as it is the output
    assert all(len(layer.samples_ms) == BLOCKS for layer in found.values())


@pytest.mark.openvino
def test_openvino_and_an_engine_that_it_cannot_load(tmp_path, sealed, crops):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install 'hgedge[openvino]'")
    from hgedge.backends.openvino.profile import profile

    for name in ("engine.xml", "engine.bin"):
        (tmp_path / name).write_bytes(b"none")
    with pytest.raises(EngineMismatch, match="OpenVINO cannot load .*engine.xml"):
        profile(tmp_path, sealed(), crops, RUNS)


def test_pytorch_s_modules_share_all_of_the_time(lively):
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'hgedge[export]'")
    from hgedge.backends.torch.profile import Recorder

    net = lively(num_stacks=1, num_features=16, depth=2)
    recorder = Recorder(net, on_gpu=False)
    with torch.inference_mode():
        net(torch.zeros(1, 3, 64, 64))
    calls = recorder.calls
    whole = calls[-1]
    assert whole.path == "" and {call.path for call in calls} == {
        name for name, module in net.named_modules() if not isinstance(module, (torch.nn.Identity, torch.nn.ModuleList))
    }
    assert sum(call.path == "stem.residual1.relu" for call in calls) == 3  # one module, called three times
    alone = [call.ms - sum(part.ms for part in call.inner) for call in calls]
    assert min(alone) > 0 and sum(alone) == pytest.approx(whole.ms)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_pytorch_adds_what_modules_do_not(tmp_path, sealed, crops, tiny_checkpoint, precision):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'hgedge[export]'")
    from hgedge.backends.torch.profile import profile

    (tmp_path / "weights.safetensors").write_bytes(tiny_checkpoint.read_bytes())
    found = {layer.name: layer for layer in profile(tmp_path, sealed(precision), crops, RUNS)}
    assert found["hgs.0.up.0.add"].kind == "Residual" and found["hgs.0.inner.add"].kind == "Hourglass"
    assert found["outs.1"].kind == "Conv2d" and found["outs.1"].nodes == ("outs.1",)
    expected = {"fp32": "f32", "bf16": "bf16"}[precision]
    assert {layer.precision for layer in found.values() if layer.kind == "Conv2d"} == {expected}
    assert all(len(layer.samples_ms) == RUNS for layer in found.values())
    assert not any(layer.kind in ("Sequential", "ModuleList", "Identity", "Stem") for layer in found.values())


def test_on_the_simulated_driver(root, host_kernels, simulated_driver):
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install 'hgedge[onnxruntime]'")
    variables = {**os.environ, **environment(simulated_driver, host_kernels)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not tensorrt"]
    file = "tests/backends/gpu/test_profile.py"
    done = subprocess.run([*command, file], cwd=root, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout and "skipped" not in done.stdout, done.stdout
