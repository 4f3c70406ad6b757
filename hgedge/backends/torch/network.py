"""The network as it is run: in fewer bits, with BatchNorm folded into the convolution that it follows.

BatchNorm(W x + b) = (s W) x + s (b - mean) + beta,      s = gamma / sqrt(variance + eps)
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hgedge.models.hourglass import HourglassNet, Residual, Stem, channels_last

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def reduced(net: HourglassNet, dtype: torch.dtype) -> HourglassNet:
    """A copy whose convolutions compute in 16 bits, channels last; statistics and factors of BatchNorm stay FP32."""
    net = copy.deepcopy(net)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.to(dtype)
    return channels_last(net)


def folded(net: HourglassNet) -> HourglassNet:
    """A copy for inference with every BatchNorm folded that directly follows a convolution."""
    net = copy.deepcopy(net).eval()
    for module in list(net.modules()):
        for conv, norm in _pairs(module):
            setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
            setattr(module, norm, nn.Identity())
    return net


def _pairs(module: nn.Module) -> list[tuple[str, str]]:
    """The names of a module's convolutions and of the BatchNorms that follow them."""
    if isinstance(module, Residual):
        return [("conv1", "bn2"), ("conv2", "bn3")]
    if isinstance(module, Stem):
        return [("conv", "bn")]
    if isinstance(module, nn.Sequential):
        named = pairwise(module.named_children())
        return [(a, b) for (a, x), (b, y) in named if isinstance(x, nn.Conv2d) and isinstance(y, nn.BatchNorm2d)]
    return []
