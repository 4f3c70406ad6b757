"""The network of four stacks that `training.toml` starts from: the default model, whose second stack comes three times.

    python benchmarks/adaptive/start.py start.safetensors

What stacks 3 and 4 get from the one before is 0 at first: so they predict what stack 2 does, and learn to do better.
"""

import dataclasses
import re
import sys

import torch

from hgedge.checkpoints import resolve
from hgedge.checkpoints.save import save_checkpoint
from hgedge.models.hourglass import HourglassNet

STACKS = 4
PARTS = re.compile(r"(hgs|features|outs|merge_features|merge_preds)\.(\d+)\.")


def deepened(default):
    """A `HourglassNet` of `STACKS` stacks that predicts as the default model after each from the second on."""
    net = HourglassNet(dataclasses.replace(default.net.config, num_stacks=STACKS))
    weights = default.net.state_dict()
    last = {"hgs": 1, "features": 1, "outs": 1, "merge_features": 0, "merge_preds": 0}
    found = {}
    for name, value in net.state_dict().items():
        match = PARTS.match(name)
        stack = int(match[2]) if match else 0
        own = match is None or stack <= last[match[1]]
        source = name if own else f"{match[1]}.{last[match[1]]}.{name[match.end() :]}"
        found[name] = weights[source] if own or "merge" not in name else torch.zeros_like(value)
    net.load_state_dict(found)
    return net.eval()


if __name__ == "__main__":
    default = resolve(None)
    net = deepened(default)
    save_checkpoint(sys.argv[1], net, name="adaptive", input=default.input, keypoints=default.keypoints)
