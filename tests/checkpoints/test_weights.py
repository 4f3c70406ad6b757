"""The digest of a network."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import torch

from hgedge.checkpoints import load_checkpoint, weights_digest
from hgedge.checkpoints.key_maps import ANIBALI
from hgedge.checkpoints.weights import LATER_FIELDS


def test_equals_a_plain_computation(make_net):
    net = make_net()
    config = {
        "depth": 4, "in_channels": 3, "num_blocks": 1, "num_features": 8, "num_keypoints": 14, "num_stacks": 2,
        "stem": "conv7x7",
    }  # fmt: skip
    content = json.dumps(config).encode() + b"\n"
    for name, tensor in sorted(net.state_dict().items()):
        if "num_batches_tracked" not in name:
            values = np.ascontiguousarray(tensor.numpy(), dtype="<f4")
            content += f"{name} {list(values.shape)}\n".encode() + values.tobytes()
    assert weights_digest(net) == hashlib.sha256(content).hexdigest()


def test_a_field_that_came_later_counts_where_it_is_not_the_default(make_net):
    net = make_net(num_stacks=1, head="rectified", stem="pointwise")
    assert list(LATER_FIELDS) == ["head"]
    digest = hashlib.sha256(
        b'{"depth": 4, "head": "rectified", "in_channels": 3, "num_blocks": 1, '
        b'"num_features": 8, "num_keypoints": 14, "num_stacks": 1, "stem": "pointwise"}\n'
    )
    for name, tensor in sorted(net.state_dict().items()):
        if "num_batches_tracked" not in name:
            digest.update(f"{name} {list(tensor.shape)}\n".encode() + tensor.numpy().astype("<f4").tobytes())
    assert weights_digest(net) == digest.hexdigest()


def test_memory_layout_mode_and_counters_do_not_count(make_net):
    net = make_net()
    expected = weights_digest(net)
    net.stem.bn.num_batches_tracked += 7
    assert weights_digest(net.train().to(memory_format=torch.channels_last)) == expected


def test_every_weight_counts(make_net):
    net = make_net()
    digests = {weights_digest(net)}
    for tensor in (net.stem.conv.weight, net.hgs[1].inner.up[0].bn2.running_var, net.outs[0].bias):
        tensor.data.view(-1)[-1] += 0.25
        digests.add(weights_digest(net))
    assert len(digests) == 4


def test_does_not_depend_on_the_format(tmp_path, make_net):
    net = make_net()
    theirs = ANIBALI.theirs(net.config)
    state = {theirs[name]: tensor for name, tensor in net.state_dict().items() if name in theirs}
    torch.save(dict(reversed(state.items())), tmp_path / "a.pth")
    assert load_checkpoint(tmp_path / "a.pth").sha256 == weights_digest(net)
