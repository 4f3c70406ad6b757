"""Write a trained network as one safetensors file."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors.torch import save_file

from hgedge.checkpoints.header import Header
from hgedge.checkpoints.weights import named_weights
from hgedge.errors import CheckpointError, ConfigError
from hgedge.models.hourglass import HourglassNet
from hgedge.pose import KeypointSet
from hgedge.spec import DecodeSpec, InputSpec


def save_checkpoint(
    path: str | Path,
    net: HourglassNet,
    *,
    name: str,
    input: InputSpec,
    keypoints: KeypointSet,
    decode: DecodeSpec | None = None,
    half: bool = True,
) -> None:
    """Write a network and what belongs to it; the file appears whole or not at all.

    Args:
        path: The safetensors file to write or replace.
        net: The network.
        name: What the network and bundles made from it are called.
        input: What it takes.
        keypoints: What it predicts.
        decode: How its heatmaps become keypoints; by default at its own stride, peaks shifted a quarter cell.
        half: Store 16-bit floats, half the size; else 32-bit.

    Raises:
        CheckpointError: The parts do not fit together, a weight is NaN or Inf, or the file cannot be written.
    """
    path = Path(path)
    decode = decode or DecodeSpec(stride=float(net.config.stride))
    try:
        metadata = Header(name, net.config, input, keypoints, decode).to_metadata()
    except (ConfigError, ValueError) as error:
        raise CheckpointError(f"{path} was not written: {error}") from None
    dtype = torch.float16 if half else torch.float32
    tensors = {name: tensor.to("cpu", dtype).contiguous() for name, tensor in named_weights(net).items()}
    for tensor_name, tensor in tensors.items():
        if not tensor.isfinite().all():
            hint = "; a value above 65504 needs half=False" if half else ""
            raise CheckpointError(f"{path} was not written: {tensor_name} is NaN or Inf as {dtype}{hint}")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(tensors, partial, metadata=metadata)
        partial.chmod(0o644)  # the library makes it readable to its owner alone
        os.replace(partial, path)
    except Exception as error:  # the library has its own type beside OSError
        raise CheckpointError(f"{path} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
