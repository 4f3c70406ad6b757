"""Small networks to write and read."""

from __future__ import annotations

import pytest
import torch

from hgedge.models.hourglass import HourglassConfig, HourglassNet


def seeded_net(seed=0, **sizes):
    """A 64-pixel network in evaluation mode whose batch normalisations do something."""
    torch.manual_seed(seed)
    net = HourglassNet(HourglassConfig(**{"num_stacks": 2, "num_features": 8, "num_keypoints": 14, **sizes}))
    randomise_batchnorm(net)
    return net.eval()


def randomise_batchnorm(net):
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.5)
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.5)


@pytest.fixture
def make_net():
    return seeded_net


@pytest.fixture
def randomise():
    return randomise_batchnorm
