"""The princeton-vl lineage against a reimplementation of the published network under its authors' names."""

from __future__ import annotations

import json
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hgedge.checkpoints import load_checkpoint
from hgedge.checkpoints.key_maps import COUNTER, PRINCETON, tensor_shapes
from hgedge.datasets.keypoint_sets import MPII16
from hgedge.errors import CheckpointError
from hgedge.models.hourglass import HourglassConfig
from hgedge.spec import DecodeSpec, InputSpec

ROUNDING = 1e-6  # the same convolutions in the same order; only sums may swap sides


class Conv(nn.Module):
    def __init__(self, inputs, outputs, size=1, stride=1, norm=False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2)
        self.bn = nn.BatchNorm2d(outputs) if norm else None

    def forward(self, x):
        return self.conv(x) if self.bn is None else F.relu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """Has a skip layer always, runs it where the number of channels changes."""

    def __init__(self, inputs, outputs):
        super().__init__()
        half = outputs // 2
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), Conv(inputs, half)
        self.bn2, self.conv2 = nn.BatchNorm2d(half), Conv(half, half, 3)
        self.bn3, self.conv3 = nn.BatchNorm2d(half), Conv(half, outputs)
        self.skip_layer = Conv(inputs, outputs)
        self.changes = inputs != outputs

    def forward(self, x):
        y = x
        for norm, conv in ((self.bn1, self.conv1), (self.bn2, self.conv2), (self.bn3, self.conv3)):
            y = conv(F.relu(norm(y)))
        return y + (self.skip_layer(x) if self.changes else x)


class TheirHourglass(nn.Module):
    def __init__(self, depth, width):
        super().__init__()
        self.up1, self.low1 = Bottleneck(width, width), Bottleneck(width, width)
        self.low2 = TheirHourglass(depth - 1, width) if depth > 1 else Bottleneck(width, width)
        self.low3 = Bottleneck(width, width)

    def forward(self, x):
        low = self.low3(self.low2(self.low1(F.max_pool2d(x, 2, 2))))
        return self.up1(x) + low.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


class Merge(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = Conv(inputs, outputs)

    def forward(self, x):
        return self.conv(x)


class TheirNet(nn.Module):
    """The network of princeton-vl/pytorch_stacked_hourglass; width 256 as published. Takes (N, H, W, C)."""

    def __init__(self, stacks=2, width=256, keypoints=16, depth=4):
        super().__init__()
        quarter, half = width // 4, width // 2
        first = Conv(3, quarter, 7, 2, norm=True)
        widen = Bottleneck(quarter, half), nn.MaxPool2d(2, 2), Bottleneck(half, half), Bottleneck(half, width)
        self.pre = nn.Sequential(first, *widen)
        self.hgs = nn.ModuleList(nn.Sequential(TheirHourglass(depth, width)) for _ in range(stacks))
        self.features = nn.ModuleList(
            nn.Sequential(Bottleneck(width, width), Conv(width, width, norm=True)) for _ in range(stacks)
        )
        self.outs = nn.ModuleList(Conv(width, keypoints) for _ in range(stacks))
        self.merge_features = nn.ModuleList(Merge(width, width) for _ in range(stacks - 1))
        self.merge_preds = nn.ModuleList(Merge(keypoints, width) for _ in range(stacks - 1))

    def forward(self, images):
        x, predictions = self.pre(images.permute(0, 3, 1, 2)), []
        for stack, (hourglass, features, out) in enumerate(zip(self.hgs, self.features, self.outs, strict=True)):
            y = features(hourglass(x))
            predictions.append(out(y))
            if stack < len(self.merge_preds):
                x = x + self.merge_preds[stack](predictions[-1]) + self.merge_features[stack](y)
        return torch.stack(predictions, dim=1)


def shapes_of(net):
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


@pytest.fixture
def small(randomise):
    """A narrow network of theirs, seeded."""
    torch.manual_seed(6)
    net = TheirNet(width=16).eval()
    randomise(net)
    return net


def load(folder, state, wrap=lambda state: state):
    torch.save(wrap(state), folder / "checkpoint.pt")
    return load_checkpoint(folder / "checkpoint.pt")


def test_the_reimplementation_has_the_published_names_and_shapes(shared_data):
    path = shared_data / "lineage" / "princeton_2hg.keys.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    with torch.device("meta"):
        net = TheirNet()
    assert shapes_of(net) == {name: tuple(shape) for name, shape in json.loads(path.read_text()).items()}
    assert sum(parameter.numel() for parameter in net.parameters()) == 8_429_088


@pytest.mark.parametrize(("stacks", "entries"), [(2, 742), (8, 2752)])
def test_every_tensor_is_ours_or_unused(stacks, entries):
    with torch.device("meta"):
        shapes = shapes_of(TheirNet(stacks))
    assert len(shapes) == entries
    config, ours = PRINCETON.config(shapes), PRINCETON.ours(PRINCETON.config(shapes))
    assert config == HourglassConfig(num_stacks=stacks, stem="conv7x7-late")
    assert {ours[name]: shape for name, shape in shapes.items() if name in ours} == tensor_shapes(config)
    rest = [name for name in shapes if name not in ours and not name.endswith(COUNTER)]
    assert PRINCETON.ignored(shapes, config) == rest
    assert len(rest) == 2 * (1 + 14 * stacks)  # weight and bias: one in the stem, 13 an hourglass, one behind each


@pytest.mark.parametrize("sizes", [{}, {"stacks": 3, "width": 16}, {"stacks": 1, "width": 16, "depth": 3}])
def test_every_stack_predicts_the_same(tmp_path, randomise, sizes):
    torch.manual_seed(5)
    net = TheirNet(**sizes).eval()
    randomise(net)
    image = torch.rand(2, 64, 128, 3)
    with torch.inference_mode():
        expected, found = net(image), load(tmp_path, net.state_dict()).net(image.permute(0, 3, 1, 2))
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= ROUNDING * expected.abs().max()
    assert expected.std(dim=(-2, -1)).min() / expected.abs().max() > 1000 * ROUNDING  # a swapped branch would show


@pytest.mark.parametrize("prefix", ["", "module.", "model.module.", "module.model."])
def test_what_training_programs_wrap_around_it(tmp_path, small, prefix):
    checkpoint = load(
        tmp_path,
        {f"{prefix}{name}": tensor for name, tensor in small.state_dict().items()},
        lambda state: {"state_dict": state, "optimizer": {"state": {}}, "epoch": 3},
    )
    assert checkpoint.name == "checkpoint"
    assert checkpoint.input == InputSpec((256, 256), "rgb", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert (checkpoint.keypoints, checkpoint.decode) == (MPII16, DecodeSpec(stride=4, shift=0.25))


def test_unused_layers_are_told_and_may_be_missing(tmp_path, small, caplog):
    state = small.state_dict()
    with caplog.at_level(logging.DEBUG, "hgedge.checkpoints"):
        whole = load(tmp_path, state)
    told = [message for message in caplog.messages if "ignored: " in message]
    assert any("ignored: pre.3.skip_layer.conv.weight, which no prediction depends on" in message for message in told)
    assert len(told) == 2 * 29 and not any("pre.4.skip_layer" in message for message in told)
    for name in PRINCETON.ignored(shapes_of(small), whole.net.config):
        state[name] = torch.full((1,), float("nan"))
    assert load(tmp_path, state).sha256 == whole.sha256
    for name in PRINCETON.ignored(shapes_of(small), whole.net.config):
        del state[name]
    assert load(tmp_path, state).sha256 == whole.sha256


def test_a_used_skip_layer_must_be_there(tmp_path, small):
    state = small.state_dict()
    del state["pre.4.skip_layer.conv.bias"]
    with pytest.raises(CheckpointError, match=r"nearest is princeton-vl .*: missing: pre\.4\.skip_layer\.conv\.bias$"):
        load(tmp_path, state)
