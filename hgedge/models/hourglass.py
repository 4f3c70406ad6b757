"""The stacked hourglass network.

Source: Newell, Yang and Deng, "Stacked Hourglass Networks for Human Pose Estimation", ECCV 2016.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hgedge.errors import ConfigError

STEMS = ("conv7x7", "conv7x7-late", "pointwise")
HEADS = ("residual", "rectified")


@dataclass(frozen=True)
class HourglassConfig:
    """The shape of a stacked hourglass.

    Attributes:
        num_stacks: Hourglasses in a row; each one predicts.
        num_blocks: Residuals at each place of an hourglass.
        num_features: Channels of the residual stream; a multiple of 4.
        depth: Times that an hourglass halves its input.
        num_keypoints: Heatmaps a stack.
        in_channels: Channels of the picture.
        stem: How the picture becomes features. "conv7x7" and "conv7x7-late" quarter the size and differ in which of
            their residuals widens to `num_features`, the second or the last; "pointwise" keeps the size.
        head: How features become heatmaps. "residual": a residual, a convolution, BatchNorm and ReLU, then the
            predicting convolution; "rectified": the predicting convolution at once, then BatchNorm and ReLU.
    """

    num_stacks: int = 2
    num_blocks: int = 1
    num_features: int = 256
    depth: int = 4
    num_keypoints: int = 16
    in_channels: int = 3
    stem: str = "conv7x7"
    head: str = "residual"

    def __post_init__(self) -> None:
        for name in ("num_stacks", "num_blocks", "num_features", "depth", "num_keypoints", "in_channels"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name} must be a positive integer, but got {value!r}")
        if self.num_features % 4:
            raise ConfigError(f"num_features must be a multiple of 4, but got {self.num_features}")
        for name, known in (("stem", STEMS), ("head", HEADS)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} must be one of {', '.join(known)}, but got {getattr(self, name)!r}")

    @property
    def stride(self) -> int:
        """Input pixels a heatmap cell."""
        return 1 if self.stem == "pointwise" else 4

    @property
    def input_multiple(self) -> int:
        """Input height and width must be multiples of this."""
        return self.stride * 2**self.depth


class Residual(nn.Module):
    """Pre-activation bottleneck: three times BatchNorm, ReLU, convolution (1x1, 3x3, 1x1), plus the skip.

    The skip is a 1x1 convolution of the raw input where the number of channels changes.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        middle = out_channels // 2
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, middle, 1)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, out_channels, 1)
        self.relu = nn.ReLU(inplace=True)
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.relu(self.bn1(x)))
        y = self.conv2(self.relu(self.bn2(y)))
        y = self.conv3(self.relu(self.bn3(y)))
        return self.skip(x) + y


def channels_last(net: HourglassNet) -> HourglassNet:
    """The network with its weights laid out channels last, in place, for convolutions that run faster so."""
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def residuals(count: int, in_channels: int, out_channels: int) -> nn.Sequential:
    """`count` residuals in a row; the first one changes the number of channels."""
    return nn.Sequential(*(Residual(in_channels if i == 0 else out_channels, out_channels) for i in range(count)))


class Hourglass(nn.Module):
    """Halve the size, work on it there (recursively), double it again, and add what never left this size."""

    def __init__(self, depth: int, num_features: int, num_blocks: int) -> None:
        super().__init__()
        self.up = residuals(num_blocks, num_features, num_features)
        self.pool = nn.MaxPool2d(2)
        self.down = residuals(num_blocks, num_features, num_features)
        self.inner = (
            Hourglass(depth - 1, num_features, num_blocks)
            if depth > 1
            else residuals(num_blocks, num_features, num_features)
        )
        self.out = residuals(num_blocks, num_features, num_features)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        low = self.out(self.inner(self.down(self.pool(x))))
        return self.up(x) + self.upsample(low)


class Stem(nn.Module):
    """To a quarter of the size: 7x7 convolution of stride 2, residual, max pooling, two residuals."""

    def __init__(self, in_channels: int, num_features: int, late: bool) -> None:
        super().__init__()
        quarter, half = num_features // 4, num_features // 2
        self.conv = nn.Conv2d(in_channels, quarter, 7, stride=2, padding=3)
        self.bn = nn.BatchNorm2d(quarter)
        self.relu = nn.ReLU(inplace=True)
        self.residual1 = Residual(quarter, half)
        self.pool = nn.MaxPool2d(2)
        self.residual2 = Residual(half, half if late else num_features)
        self.residual3 = Residual(half if late else num_features, num_features)

    def forward(self, image: Tensor) -> Tensor:
        x = self.relu(self.bn(self.conv(image)))
        return self.residual3(self.residual2(self.pool(self.residual1(x))))


def stem(config: HourglassConfig) -> nn.Module:
    """From the picture to features."""
    features = config.num_features
    if config.stem != "pointwise":
        return Stem(config.in_channels, features, config.stem == "conv7x7-late")
    convs = nn.Conv2d(config.in_channels, features // 2, 1), nn.Conv2d(features // 2, features, 1)
    relus = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
    return nn.Sequential(OrderedDict(conv1=convs[0], relu1=relus[0], conv2=convs[1], relu2=relus[1]))


def feature_block(config: HourglassConfig) -> nn.Module:
    """From an hourglass to the features that its prediction is made from."""
    if config.head == "rectified":
        return nn.Identity()
    features = config.num_features
    return nn.Sequential(
        residuals(config.num_blocks, features, features),
        nn.Conv2d(features, features, 1),
        nn.BatchNorm2d(features),
        nn.ReLU(inplace=True),
    )


def prediction(config: HourglassConfig) -> nn.Module:
    """From features to heatmaps."""
    conv = nn.Conv2d(config.num_features, config.num_keypoints, 1)
    if config.head == "residual":
        return conv
    norm, relu = nn.BatchNorm2d(config.num_keypoints), nn.ReLU(inplace=True)
    return nn.Sequential(OrderedDict(conv=conv, bn=norm, relu=relu))


class HourglassNet(nn.Module):
    """Stem, then `num_stacks` hourglasses; each predicts heatmaps and hands features and prediction to the next."""

    def __init__(self, config: HourglassConfig) -> None:
        super().__init__()
        self.config = config
        features, keypoints, stacks = config.num_features, config.num_keypoints, config.num_stacks
        self.stem = stem(config)
        self.hgs = nn.ModuleList(Hourglass(config.depth, features, config.num_blocks) for _ in range(stacks))
        self.features = nn.ModuleList(feature_block(config) for _ in range(stacks))
        self.outs = nn.ModuleList(prediction(config) for _ in range(stacks))
        self.merge_features = nn.ModuleList(nn.Conv2d(features, features, 1) for _ in range(stacks - 1))
        self.merge_preds = nn.ModuleList(nn.Conv2d(keypoints, features, 1) for _ in range(stacks - 1))

    def forward(self, image: Tensor, num_stacks: int | None = None) -> Tensor:
        """Predict heatmaps after every stack.

        Args:
            image: (N, C, H, W) float, normalised; H and W multiples of `config.input_multiple`.
            num_stacks: Stop after this many stacks; all by default.

        Returns:
            (N, num_stacks, K, H / stride, W / stride), first stack first.
        """
        x = self.stem(image)
        predictions = []
        for stack, (hg, feature, out) in enumerate(zip(self.hgs, self.features, self.outs)):
            if stack == num_stacks:
                break
            y = feature(hg(x))
            heatmaps = out(y)
            predictions.append(heatmaps)
            if stack < len(self.merge_features):
                x = x + self.merge_features[stack](y) + self.merge_preds[stack](heatmaps)
        return torch.stack(predictions, dim=1)
