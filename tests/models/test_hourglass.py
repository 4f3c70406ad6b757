"""The network against a reimplementation that has no modules, the published sizes, and bad configs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hgedge.errors import ConfigError
from hgedge.models.hourglass import HourglassConfig, HourglassNet, Residual

PARAMETERS = {1: 3_586_960, 2: 6_730_912, 8: 25_594_624}  # the published networks', 16 keypoints, 256 features
ROUNDING = 1e-5  # float32, relative to the largest value: the order of sums may differ
SMALL = {"num_stacks": 2, "num_features": 16, "num_keypoints": 5}


def random_net(**sizes):
    """A seeded network in evaluation mode whose batch normalisations do something."""
    torch.manual_seed(3)
    net = HourglassNet(HourglassConfig(**sizes)).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
    return net


class Plain:
    """The paper's network as arithmetic on a dictionary of tensors."""

    def __init__(self, tensors, config):
        self.tensors, self.config = tensors, config

    def conv(self, x, name, **options):
        return F.conv2d(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], **options)

    def norm_relu(self, x, name):
        weight, bias, mean, var = (
            self.tensors[f"{name}.{part}"].view(1, -1, 1, 1)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return ((x - mean) / torch.sqrt(var + 1e-5) * weight + bias).clamp(min=0)

    def residual(self, x, name):
        y = self.conv(self.norm_relu(x, f"{name}.bn1"), f"{name}.conv1")
        y = self.conv(self.norm_relu(y, f"{name}.bn2"), f"{name}.conv2", padding=1)
        y = self.conv(self.norm_relu(y, f"{name}.bn3"), f"{name}.conv3")
        return y + (self.conv(x, f"{name}.skip") if f"{name}.skip.weight" in self.tensors else x)

    def row(self, x, name):
        for block in range(self.config.num_blocks):
            x = self.residual(x, f"{name}.{block}")
        return x

    def hourglass(self, x, name, depth):
        if depth == 0:
            return self.row(x, name)
        low = F.adaptive_max_pool2d(x, (x.shape[2] // 2, x.shape[3] // 2))
        low = self.hourglass(self.row(low, f"{name}.down"), f"{name}.inner", depth - 1)
        low = self.row(low, f"{name}.out").repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        return low + self.row(x, f"{name}.up")

    def stem(self, image):
        if self.config.stem == "pointwise":
            return self.conv(self.conv(image, "stem.conv1").clamp(min=0), "stem.conv2").clamp(min=0)
        x = self.norm_relu(self.conv(image, "stem.conv", stride=2, padding=3), "stem.bn")
        x = F.max_pool2d(self.residual(x, "stem.residual1"), 2)
        return self.residual(self.residual(x, "stem.residual2"), "stem.residual3")

    def head(self, x, s):
        if self.config.head == "rectified":
            return x, self.norm_relu(self.conv(x, f"outs.{s}.conv"), f"outs.{s}.bn")
        y = self.norm_relu(self.conv(self.row(x, f"features.{s}.0"), f"features.{s}.1"), f"features.{s}.2")
        return y, self.conv(y, f"outs.{s}")

    def __call__(self, image):
        x, stacks = self.stem(image), []
        for s in range(self.config.num_stacks):
            y, heatmaps = self.head(self.hourglass(x, f"hgs.{s}", self.config.depth), s)
            stacks.append(heatmaps)
            if s + 1 < self.config.num_stacks:
                x = x + self.conv(y, f"merge_features.{s}") + self.conv(stacks[-1], f"merge_preds.{s}")
        return torch.stack(stacks, dim=1)


@pytest.mark.parametrize(("num_stacks", "parameters"), PARAMETERS.items())
def test_has_the_published_number_of_parameters(num_stacks, parameters):
    with torch.device("meta"):
        net = HourglassNet(HourglassConfig(num_stacks=num_stacks))
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize(
    ("sizes", "image_shape", "heatmaps_shape"),
    [
        ({}, (1, 3, 64, 64), (1, 2, 16, 16, 16)),
        ({**SMALL, "num_stacks": 1}, (2, 3, 64, 128), (2, 1, 5, 16, 32)),
        ({**SMALL, "num_stacks": 3, "depth": 2, "in_channels": 1}, (1, 1, 48, 16), (1, 3, 5, 12, 4)),
        ({**SMALL, "num_stacks": 1, "stem": "pointwise", "head": "rectified"}, (1, 3, 32, 16), (1, 1, 5, 32, 16)),
    ],
)
def test_output_shape(sizes, image_shape, heatmaps_shape):
    with torch.inference_mode():
        assert random_net(**sizes)(torch.rand(image_shape)).shape == heatmaps_shape


@pytest.mark.parametrize(
    "sizes",
    [
        SMALL,
        {**SMALL, "num_stacks": 3, "depth": 2},
        {**SMALL, "num_blocks": 2, "depth": 1},
        {**SMALL, "num_stacks": 1, "in_channels": 1},
        {**SMALL, "stem": "conv7x7-late"},
        {**SMALL, "stem": "pointwise", "head": "rectified", "in_channels": 1},
    ],
)
def test_equals_the_plain_reimplementation(sizes):
    net = random_net(**sizes)
    image = torch.randn(2, net.config.in_channels, 64, 128)
    with torch.inference_mode():
        expected = Plain(net.state_dict(), net.config)(image)
        found = net(image)
    assert (found - expected).abs().max() < ROUNDING * expected.abs().max()
    lively = expected.std(dim=(-2, -1)) > 100 * ROUNDING * expected.abs().max()  # a constant map would hide errors
    assert lively.float().mean() >= (0.25 if net.config.head == "rectified" else 1)  # a ReLU empties some


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_stops_after_the_stacks_that_are_asked_for(kept):
    net = random_net(**{**SMALL, "num_stacks": 3})
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(net(image, kept), net(image)[:, :kept])


def test_does_not_change_its_input():
    image = torch.randn(1, 3, 64, 64)
    before = image.clone()
    with torch.inference_mode():
        random_net(**SMALL)(image)
    assert torch.equal(image, before)


def test_every_parameter_of_the_last_loss_path_learns():
    net = random_net(**SMALL).train()
    net(torch.randn(2, 3, 128, 128))[:, -1].square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_residual_keeps_the_input_where_channels_stay():
    assert isinstance(Residual(8, 8).skip, torch.nn.Identity)
    assert Residual(8, 16).skip.weight.shape == (16, 8, 1, 1)


def test_stride_and_input_multiple():
    assert HourglassConfig().stride == 4
    assert HourglassConfig().input_multiple == 64
    assert HourglassConfig(depth=2).input_multiple == 16
    assert HourglassConfig(stem="conv7x7-late").stride == 4
    assert HourglassConfig(stem="pointwise").stride == 1
    assert HourglassConfig(stem="pointwise").input_multiple == 16


def test_where_the_stem_widens():
    with torch.device("meta"):
        early, late = (HourglassNet(HourglassConfig(stem=stem)).stem for stem in ("conv7x7", "conv7x7-late"))
    widths = [[residual.conv3.out_channels for residual in (stem.residual1, stem.residual2)] for stem in (early, late)]
    assert widths == [[128, 256], [128, 128]]
    assert early.residual3.conv3.out_channels == late.residual3.conv3.out_channels == 256


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"num_stacks": 0}, "num_stacks must be a positive integer, but got 0"),
        ({"depth": 1.5}, "depth must be a positive integer, but got 1.5"),
        ({"num_blocks": True}, "num_blocks must be a positive integer, but got True"),
        ({"num_features": 6}, "num_features must be a multiple of 4, but got 6"),
        ({"head": "linear"}, "head must be one of residual, rectified, but got 'linear'"),
        ({"stem": "conv9x9"}, "stem must be one of conv7x7.*but got 'conv9x9'"),
    ],
)
def test_bad_configs_say_what_is_wrong(sizes, message):
    with pytest.raises(ConfigError, match=message):
        HourglassConfig(**sizes)
