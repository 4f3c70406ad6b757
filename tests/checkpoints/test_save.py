"""What is written comes back, and a failed write leaves nothing."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from hgedge.checkpoints import load_checkpoint, save_checkpoint, weights_digest
from hgedge.datasets.keypoint_sets import LSP14, MPII16
from hgedge.errors import CheckpointError
from hgedge.pose import KeypointSet
from hgedge.spec import DecodeSpec, InputSpec

INPUT = InputSpec((64, 128), "bgr", (0.5, 0.25, 0.125), (0.2, 0.3, 0.4))
HALF_ROUNDING = 2**-11  # relative, of float16's 11 significant bits
HALF_SMALLEST = 2**-25  # absolute, half the smallest step of float16


def save(path, net, **changes):
    save_checkpoint(path, net, **{"name": "small", "input": INPUT, "keypoints": LSP14, **changes})


@pytest.mark.parametrize("half", [False, True])
def test_comes_back_whole(tmp_path, make_net, half):
    net = make_net(num_keypoints=3, num_blocks=2, depth=3)
    odd = KeypointSet("mine", ("nose", "left ü", "right"), ((0, 1),), (0, 2, 1))
    decode = DecodeSpec(stride=4.0, shift=0.0)
    save(tmp_path / "a.safetensors", net, name="mine-2.0", keypoints=odd, decode=decode, half=half)
    found = load_checkpoint(tmp_path / "a.safetensors")
    assert (found.name, found.input, found.keypoints, found.decode) == ("mine-2.0", INPUT, odd, decode)
    assert found.net.config == net.config
    assert not found.net.training
    assert found.sha256 == weights_digest(found.net)
    for (name, expected), (found_name, tensor) in zip(net.state_dict().items(), found.net.state_dict().items()):
        assert name == found_name
        if not name.endswith("num_batches_tracked"):
            assert tensor.dtype == torch.float32
            error = (tensor - expected).abs()
            assert (error <= (HALF_ROUNDING * expected.abs() + HALF_SMALLEST if half else 0)).all()


def test_32_bits_predict_the_same(tmp_path, make_net):
    net, image = make_net(), torch.randn(1, 3, 64, 64)
    save(tmp_path / "a.safetensors", net, half=False)
    found = load_checkpoint(tmp_path / "a.safetensors")
    with torch.inference_mode():
        assert torch.equal(found.net(image), net(image))
    assert found.sha256 == weights_digest(net)


def test_a_second_round_in_half_changes_nothing(tmp_path, make_net):
    save(tmp_path / "a.safetensors", make_net())
    first = load_checkpoint(tmp_path / "a.safetensors")
    save(tmp_path / "b.safetensors", first.net)
    save(tmp_path / "c.safetensors", first.net, half=False)
    assert load_checkpoint(tmp_path / "b.safetensors").sha256 == first.sha256
    assert load_checkpoint(tmp_path / "c.safetensors").sha256 == first.sha256
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_what_the_file_holds(tmp_path, make_net):
    net = make_net().to(memory_format=torch.channels_last)
    save(tmp_path / "a.safetensors", net)
    with safe_open(tmp_path / "a.safetensors", framework="np") as file:
        metadata = json.loads(file.metadata()["hgedge"])
        dtypes = {file.get_tensor(name).dtype.name for name in file.keys()}
        names = set(file.keys())
        conv = file.get_tensor("stem.conv.weight")
    assert dtypes == {"float16"}
    assert names == {name for name in net.state_dict() if "num_batches_tracked" not in name}
    assert (conv == net.stem.conv.weight.detach().half().numpy()).all()
    assert metadata.keys() == {"name", "config", "input", "keypoints", "decode"}
    assert metadata["keypoints"]["names"] == list(LSP14.names)
    assert metadata["config"]["num_stacks"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": MPII16}, "predicts 14 keypoints, but 'mpii16' has 16"),
        ({"input": InputSpec((64, 64), "gray", (0.5,), (0.2,))}, "takes 3 channels, but its input is gray"),
        ({"input": InputSpec((96, 64))}, r"hw must be multiples of 4 \* 2\^4, but got \(96, 64\)"),
        ({"decode": DecodeSpec(stride=2.0)}, "stride is 4, but decode says 2.0"),
        ({"name": "../evil"}, "name must be letters, digits, dots, dashes and underscores, but got '../evil'"),
        ({"name": ""}, "name must be letters"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, make_net, changes, message):
    with pytest.raises(CheckpointError, match=f"a.safetensors was not written: .*{message}"):
        save(tmp_path / "a.safetensors", make_net(), **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "half", "message"),
    [
        (1e5, True, "stem.conv.weight is NaN or Inf as torch.float16; a value above 65504 needs half=False"),
        (float("nan"), False, "stem.conv.weight is NaN or Inf as torch.float32$"),
    ],
)
def test_weights_that_are_not_finite_leave_the_old_file(tmp_path, make_net, value, half, message):
    path, net = tmp_path / "a.safetensors", make_net()
    path.write_text("old")
    with torch.no_grad():
        net.stem.conv.weight[0, 0, 0, 0] = value
    with pytest.raises(CheckpointError, match=message):
        save(path, net, half=half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_large_value_fits_32_bits(tmp_path, make_net):
    net = make_net()
    with torch.no_grad():
        net.stem.conv.weight[0, 0, 0, 0] = 1e5
    save(tmp_path / "a.safetensors", net, half=False)
    assert load_checkpoint(tmp_path / "a.safetensors").net.stem.conv.weight[0, 0, 0, 0] == 1e5


def test_no_such_folder(tmp_path, make_net):
    with pytest.raises(CheckpointError, match="cannot be written"):
        save(tmp_path / "missing" / "a.safetensors", make_net())


def test_a_folder_in_the_way_leaves_no_partial_file(tmp_path, make_net):
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="cannot be written"):
        save(tmp_path / "a.safetensors", make_net())
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_stride_is_the_networks_own_unless_it_is_said(tmp_path, make_net):
    for stem, stride in (("conv7x7", 4), ("pointwise", 1)):
        save_checkpoint(
            tmp_path / "a.safetensors", make_net(stem=stem), name="a", input=InputSpec((64, 64)), keypoints=LSP14
        )
        assert load_checkpoint(tmp_path / "a.safetensors").decode == DecodeSpec(stride=stride, shift=0.25)
