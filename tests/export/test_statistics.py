from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch

from hgedge.export import gmacs, num_convs
from hgedge.export.layers import layers
from hgedge.export.statistics import summary
from hgedge.models.hourglass import HourglassNet
from hgedge.quantization.calibrate import collect_ranges
from hgedge.quantization.insert_qdq import num_int8_convs, quantize

HG2_GMACS = 8.9554  # 3.1695 a stack less 0.2684 for the last merge, 2.9187 for the stem; heads of all but the last gone


def multiply_accumulates(net: HourglassNet, hw: tuple[int, int]) -> int:
    """Of the convolutions that PyTorch runs, less what the rewrites remove: merge_preds, all heads but the last."""
    total = 0

    def count(module, _, output):
        nonlocal total
        total += module.weight.numel() * output.shape[2] * output.shape[3]

    kept = [module for name, module in net.named_modules() if not name.startswith(("merge_preds", "outs"))]
    convs = [module for module in [*kept, net.outs[-1]] if isinstance(module, torch.nn.Conv2d)]
    hooks = [conv.register_forward_hook(count) for conv in convs]
    with torch.no_grad():
        net(torch.zeros(1, 3, *hw))
    for hook in hooks:
        hook.remove()
    return total


def test_gmacs_of_hg2(hg2, hg2_model):
    assert gmacs(hg2_model) == pytest.approx(multiply_accumulates(hg2, (256, 256)) / 1e9, rel=1e-12)
    assert gmacs(hg2_model) == pytest.approx(HG2_GMACS, abs=1e-4)


def test_gmacs_need_no_shapes_in_the_file(small_net, small_model):
    bare = onnx.ModelProto()
    bare.CopyFrom(small_model)
    del bare.graph.value_info[:]
    assert gmacs(bare) == pytest.approx(multiply_accumulates(small_net, (64, 64)) / 1e9, rel=1e-12)


def test_num_convs(hg2_model):
    assert num_convs(hg2_model) == 100


def test_summary_of_a_float_graph(small_model):
    found = summary(small_model, layers(small_model))
    share = found.precisions["fp32"]
    assert list(found.precisions) == ["fp32"] and found.opset == 17
    assert found.operators == Counter(node.op_type for node in small_model.graph.node)
    assert share.gmacs == pytest.approx(gmacs(small_model), rel=1e-12)
    assert (share.convolutions, share.activations) == (num_convs(small_model), {})


def test_summary_of_a_quantised_graph(small_model):
    pictures = np.random.default_rng(0).uniform(0, 1, (2, 3, 64, 64)).astype(np.float32)
    model = quantize(small_model, collect_ranges(small_model, list(pictures)), "conv", unsigned=True)
    found = summary(model, layers(model))
    assert list(found.precisions) == ["int8", "fp32"]  # the largest first
    eight_bits, rest = found.precisions.values()
    assert eight_bits.convolutions == num_int8_convs(model) == sum(eight_bits.activations.values())
    assert rest.convolutions == 1 and rest.activations == {}
    assert eight_bits.gmacs + rest.gmacs == pytest.approx(gmacs(small_model), rel=1e-12)
    assert found.operators["DequantizeLinear"] == sum(node.op_type == "DequantizeLinear" for node in model.graph.node)
