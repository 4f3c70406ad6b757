"""Weights to start from: those of a trained network, instead of random ones."""

from __future__ import annotations

import logging
from dataclasses import replace

from torch import nn

from hgedge.checkpoints import Checkpoint, resolve
from hgedge.errors import ConfigError
from hgedge.pose import KeypointSet
from hgedge.training.config import TrainingConfig

log = logging.getLogger(__name__)


def start_of(name: str, config: TrainingConfig) -> Checkpoint:
    """The trained network that a run starts from.

    Raises:
        ConfigError: It is built in another way than the config's, or takes another input.
        CheckpointError: It cannot be read.
    """
    checkpoint = resolve(name)
    own = replace(checkpoint.net.config, num_keypoints=config.model.num_keypoints)
    if own != config.model:
        raise ConfigError(f"{name} is {own}, but model is {config.model}; start from a network of the same build")
    same = ("color", "mean", "std")
    theirs, ours = ({each: getattr(spec, each) for each in same} for spec in (checkpoint.input, config.input))
    if theirs != ours:
        raise ConfigError(f"{name} takes an input of {theirs}, but the config says {ours}; set it to {name}'s")
    return checkpoint


def take_weights(net: nn.Module, checkpoint: Checkpoint, keypoints: KeypointSet) -> None:
    """Set a network's weights; of other keypoints, all but those of the layers that make or read maps."""
    weights = checkpoint.net.state_dict()
    if checkpoint.keypoints.names != keypoints.names:
        ends = ("outs.", "merge_preds.")
        weights = {name: value for name, value in weights.items() if not name.startswith(ends)}
        log.info("%d tensors start anew, as the keypoints differ", len(net.state_dict()) - len(weights))
    net.load_state_dict(weights, strict=checkpoint.keypoints.names == keypoints.names)
