"""Trained networks as files: ours, and those that others published."""

from __future__ import annotations

import dataclasses
import difflib
import os

from hgedge.checkpoints.load import Checkpoint, load_checkpoint
from hgedge.checkpoints.save import save_checkpoint
from hgedge.checkpoints.weights import weights_digest
from hgedge.errors import CheckpointError
from hgedge.models.zoo import DEFAULT, RELEASED, pulled_weights, shipped_weights, zoo_names

__all__ = ["Checkpoint", "load_checkpoint", "resolve", "save_checkpoint", "weights_digest"]


def resolve(model: str | None) -> Checkpoint:
    """The network that a user means.

    Args:
        model: A name from the zoo, a checkpoint file, or None for the default. A name goes before a file of that name.

    Raises:
        CheckpointError: There is no such file, its network cannot be read, or the name's weights are not here.
    """
    name = DEFAULT if model is None else model
    if name in zoo_names():
        weights = shipped_weights(name) or pulled_weights(name)
        if weights is None:
            pull = f"pull them with: hgedge models pull {name}, or " if name in RELEASED else ""
            raise CheckpointError(f"the weights of {name!r} are not shipped with hgedge; {pull}give a checkpoint file")
        return dataclasses.replace(load_checkpoint(weights), name=name)
    if os.path.exists(name):
        return load_checkpoint(name)
    close = difflib.get_close_matches(name, zoo_names(), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise CheckpointError(f"no such file: {name!r}; give a checkpoint, or one of: {', '.join(zoo_names())}{hint}")
