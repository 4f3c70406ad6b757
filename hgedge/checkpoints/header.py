"""What our weights files say about the network, beside its weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hgedge import records
from hgedge.errors import CheckpointError, ConfigError
from hgedge.models.hourglass import HourglassConfig
from hgedge.pose import KeypointSet
from hgedge.spec import DecodeSpec, InputSpec

METADATA_KEY = "hgedge"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # it becomes part of folder names


@dataclass(frozen=True)
class Header:
    """The network's name, shape and use.

    Attributes:
        name: Letters, digits, dots, dashes and underscores; bundles are called after it.
        config: The network's shape.
        input: What it takes.
        keypoints: What it predicts.
        decode: How its heatmaps become keypoints.
    """

    name: str
    config: HourglassConfig
    input: InputSpec
    keypoints: KeypointSet
    decode: DecodeSpec

    def __post_init__(self) -> None:
        config, hw = self.config, self.input.hw
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"name must be letters, digits, dots, dashes and underscores, but got {self.name!r}")
        if len(self.keypoints) != config.num_keypoints:
            raise ConfigError(
                f"the network predicts {config.num_keypoints} keypoints, but {self.keypoints.name!r} has "
                f"{len(self.keypoints)}"
            )
        if self.input.channels != config.in_channels:
            raise ConfigError(f"the network takes {config.in_channels} channels, but its input is {self.input.color}")
        too_deep = config.depth > min(hw).bit_length()  # told before 2^depth is computed
        if too_deep or hw[0] % config.input_multiple or hw[1] % config.input_multiple:
            raise ConfigError(f"hw must be multiples of {config.stride} * 2^{config.depth}, but got {hw}")
        if self.decode.stride != config.stride:
            raise ConfigError(f"the network's stride is {config.stride}, but decode says {self.decode.stride}")

    def to_metadata(self) -> dict[str, str]:
        """As the metadata of a safetensors file."""
        return {METADATA_KEY: json.dumps(records.to_mapping(self), sort_keys=True, allow_nan=False)}


def header_from_metadata(metadata: Mapping[str, str], where: str) -> Header:
    """Read the header back.

    Args:
        metadata: Of a safetensors file.
        where: What error messages call the file.

    Raises:
        CheckpointError: The file was not written by hgedge, or its header is broken.
    """
    if METADATA_KEY not in metadata:
        raise CheckpointError(
            f"{where} has no metadata {METADATA_KEY!r}, so its network and keypoints are unknown; "
            "write it with hgedge.checkpoints.save_checkpoint"
        )
    try:
        mapping: Any = json.loads(metadata[METADATA_KEY], parse_constant=_refuse_constant)
        if not isinstance(mapping, dict):
            raise ConfigError(f"expected a JSON object, but got {type(mapping).__name__}")
        return records.from_mapping(Header, mapping, "header")
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} has broken metadata: no JSON ({error}); fetch or write it again") from None
    except ConfigError as error:
        raise CheckpointError(f"{where} has broken metadata: {error}; fetch or write it again") from None


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
