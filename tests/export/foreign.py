"""Networks as other people build and export them, small, with seeded weights."""

from __future__ import annotations

import io
import warnings

import onnx
import torch
from torch import Tensor, nn

KEYPOINTS = 5


class SimpleBaseline(nn.Module):
    """Strided convolutions, then deconvolutions: heatmaps at a quarter of the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(*block(3, 8, 2), *block(8, 12, 2), *block(12, 16, 2))
        self.up = nn.Sequential(nn.ConvTranspose2d(16, 12, 4, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.head = nn.Conv2d(12, KEYPOINTS, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.up(self.down(image)))


class MobileStacks(nn.Module):
    """Depthwise convolutions with ReLU6, two stacks of heatmaps, and features: three outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*block(3, 8, 2, nn.ReLU6), *block(8, 8, 2, nn.ReLU6))
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.SiLU(), nn.Conv2d(8, 8, 1), nn.PReLU())
        self.first = nn.Conv2d(8, KEYPOINTS, 1)
        self.second = nn.Conv2d(8 + KEYPOINTS, KEYPOINTS, 1)
        self.scale = nn.Conv2d(8, 8, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.stem(image)
        deep = nn.functional.interpolate(self.deep(features), scale_factor=2, mode="bilinear", align_corners=False)
        features = features + deep
        features = features * torch.sigmoid(self.scale(features.mean((2, 3), keepdim=True)))
        first = self.first(features)
        return features, first, self.second(torch.cat([features, first], 1))


class OneOutput(MobileStacks):
    """The maps of both stacks in one output, (N, 2, K, h, w)."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack(super().forward(image)[1:], dim=1)


class Shuffled(nn.Module):
    """A channel shuffle, which an export of one fixed batch writes down with its size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Conv2d(8, KEYPOINTS, 3, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.stem(image))
        count, channels, height, width = x.shape
        x = x.reshape(count, 2, channels // 2, height, width).transpose(1, 2).reshape(count, channels, height, width)
        return self.head(x)


class ChannelsLast(nn.Module):
    """Another network with the channels last at both ends."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        return self.net(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def block(read: int, made: int, stride: int, activation: type[nn.Module] = nn.ReLU) -> tuple[nn.Module, ...]:
    return nn.Conv2d(read, made, 3, stride, 1, bias=False), nn.BatchNorm2d(made), activation()


def seeded(make: type[nn.Module]) -> nn.Module:
    """In evaluation mode, with normalisation statistics that are not those of a fresh network."""
    torch.manual_seed(3)
    net = make().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net


def exported(
    net: nn.Module,
    opset: int = 17,
    dynamo: bool = False,
    free: dict[int, str] | None = None,
    outputs: int = 1,
    hw=(64, 64),
) -> onnx.ModelProto:
    """What PyTorch's exporters make of it; `free`: axes of the input to leave free, with their names."""
    channels_last = isinstance(net, ChannelsLast)
    picture = torch.zeros((2, *hw, 3) if channels_last else (2, 3, *hw))
    picture = picture if free else picture[:1]
    names = ["out"] if outputs == 1 else [f"out{index}" for index in range(outputs)]
    arguments = {"input_names": ["x"], "output_names": names, "opset_version": opset}
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({axis: torch.export.Dim.AUTO for axis in free},) if free else None
            program = torch.onnx.export(net, (picture,), dynamo=True, verbose=False, dynamic_shapes=shapes, **arguments)
            return program.model_proto
        axes = {name: {0: "n"} for name in names} | {"x": free} if free else None
        torch.onnx.export(net, (picture,), buffer, dynamo=False, dynamic_axes=axes, **arguments)
    return onnx.load_from_string(buffer.getvalue())
