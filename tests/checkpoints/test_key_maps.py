"""The anibali lineage against a reimplementation of the published network under its authors' names."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hgedge.checkpoints import load_checkpoint
from hgedge.checkpoints.key_maps import ANIBALI, COUNTER, HGEDGE, tensor_shapes
from hgedge.datasets.keypoint_sets import LSP14, MPII16
from hgedge.models.hourglass import HEADS, STEMS, HourglassConfig
from hgedge.spec import DecodeSpec, InputSpec

ROUNDING = 1e-6  # the same convolutions in the same order; only sums of two may swap sides


class Bottleneck(nn.Module):
    def __init__(self, inplanes, planes):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inplanes), nn.Conv2d(inplanes, planes, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(planes), nn.Conv2d(planes, planes, 3, padding=1)
        self.bn3, self.conv3 = nn.BatchNorm2d(planes), nn.Conv2d(planes, 2 * planes, 1)
        self.downsample = None
        if inplanes != 2 * planes:
            self.downsample = nn.Sequential(nn.Conv2d(inplanes, 2 * planes, 1))

    def forward(self, x):
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        out = self.conv3(F.relu(self.bn3(out)))
        return out + (x if self.downsample is None else self.downsample(x))


class TheirHourglass(nn.Module):
    def __init__(self, num_blocks, planes, depth):
        super().__init__()
        self.depth = depth
        self.hg = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(*(Bottleneck(2 * planes, planes) for _ in range(num_blocks)))
                for _ in range(4 if level == 0 else 3)
            )
            for level in range(depth)
        )

    def level(self, n, x):
        up1 = self.hg[n - 1][0](x)
        low1 = self.hg[n - 1][1](F.max_pool2d(x, 2, stride=2))
        low2 = self.level(n - 1, low1) if n > 1 else self.hg[n - 1][3](low1)
        low3 = self.hg[n - 1][2](low2)
        return up1 + F.interpolate(low3, scale_factor=2)

    def forward(self, x):
        return self.level(self.depth, x)


class TheirNet(nn.Module):
    """The network of anibali/pytorch-stacked-hourglass and bearpaw/pytorch-pose; 128 planes as published."""

    def __init__(self, num_stacks=2, num_blocks=1, num_classes=16, planes=128, depth=4):
        super().__init__()
        ch = 2 * planes
        self.conv1, self.bn1 = nn.Conv2d(3, planes // 2, 7, stride=2, padding=3), nn.BatchNorm2d(planes // 2)
        self.layer1 = nn.Sequential(Bottleneck(planes // 2, planes // 2))
        self.layer2 = nn.Sequential(Bottleneck(planes, planes))
        self.layer3 = nn.Sequential(Bottleneck(ch, planes))
        stacks, merges = range(num_stacks), range(num_stacks - 1)
        self.hg = nn.ModuleList(TheirHourglass(num_blocks, planes, depth) for _ in stacks)
        self.res = nn.ModuleList(nn.Sequential(*(Bottleneck(ch, planes) for _ in range(num_blocks))) for _ in stacks)
        self.fc = nn.ModuleList(nn.Sequential(nn.Conv2d(ch, ch, 1), nn.BatchNorm2d(ch), nn.ReLU()) for _ in stacks)
        self.score = nn.ModuleList(nn.Conv2d(ch, num_classes, 1) for _ in stacks)
        self.fc_ = nn.ModuleList(nn.Conv2d(ch, ch, 1) for _ in merges)
        self.score_ = nn.ModuleList(nn.Conv2d(num_classes, ch, 1) for _ in merges)

    def forward(self, x):
        x = self.layer1(F.relu(self.bn1(self.conv1(x))))
        x = self.layer3(self.layer2(F.max_pool2d(x, 2, stride=2)))
        out = []
        for i in range(len(self.hg)):
            y = self.fc[i](self.res[i](self.hg[i](x)))
            out.append(self.score[i](y))
            if i < len(self.fc_):
                x = x + self.fc_[i](y) + self.score_[i](out[-1])
        return out


def shapes_of(net):
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


@pytest.fixture(scope="module")
def published(shared_data):
    """Names and shapes of the published two-stack network."""
    path = shared_data / "lineage" / "anibali_hg2.keys.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return {name: tuple(shape) for name, shape in json.loads(path.read_text()).items()}


def test_the_reimplementation_has_the_published_names_and_shapes(published):
    assert shapes_of(TheirNet()) == published


def test_names_map_both_ways(published):
    published = {name: shape for name, shape in published.items() if not name.endswith(COUNTER)}
    config = ANIBALI.config(published)
    ours, theirs = ANIBALI.ours(config), ANIBALI.theirs(config)
    assert ours.keys() == published.keys()
    assert {ours[name]: shape for name, shape in published.items()} == tensor_shapes(HourglassConfig(num_stacks=2))
    assert {theirs[ours[name]] for name in published} == set(published)


@pytest.mark.parametrize(("num_stacks", "entries"), [(1, 377), (2, 684), (8, 2526)])
def test_published_sizes_are_recognised(num_stacks, entries):
    with torch.device("meta"):
        shapes = shapes_of(TheirNet(num_stacks))
    assert len(shapes) == entries
    assert ANIBALI.config(shapes) == HourglassConfig(num_stacks=num_stacks)


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        ({}, 64),
        ({"num_stacks": 3, "num_blocks": 2, "num_classes": 14, "planes": 8}, 128),
        ({"num_stacks": 1, "num_blocks": 1, "planes": 8, "depth": 3}, 64),
    ],
)
def test_every_stack_predicts_the_same(tmp_path, randomise, sizes, side):
    torch.manual_seed(5)
    net = TheirNet(**sizes).eval()
    randomise(net)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    checkpoint = load_checkpoint(tmp_path / "net.pth")
    image = torch.randn(2, 3, side, 2 * side)
    with torch.inference_mode():
        expected, found = torch.stack(net(image), dim=1), checkpoint.net(image)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= ROUNDING * expected.abs().max()
    spread = expected.std(dim=(-2, -1)).min() / expected.abs().max()
    assert spread > 1000 * ROUNDING  # no map is constant, so that a swapped branch shows


def test_input_and_keypoints_of_the_lineage(tmp_path):
    torch.save(TheirNet(1, planes=4).state_dict(), tmp_path / "mpii.pth")
    torch.save(TheirNet(1, planes=4, num_classes=14).state_dict(), tmp_path / "lsp.pth")
    mpii, lsp = load_checkpoint(tmp_path / "mpii.pth"), load_checkpoint(tmp_path / "lsp.pth")
    assert mpii.input == lsp.input == InputSpec((256, 256), "rgb", (0.4404, 0.4440, 0.4327), (1.0, 1.0, 1.0))
    assert (mpii.keypoints, lsp.keypoints) == (MPII16, LSP14)
    assert mpii.decode == DecodeSpec()


PLAIN = [HourglassConfig(3, 2, 16, 2, 5, 1), HourglassConfig(1, 1, 8, 1, 1)]


@pytest.mark.parametrize("config", PLAIN)
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("head", HEADS)
def test_our_own_names_tell_the_config(config, stem, head):
    config = dataclasses.replace(config, stem=stem, head=head)
    assert HGEDGE.config(tensor_shapes(config)) == config
    assert HGEDGE.ours(config) == {name: name for name in tensor_shapes(config)}


@pytest.mark.parametrize("config", PLAIN)
def test_their_names_tell_the_config(config):
    assert ANIBALI.config({ANIBALI.theirs(config)[n]: shape for n, shape in tensor_shapes(config).items()}) == config


def test_hostile_counts_are_bounded():
    shapes = {f"{name}.{i}.weight": (1,) for name in ("score", "hg.0.hg", "hg.0.hg.0.0") for i in range(1000)}
    config = ANIBALI.config(shapes)
    assert max(config.num_stacks, config.depth, config.num_blocks) <= 16
