"""Metadata of our files that is missing, broken, or made up."""

from __future__ import annotations

import copy
import json

import pytest
from safetensors.torch import save_file

from hgedge.checkpoints import load_checkpoint
from hgedge.checkpoints.header import Header, header_from_metadata
from hgedge.checkpoints.weights import named_weights
from hgedge.datasets.keypoint_sets import LSP14
from hgedge.errors import CheckpointError
from hgedge.models.hourglass import HourglassConfig
from hgedge.spec import DecodeSpec, InputSpec

HEADER = Header("small", HourglassConfig(2, 1, 8, 4, 14), InputSpec((64, 64)), LSP14, DecodeSpec())


def changed(*path, value):
    """The header's JSON with one value changed; None removes it."""
    mapping = copy.deepcopy(json.loads(HEADER.to_metadata()["hgedge"]))
    inner = mapping
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    if value is None:
        del inner[path[-1]]
    return json.dumps(mapping)


def test_comes_back():
    assert header_from_metadata(HEADER.to_metadata(), "file") == HEADER


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "has no metadata 'hgedge', so its network and keypoints are unknown; write it with"),
        ({"format": "pt"}, "has no metadata 'hgedge'"),
        ({"hgedge": "{"}, "has broken metadata: no JSON"),
        ({"hgedge": "[" * 100_000}, "has broken metadata: no JSON"),
        ({"hgedge": "[1]"}, "has broken metadata: expected a JSON object, but got list"),
        ({"hgedge": changed("config", value=None)}, "has broken metadata: header: 'config' is missing"),
        ({"hgedge": changed("config", "num_stacks", value="2")}, "'config.num_stacks' must be int, but is '2'"),
        ({"hgedge": changed("config", "num_stack", value=2)}, "unknown key 'num_stack'"),
        ({"hgedge": changed("config", "depth", value=10**12)}, r"hw must be multiples of 4 \* 2\^1000000000000"),
        ({"hgedge": changed("config", "num_stacks", value=10**12)}, "holds the weights of .*num_stacks=2, .*says"),
        ({"hgedge": changed("input", "hw", value=[64, 60])}, "hw must be multiples of"),
        ({"hgedge": changed("input", "std", value=[1.0, 0.0, 1.0])}, "std above 0"),
        ({"hgedge": changed("input", "mean", value=[float("nan")] * 3)}, "NaN is no number"),
        ({"hgedge": changed("keypoints", "flip_indices", value=[0] * 14)}, "must be a permutation of 14"),
        ({"hgedge": changed("keypoints", "names", value=["a"])}, "permutation of 1 keypoints"),
        ({"hgedge": changed("name", value="../../etc")}, "name must be letters, .*but got '../../etc'"),
        ({"hgedge": changed("decode", "stride", value=8.0)}, "stride is 4, but decode says 8.0"),
    ],
)
def test_bad_metadata(tmp_path, make_net, metadata, message):
    path = tmp_path / "a.safetensors"
    save_file(named_weights(make_net()), path, metadata=metadata)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert "a.safetensors" in str(caught.value)
