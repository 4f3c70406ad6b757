"""What a user may call a model."""

from __future__ import annotations

import pytest
import torch

import hgedge.checkpoints
from hgedge.checkpoints import resolve, save_checkpoint, weights_digest
from hgedge.checkpoints.key_maps import ANIBALI
from hgedge.datasets.keypoint_sets import LSP14, MPII16
from hgedge.errors import CheckpointError
from hgedge.models import config_of, shipped_weights, zoo
from hgedge.spec import InputSpec

DEFAULT_SHA256 = "e521130efcf0d919770a8536d8e3cfff066b3901f00bd5d642db7de46d4a7dda"  # range tables are keyed by it


def save(path, net, name="mine"):
    save_checkpoint(path, net, name=name, input=InputSpec((64, 64)), keypoints=LSP14, half=False)


def test_a_path(tmp_path, make_net):
    save(tmp_path / "a.safetensors", make_net())
    assert resolve(str(tmp_path / "a.safetensors")).sha256 == weights_digest(make_net())


def test_none_and_default_are_the_shipped_network(tmp_path, monkeypatch, make_net):
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    with pytest.raises(
        CheckpointError, match="the weights of 'default' are not shipped with hgedge; give a checkpoint"
    ):
        resolve(None)
    (tmp_path / "default").mkdir()
    save(tmp_path / "default" / "weights.safetensors", make_net(), name="default")
    assert resolve(None).sha256 == resolve("default").sha256 == weights_digest(make_net())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hgedge" / "models"


def test_a_zoo_name_without_weights_goes_before_a_file_of_that_name(tmp_path, monkeypatch, make_net, cache):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "hg2", make_net())
    expected = (
        "the weights of 'hg2' are not shipped with hgedge; pull them with: hgedge models pull hg2, or give a checkpoint"
    )
    with pytest.raises(CheckpointError, match=expected):
        resolve("hg2")
    assert resolve("./hg2").name == "mine"


def test_pulled_weights_bear_the_models_name(cache, make_net):
    net = make_net(num_keypoints=16)
    theirs = ANIBALI.theirs(net.config)
    state = {theirs[name]: tensor for name, tensor in net.state_dict().items() if name in theirs}
    cache.mkdir(parents=True)
    torch.save(state, cache / f"{zoo.RELEASED['hg2']}.partial")
    with pytest.raises(CheckpointError, match="not shipped"):
        resolve("hg2")
    torch.save(state, cache / zoo.RELEASED["hg2"])
    found = resolve("hg2")
    assert (found.name, found.keypoints, found.sha256) == ("hg2", MPII16, weights_digest(net))
    with pytest.raises(CheckpointError, match="hgedge models pull hg8"):
        resolve("hg8")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("runs/best.pth", "^no such file: 'runs/best.pth'; give a checkpoint, or one of: default, face68, hg1, hg2, "),
        ("defualt", "no such file: 'defualt'; .*; did you mean 'default'?"),
        ("", "no such file: ''"),
        ("x" * 5000, "no such file"),
        ("a\0b", "no such file"),
    ],
)
def test_anything_else_is_no_such_file(model, message):
    with pytest.raises(CheckpointError, match=message):
        resolve(model)


@pytest.mark.skipif(shipped_weights("default") is None, reason="the default weights are not in this tree")
def test_the_shipped_default_is_what_the_zoo_says():
    checkpoint = resolve(None)
    assert checkpoint.name == "default"
    assert checkpoint.sha256 == DEFAULT_SHA256
    assert checkpoint.net.config == config_of("default")


def test_public_names_exist():
    names = hgedge.checkpoints.__all__
    assert all(hasattr(hgedge.checkpoints, name) for name in names)
    assert list(names) == sorted(names)
