"""The weights that make a network what it is, in one order, and their digest."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor

from hgedge import records
from hgedge.checkpoints.key_maps import COUNTER
from hgedge.models.hourglass import HourglassConfig, HourglassNet

LATER_FIELDS = ("head",)  # of the config, added when digests were in use; at their default they do not count


def named_weights(net: HourglassNet) -> dict[str, Tensor]:
    """Parameters and running statistics by sorted name, without the counters of batch normalisation."""
    state = net.state_dict()
    return {name: state[name].detach() for name in sorted(state) if not name.endswith(COUNTER)}


def weights_digest(net: HourglassNet) -> str:
    """The sha256 of a network: the same for the same config and weights, whatever file they come from.

    It is over the config as JSON with sorted keys, then for each tensor in the order of names a line of name and
    shape and the values as little-endian float32. `LATER_FIELDS` that hold their default are left out of the config.
    """
    config = records.to_mapping(net.config)
    config = {k: v for k, v in config.items() if k not in LATER_FIELDS or v != getattr(HourglassConfig, k)}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode() + b"\n")
    for name, tensor in named_weights(net).items():
        digest.update(f"{name} {list(tensor.shape)}\n".encode())
        digest.update(tensor.to("cpu", torch.float32).numpy().astype("<f4").tobytes())
    return digest.hexdigest()
