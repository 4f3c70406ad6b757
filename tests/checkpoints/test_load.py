"""Checkpoints that are read whole, but are not what they should be."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from hgedge.checkpoints import load_checkpoint, save_checkpoint
from hgedge.checkpoints.header import Header
from hgedge.checkpoints.key_maps import ANIBALI
from hgedge.checkpoints.weights import named_weights
from hgedge.datasets.keypoint_sets import LSP14
from hgedge.errors import CheckpointError
from hgedge.spec import DecodeSpec, InputSpec


def published(net):
    """A network's state dict as the anibali lineage names it."""
    theirs = ANIBALI.theirs(net.config)
    return {theirs[name]: tensor for name, tensor in named_weights(net).items()}


def load_state(folder, state, name="best.pth"):
    torch.save(state, folder / "state")
    (folder / "state").rename(folder / name)
    return load_checkpoint(folder / name)


def resnet_state():
    """Names and shapes of the beginning of a ResNet-18, whose first names are those of the anibali lineage."""
    shapes = {"conv1.weight": (64, 3, 7, 7), "bn1.weight": (64,), "bn1.bias": (64,), "fc.weight": (1000, 512)}
    for layer in (1, 2):
        for block in (0, 1):
            shapes |= {f"layer{layer}.{block}.conv{i}.weight": (64, 64, 3, 3) for i in (1, 2)}
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def test_counters_may_be_missing(tmp_path, make_net):
    net = make_net()
    image = torch.randn(1, 3, 64, 64)
    without = load_state(tmp_path, published(net))
    counted = published(net) | {"bn1.num_batches_tracked": torch.tensor(5)}
    with torch.inference_mode():
        assert torch.equal(without.net(image), net(image))
    assert load_state(tmp_path, {"state_dict": counted}).sha256 == without.sha256
    assert {tensor.dtype for tensor in without.net.state_dict().values()} == {torch.float32, torch.int64}
    assert not without.net.training


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32(tmp_path, make_net, dtype):
    state = {name: tensor.to(dtype) for name, tensor in published(make_net()).items()}
    net = load_state(tmp_path, state).net
    assert all(parameter.dtype == torch.float32 for parameter in net.parameters())
    assert torch.equal(net.stem.conv.weight, state["conv1.weight"].float())
    assert torch.isfinite(net(torch.randn(1, 3, 64, 64))).all()


def test_tensors_that_share_memory_become_independent(tmp_path, make_net):
    state = published(make_net())
    state["hg.1.hg.0.0.0.conv2.weight"] = state["hg.0.hg.0.0.0.conv2.weight"]
    net = load_state(tmp_path, state).net
    with torch.no_grad():
        net.hgs[0].inner.inner.inner.up[0].conv2.weight.zero_()
    assert net.hgs[1].inner.inner.inner.up[0].conv2.weight.abs().max() > 0


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("best.pth", "best"),
        ("model_best.pth.tar", "model_best"),
        ("hg2 (final).ckpt", "hg2-final-"),
        ("v1.2.pt", "v1.2"),
        (".pth", "anibali"),
    ],
)
def test_a_published_network_is_called_after_its_file(tmp_path, make_net, file, name):
    assert load_state(tmp_path, published(make_net()), file).name == name


def test_another_network(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        load_state(tmp_path, resnet_state())
    message = str(caught.value)
    assert "best.pth is not a stacked hourglass that hgedge knows; the nearest is anibali (1 stacks" in message
    assert "missing: stem" not in message  # told in the file's own names
    assert "missing: conv1.bias, bn1.running_mean, bn1.running_var and " in message
    assert "not expected: fc.weight, layer1.0.conv1" not in message  # that one is expected
    assert "not expected: fc.weight, layer1.1.conv1.weight, layer1.1.conv2.weight and 2 more" in message
    assert "wrong shape: " in message
    assert "\n" not in message


def test_a_missing_and_a_foreign_tensor(tmp_path, make_net):
    state = published(make_net())
    del state["hg.1.hg.3.2.0.conv2.bias"]
    state["extra.weight"] = torch.zeros(2)
    expected = r"nearest is anibali \(2 stacks, 8 features, 14 keypoints\): missing: hg.1.hg.3.2.0.conv2.bias; "
    with pytest.raises(CheckpointError, match=expected + "not expected: extra.weight$"):
        load_state(tmp_path, state)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("conv1.weight", (2, 3, 5, 5), r"wrong shape: conv1.weight is \(2, 3, 5, 5\), not \(2, 3, 7, 7\)$"),
        ("bn1.bias", (), r"wrong shape: bn1.bias is \(\), not \(2,\)$"),
        ("score.0.weight", (14, 0, 1, 1), r"256 features, 16 keypoints\): wrong shape: "),
        ("score.0.weight", (14, 6, 1, 1), r"256 features, 16 keypoints\): wrong shape: "),
        ("score.0.weight", (), "wrong shape: "),
    ],
)
def test_wrong_shapes(tmp_path, make_net, name, shape, message):
    with pytest.raises(CheckpointError, match=message):
        load_state(tmp_path, published(make_net()) | {name: torch.zeros(shape)})


def test_wrong_shape_in_our_own_file(tmp_path, make_net):
    net = make_net()
    header = Header("small", net.config, InputSpec((64, 64)), LSP14, DecodeSpec())
    tensors = named_weights(net) | {"stem.bn.weight": torch.ones(3)}
    save_file(tensors, tmp_path / "a.safetensors", metadata=header.to_metadata())
    with pytest.raises(CheckpointError, match=r"nearest is hgedge .*wrong shape: stem.bn.weight is \(3,\), not \(2,\)"):
        load_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["score.1.bias", "bn1.running_var"])
def test_weights_that_are_not_finite(tmp_path, make_net, name, value):
    state = published(make_net())
    state[name][1] = value
    with pytest.raises(
        CheckpointError, match=f"{name} holds NaN or Inf; its training diverged, or the file is damaged"
    ):
        load_state(tmp_path, state)


def test_nan_in_our_own_file(tmp_path, make_net):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, make_net(), name="a", input=InputSpec((64, 64)), keypoints=LSP14)
    path.write_bytes(path.read_bytes()[:-2] + b"\x00\x7e")  # the last value becomes float16's NaN
    with pytest.raises(CheckpointError, match="holds NaN or Inf"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("convert", "kind"),
    [
        (lambda tensor: tensor.to(torch.int8), "int8, strided"),
        (lambda tensor: tensor.to_sparse(), "float32, sparse_coo"),
        (lambda tensor: tensor.to(torch.complex64), "complex64, strided"),
    ],
)
def test_tensors_that_are_no_plain_floats(tmp_path, make_net, convert, kind):
    state = published(make_net())
    state["conv1.weight"] = convert(state["conv1.weight"])
    with pytest.raises(
        CheckpointError, match=f"conv1.weight must hold floats, but is {kind}; give the checkpoint before"
    ):
        load_state(tmp_path, state)


def test_an_unknown_number_of_keypoints(tmp_path, make_net):
    expected = r"predicts 17 keypoints, but the known sets of anibali are: mpii16 \(16\), lsp14 \(14\)$"
    with pytest.raises(CheckpointError, match=expected):
        load_state(tmp_path, published(make_net(num_keypoints=17)))


def test_grey_input_does_not_fit_the_lineage(tmp_path, make_net):
    with pytest.raises(CheckpointError, match="does not fit the lineage anibali: the network takes 1 channels"):
        load_state(tmp_path, published(make_net(in_channels=1)))


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"net": state, "epoch": 3}])
def test_our_own_weights_without_a_header(tmp_path, make_net, wrap):
    with pytest.raises(
        CheckpointError, match="holds hgedge's own weights without input and keypoints; write them with"
    ):
        load_state(tmp_path, wrap(make_net().state_dict()))
