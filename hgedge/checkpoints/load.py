"""Read a trained network from our own files or from published PyTorch checkpoints."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hgedge.checkpoints.header import Header, header_from_metadata
from hgedge.checkpoints.key_maps import COUNTER, HGEDGE, LINEAGES, Lineage, Shapes, tensor_shapes
from hgedge.checkpoints.read_tensors import read_tensors
from hgedge.checkpoints.weights import weights_digest
from hgedge.errors import CheckpointError, ConfigError
from hgedge.models.hourglass import HourglassConfig, HourglassNet
from hgedge.pose import KeypointSet
from hgedge.spec import DecodeSpec, InputSpec

log = logging.getLogger(__name__)

SHOWN = 3  # names in a message
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # 8-bit ones need scales, which lie elsewhere


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and what belongs to it.

    Attributes:
        name: What bundles made from it are called.
        net: In evaluation mode, float32, on the CPU.
        input: What it takes.
        keypoints: What it predicts.
        decode: How its heatmaps become keypoints.
        sha256: `weights_digest` of the network.
    """

    name: str
    net: HourglassNet
    input: InputSpec
    keypoints: KeypointSet
    decode: DecodeSpec
    sha256: str


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a network.

    Args:
        path: A safetensors file that `save_checkpoint` wrote, or a PyTorch checkpoint of a known lineage.

    Raises:
        CheckpointError: The file cannot be read, holds another network, or weights that are not finite.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(COUNTER)}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    lineage = HGEDGE if metadata is not None else nearest_lineage(shapes)
    config = lineage.config(shapes)
    for name in lineage.ignored(shapes, config):
        log.debug("%s: ignored: %s, which no prediction depends on", path, name)
        del tensors[name], shapes[name]
    header = None if metadata is None else header_from_metadata(metadata, str(path))
    check_tensors(shapes, lineage, config, path)
    if header is None:
        header = published_header(lineage, config, path)
    elif header.config != config:
        raise CheckpointError(
            f"{path} holds the weights of {config}, but its metadata says {header.config}; fetch or write it again"
        )
    ours = lineage.ours(config)
    net = build(config, {ours[name]: as_float32(name, tensor, path) for name, tensor in tensors.items()})
    return Checkpoint(header.name, net, header.input, header.keypoints, header.decode, weights_digest(net))


def nearest_lineage(shapes: Shapes) -> Lineage:
    """The lineage that most of a PyTorch checkpoint's names belong to."""
    return max(
        (*LINEAGES, HGEDGE), key=lambda lineage: len(lineage.ours(lineage.config(shapes)).keys() & shapes.keys())
    )


def check_tensors(shapes: Shapes, lineage: Lineage, config: HourglassConfig, path: Path) -> None:
    """Compare names and shapes with those that a network of this lineage has.

    Raises:
        CheckpointError: A tensor is missing, too many, or of the wrong shape.
    """
    ours_shapes = tensor_shapes(config)
    expected = {theirs: ours_shapes[ours] for theirs, ours in lineage.ours(config).items()}
    missing = [name for name in expected if name not in shapes]
    extra = [name for name in shapes if name not in expected]
    wrong = [
        f"{name} is {shapes[name]}, not {shape}" for name, shape in expected.items() if shapes.get(name, shape) != shape
    ]
    problems = [
        f"{what} {', '.join(names[:SHOWN])}{f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''}"
        for what, names in (("missing:", missing), ("not expected:", extra), ("wrong shape:", wrong))
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{path} is not a stacked hourglass that hgedge knows; the nearest is {lineage.name} ({config.num_stacks} "
            f"stacks, {config.num_features} features, {config.num_keypoints} keypoints): {'; '.join(problems)}"
        )


def published_header(lineage: Lineage, config: HourglassConfig, path: Path) -> Header:
    """Name, input and keypoints of a published checkpoint, which does not state them itself.

    Raises:
        CheckpointError: No keypoint set of the lineage has as many keypoints, or the input does not fit.
    """
    if lineage is HGEDGE:
        raise CheckpointError(
            f"{path} holds hgedge's own weights without input and keypoints; "
            "write them with hgedge.checkpoints.save_checkpoint"
        )
    keypoints = {len(known): known for known in lineage.keypoints}
    if config.num_keypoints not in keypoints:
        known = ", ".join(f"{known.name} ({len(known)})" for known in lineage.keypoints)
        raise CheckpointError(
            f"{path} predicts {config.num_keypoints} keypoints, but the known sets of {lineage.name} are: {known}"
        )
    stem = re.sub(r"(\.(pth|pt|ckpt|tar))+$", "", path.name)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("._-") or lineage.name
    try:
        return Header(name, config, lineage.input, keypoints[config.num_keypoints], lineage.decode)
    except ConfigError as error:
        raise CheckpointError(f"{path} does not fit the lineage {lineage.name}: {error}") from None


def as_float32(name: str, tensor: Tensor, path: Path) -> Tensor:
    """A copy of a tensor as float32.

    Raises:
        CheckpointError: It does not hold floats, or one that is NaN or Inf.
    """
    if tensor.dtype not in FLOATS or tensor.layout != torch.strided:
        kind = f"{tensor.dtype}, {tensor.layout}".replace("torch.", "")
        raise CheckpointError(
            f"{path}: {name} must hold floats, but is {kind}; give the checkpoint before quantisation"
        )
    values = tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
    if not values.isfinite().all():
        raise CheckpointError(f"{path}: {name} holds NaN or Inf; its training diverged, or the file is damaged")
    return values


def build(config: HourglassConfig, weights: dict[str, Tensor]) -> HourglassNet:
    """The network with these weights, in evaluation mode."""
    with torch.device("meta"):
        net = HourglassNet(config)
    counters = {name: torch.zeros((), dtype=torch.int64) for name in net.state_dict() if name.endswith(COUNTER)}
    net.load_state_dict({**weights, **counters}, assign=True)
    return net.eval()
