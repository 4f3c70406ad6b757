"""A trained network whose maps another one learns from."""

from __future__ import annotations

import torch
from torch import Tensor

from hgedge.checkpoints import resolve
from hgedge.errors import ConfigError
from hgedge.models.hourglass import channels_last
from hgedge.pose import KeypointSet
from hgedge.spec import DecodeSpec
from hgedge.training.config import TrainingConfig
from hgedge.training.data import network_input


class Teacher:
    """Predicts maps for the crops that a student sees; learns nothing itself.

    Raises:
        ConfigError: Its maps are of other keypoints, or cannot be laid over the student's.
        CheckpointError: It cannot be read.
    """

    def __init__(self, name: str, config: TrainingConfig, keypoints: KeypointSet, device: torch.device) -> None:
        checkpoint = resolve(name)
        self.net = channels_last(checkpoint.net).to(device).eval().requires_grad_(False)
        self.input, self.sha256 = checkpoint.input, checkpoint.sha256
        if checkpoint.keypoints.names != keypoints.names:
            raise ConfigError(
                f"the teacher {name} predicts the keypoints {checkpoint.keypoints.name!r}, but the data set is "
                f"labelled with {keypoints.name!r}; take a teacher of the same keypoints"
            )
        if checkpoint.input.color != config.color:
            raise ConfigError(
                f"the teacher {name} takes {checkpoint.input.color} pictures, but color is {config.color}"
            )
        decode = checkpoint.decode
        if (decode.stride, decode.convention) != (config.model.stride, DecodeSpec().convention):
            raise ConfigError(
                f"the teacher's maps ({decode}) do not lie over those of a network of stride {config.model.stride}"
            )
        for phase in config.phases:
            if phase.input_size % checkpoint.net.config.input_multiple:
                raise ConfigError(
                    f"the teacher {name} needs input sizes that are multiples of "
                    f"{checkpoint.net.config.input_multiple}, but a phase has {phase.input_size}"
                )

    @torch.no_grad()
    def __call__(self, crops: Tensor) -> Tensor:
        """Maps (N, K, h, w) float32 of its last stack for crops (N, H, W, C) uint8, BGR or grey."""
        return self.net(network_input(crops, self.input))[:, -1].float()
