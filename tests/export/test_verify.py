from __future__ import annotations

import copy

import numpy as np
import onnxruntime
import pytest
import torch

from hgedge.errors import ConfigError, ExportError, ShapeError
from hgedge.export.rewrites.graph import Graph
from hgedge.export.verify import TOLERANCE, verify_onnx
from hgedge.models.hourglass import HourglassConfig, HourglassNet
from hgedge.spec import InputSpec


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).random((3, 3, 64, 64), dtype=np.float32)


@pytest.mark.slow
def test_hg2_equals_pytorch_on_photographs(hg2, hg2_model, photographs):
    assert 0 < verify_onnx(hg2_model, hg2, InputSpec(), photographs((256, 256))) <= TOLERANCE


@pytest.mark.slow
def test_hg1_of_hg2_equals_pytorch_on_photographs(hg2, hg1_model, photographs):
    assert 0 < verify_onnx(hg1_model, hg2, InputSpec(), photographs((256, 256)), num_stacks=1) <= TOLERANCE


def test_small_network_equals_pytorch_on_photographs(small_net, small_model, small_input, photographs):
    assert 0 < verify_onnx(small_model, small_net, small_input, photographs((64, 64))) <= TOLERANCE


def test_figure_is_the_largest_difference_over_the_range(small_net, small_model, small_input, noise):
    session = onnxruntime.InferenceSession(small_model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": noise})[0]
    with torch.no_grad():
        expected = small_net(torch.from_numpy(noise))[:, -1].numpy()
    figure = np.abs(found - expected).max() / (expected.max() - expected.min())
    assert verify_onnx(small_model, small_net, small_input, noise) == pytest.approx(figure, rel=1e-6)


def test_a_network_in_training_mode_is_compared_as_it_infers(small_net, small_model, small_input, noise):
    net = copy.deepcopy(small_net).train()
    assert verify_onnx(small_model, net, small_input, noise) <= TOLERANCE
    assert net.training


def test_a_wrong_weight_is_found(small_net, small_model, small_input, noise):
    model = copy.deepcopy(small_model)
    graph = Graph(model)
    graph.store("outs.1.bias", graph.array("outs.1.bias") + 0.1)
    with pytest.raises(ExportError, match=r"within 0\.0001 of their range, but differs by 0\.\d+"):
        verify_onnx(model, small_net, small_input, noise)


def test_another_stack_is_found(small_net, small_model, small_input, noise):
    with pytest.raises(ExportError, match="of their range, but differs by"):
        verify_onnx(small_model, small_net, small_input, noise, num_stacks=1)


def test_what_cannot_be_compared_is_refused(small_net, small_model, small_input, noise):
    with pytest.raises(ShapeError, match=r"images must be \(N, 3, 64, 64\) float32, but got shape \(3, 3, 32, 64\)"):
        verify_onnx(small_model, small_net, small_input, noise[:, :, :32])
    with pytest.raises(ShapeError, match="float64"):
        verify_onnx(small_model, small_net, small_input, noise.astype(np.float64))
    with pytest.raises(ConfigError, match="num_stacks must be from 1 to 2"):
        verify_onnx(small_model, small_net, small_input, noise, num_stacks=3)
    flat = copy.deepcopy(small_net)
    torch.nn.init.zeros_(flat.outs[1].weight)
    torch.nn.init.zeros_(flat.outs[1].bias)
    with pytest.raises(ExportError, match=r"heatmaps range over 0\.0, so nothing can be compared"):
        verify_onnx(small_model, flat, small_input, noise)
    torch.nn.init.constant_(flat.outs[1].bias, float("nan"))
    with pytest.raises(ExportError, match="heatmaps range over nan"):
        verify_onnx(small_model, flat, small_input, noise)


def test_a_graph_of_another_network_is_refused(small_model, small_input, noise):
    other = HourglassNet(HourglassConfig(num_stacks=1, num_features=8, depth=1, num_keypoints=7)).eval()
    with pytest.raises(ExportError, match=r"gives heatmaps \(3, 5, 16, 16\), but the network \(3, 7, 16, 16\)"):
        verify_onnx(small_model, other, small_input, noise)


def test_a_graph_that_does_not_run_is_refused(small_net, small_model, small_input, noise):
    model = copy.deepcopy(small_model)
    model.graph.node[0].op_type = "Convolution"
    with pytest.raises(ExportError, match="ONNX Runtime cannot run the graph"):
        verify_onnx(model, small_net, small_input, noise)


def test_openvino_gives_the_same(small_model, noise):
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    graph = core.read_model(small_model.SerializeToString())
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(noise)[0]
    session = onnxruntime.InferenceSession(small_model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"image": noise})[0]
    assert np.abs(found - expected).max() <= TOLERANCE * np.ptp(expected)
