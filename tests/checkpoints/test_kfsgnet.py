"""The KFSGNet lineage against a reimplementation under its authors' names, and its published weights against theirs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hgedge.checkpoints import load_checkpoint, save_checkpoint
from hgedge.checkpoints.key_maps import COUNTER, KFSGNET
from hgedge.datasets.keypoint_sets import FACE15
from hgedge.errors import CheckpointError
from hgedge.models.hourglass import HourglassConfig
from hgedge.runtime.decode import decode
from hgedge.spec import DecodeSpec, InputSpec

ROUNDING = 1e-6  # the same convolutions in the same order
OTHER_LIBRARY = 2e-5  # maps reach 1; written down by another PyTorch on another processor
PUBLISHED = HourglassConfig(1, 1, 128, 4, 15, 1, stem="pointwise", head="rectified")


class ConvBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        layers = []
        for inputs, outputs, size in ((width, width // 2, 1), (width // 2, width // 2, 3), (width // 2, width, 1)):
            layers += [nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, size, padding=size // 2)]
        self.convBlock = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.convBlock(x)


class TheirHourglass(nn.Module):
    def __init__(self, depth, width):
        super().__init__()
        self.depth = depth
        for level in range(depth, 0, -1):
            for branch in (1, 2, 3):
                self.add_module(f"res{level}_{branch}", ConvBlock(width))
        self.res_center = ConvBlock(width)

    def forward(self, x):
        kept = []
        for level in range(self.depth, 0, -1):
            kept.append(getattr(self, f"res{level}_1")(x))
            x = getattr(self, f"res{level}_2")(F.max_pool2d(x, 2, 2))
        x = self.res_center(x)
        for level in range(1, self.depth + 1):
            x = getattr(self, f"res{level}_3")(x)
            x = kept.pop() + x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        return x


class Lin(nn.Module):
    def __init__(self, width, points):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(width, points, 1), nn.BatchNorm2d(points)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class TheirNet(nn.Module):
    """The network of raymon-tian/hourglass-facekeypoints-detection; width 128, depth 4 and 15 points as published."""

    def __init__(self, width=128, depth=4, points=15):
        super().__init__()
        self.add_module("_KFSGNet__conv1", nn.Conv2d(1, width // 2, 1))
        self.add_module("_KFSGNet__conv2", nn.Conv2d(width // 2, width, 1))
        self.add_module("_KFSGNet__hg", TheirHourglass(depth, width))
        self.add_module("_KFSGNet__lin", Lin(width, points))

    def forward(self, x):
        for name in ("conv1", "conv2"):
            x = F.relu(self.get_submodule(f"_KFSGNet__{name}")(x))
        return self.get_submodule("_KFSGNet__lin")(self.get_submodule("_KFSGNet__hg")(x))


@pytest.fixture(scope="module")
def published(shared_data):
    path = shared_data / "checkpoints" / "face15_hourglass" / "kd_epoch_1049_model.ckpt"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


def state_of(net):
    """As PyTorch 0.3 wrote it, without counters."""
    return {name: tensor for name, tensor in net.state_dict().items() if not name.endswith(COUNTER)}


def test_the_reimplementation_has_the_published_names_and_shapes(published):
    theirs = torch.load(published, map_location="cpu", weights_only=True)
    assert {name: tensor.shape for name, tensor in theirs.items()} == {
        name: tensor.shape for name, tensor in state_of(TheirNet()).items()
    }
    assert KFSGNET.ours(PUBLISHED).keys() == theirs.keys() and len(theirs) == 244


@pytest.mark.parametrize("sizes", [{}, {"width": 16, "depth": 2}, {"width": 8, "depth": 5}])
def test_it_predicts_the_same(tmp_path, randomise, sizes):
    torch.manual_seed(5)
    net = TheirNet(**sizes).eval()
    randomise(net)
    torch.save(state_of(net), tmp_path / "face.ckpt")
    checkpoint = load_checkpoint(tmp_path / "face.ckpt")
    image = torch.rand(2, 1, 32, 64)
    with torch.inference_mode():
        expected, found = net(image), checkpoint.net(image)[:, 0]
    assert found.shape == expected.shape == (2, 15, 32, 64)
    assert (found - expected).abs().max() <= ROUNDING * expected.abs().max()
    spread = expected.std(dim=(-2, -1)).flatten() / expected.abs().max()
    assert (spread > 1000 * ROUNDING).float().mean() >= 0.25  # a swapped branch would show; the ReLU empties some


def test_input_and_keypoints_of_the_lineage(tmp_path):
    torch.save(TheirNet(8).state_dict(), tmp_path / "face.ckpt")
    checkpoint = load_checkpoint(tmp_path / "face.ckpt")
    assert checkpoint.input == InputSpec((96, 96), "gray", (0.0,), (1.0,))
    assert (checkpoint.keypoints, checkpoint.decode) == (FACE15, DecodeSpec(stride=1, shift=0))


def test_another_number_of_points(tmp_path):
    torch.save(TheirNet(8, points=68).state_dict(), tmp_path / "face.ckpt")
    with pytest.raises(CheckpointError, match=r"68 keypoints, but the known sets of KFSGNet are: face15 \(15\)"):
        load_checkpoint(tmp_path / "face.ckpt")


def test_the_published_weights_give_their_published_maps_and_peaks(published, shared_data):
    faces = shared_data / "faces"
    with np.load(faces / "faces96.npz") as crops, np.load(faces / "face15_epoch1049_fp32.npz") as reference:
        chosen = np.r_[:4, 4:1000:60]
        images = torch.from_numpy(crops["image"][chosen, None].astype(np.float32) / 255)
        maps, peaks, values = (reference[name] for name in ("heatmaps_first4", "peak_xy", "peak_value"))
    checkpoint = load_checkpoint(published)
    assert checkpoint.net.config == PUBLISHED
    assert (
        sum(p.numel() for p in checkpoint.net.parameters()) == 712_621
    )  # and 6,686 running statistics: 719,307 values
    with torch.inference_mode():
        found = checkpoint.net(images)[:, 0].numpy()
    np.testing.assert_allclose(found[:4], maps, rtol=0, atol=OTHER_LIBRARY)
    keypoints, scores = decode(found, checkpoint.decode.stride, checkpoint.decode.shift)
    np.testing.assert_array_equal(keypoints, peaks[chosen])
    np.testing.assert_allclose(scores, values[chosen], rtol=0, atol=OTHER_LIBRARY)


def test_it_survives_our_own_format(tmp_path, randomise):
    torch.manual_seed(5)
    net = TheirNet(16).eval()
    randomise(net)
    torch.save(net.state_dict(), tmp_path / "face.ckpt")
    first = load_checkpoint(tmp_path / "face.ckpt")
    parts = {"input": first.input, "keypoints": first.keypoints, "decode": first.decode}
    save_checkpoint(tmp_path / "face.safetensors", first.net, name="face", half=False, **parts)
    second = load_checkpoint(tmp_path / "face.safetensors")
    assert (second.sha256, second.decode, second.net.config) == (first.sha256, first.decode, first.net.config)
