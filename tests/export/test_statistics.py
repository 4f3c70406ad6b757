from __future__ import annotations

import onnx
import pytest
import torch

from hgedge.export import gmacs, num_convs
from hgedge.models.hourglass import HourglassNet

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
