"""Files that cannot be read, and files that must not be."""

from __future__ import annotations

import os
import pickle
import struct

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hgedge.checkpoints import load_checkpoint
from hgedge.checkpoints.read_tensors import read_tensors
from hgedge.errors import CheckpointError

TENSORS = {"b.weight": torch.arange(600.0).view(2, 300), "a.bias": torch.ones(3, dtype=torch.float16)}


class MakesFolder:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def refusal(path):
    """The one line that a user sees."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert "weights_only" not in message
    return message


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        lambda state: {"model": state, "best_acc": torch.tensor(0.5)},
        lambda state: {"net": {"state_dict": state}},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"module.module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {"state_dict": {f"model.module.{name}": tensor for name, tensor in state.items()}, "epoch": 3},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_pytorch_checkpoints_are_unwrapped(tmp_path, wrap, zipped):
    torch.save(wrap(TENSORS), tmp_path / "a.pth.tar", _use_new_zipfile_serialization=zipped)
    found, metadata = read_tensors(tmp_path / "a.pth.tar")
    assert metadata is None
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_module_is_kept_where_only_some_names_have_it(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "a.pth")
    assert read_tensors(tmp_path / "a.pth")[0].keys() == {"module.a", "b"}


def test_the_name_of_the_file_does_not_matter(tmp_path):
    save_file(TENSORS, tmp_path / "a.pth", metadata={"x": "y"})
    torch.save(TENSORS, tmp_path / "a.safetensors")
    found, metadata = read_tensors(tmp_path / "a.pth")
    assert (found.keys(), metadata) == (TENSORS.keys(), {"x": "y"})
    assert read_tensors(tmp_path / "a.safetensors")[1] is None


@pytest.mark.parametrize(
    "write",
    [
        lambda payload, path: torch.save({"state_dict": TENSORS, "arch": payload}, path),
        lambda payload, path: torch.save(payload, path, _use_new_zipfile_serialization=False),
        lambda payload, path: path.write_bytes(pickle.dumps(payload, protocol=0)),
        lambda payload, path: path.write_bytes(pickle.dumps(payload, protocol=2)),
        lambda payload, path: path.write_bytes(pickle.dumps(payload, protocol=4)),
    ],
)
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, write):
    trap = tmp_path / "made"
    pickle.loads(pickle.dumps(MakesFolder(trap)))  # the trap works
    trap.rmdir()
    write(MakesFolder(trap), tmp_path / "a.pth")
    refusal(tmp_path / "a.pth")
    assert not trap.exists()


def test_a_refused_pickle_says_what_it_holds(tmp_path):
    torch.save({"state_dict": TENSORS, "arch": MakesFolder(tmp_path / "made")}, tmp_path / "a.pth")
    message = refusal(tmp_path / "a.pth")
    assert "holds posix.mkdir, not tensors alone; it could run code when loaded, so it is refused" in message
    assert "save its state dict alone" in message
    torch.save(torch.nn.Linear(2, 2), tmp_path / "b.pth")
    assert "holds torch.nn.modules.linear.Linear, not tensors alone" in refusal(tmp_path / "b.pth")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "pickle"])
def test_a_cut_off_file_is_refused(tmp_path, kind, share):
    path = tmp_path / "a.file"
    if kind == "safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    message = refusal(path)
    assert "cut off" in message or "damaged" in message or "not tensors alone" in message


@pytest.mark.parametrize("kind", ["safetensors", "zip", "pickle"])
def test_flipped_bytes_give_an_error_or_tensors(tmp_path, kind):
    path, random = tmp_path / "a.file", np.random.default_rng(7)
    if kind == "safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path, _use_new_zipfile_serialization=kind == "zip")
    content = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(60):
        damaged = content.copy()
        damaged[random.integers(0, min(len(content), 900), 3)] ^= random.integers(1, 256, 3, dtype=np.uint8)
        path.write_bytes(damaged.tobytes())
        refusal(path)  # at the latest because these are no hourglass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected a safetensors file or a PyTorch checkpoint"),
        (b"PK", "is cut off after 2 bytes"),
        (b"These are the weights.\n", "begins with b'These ar'; expected a safetensors file"),
        (b'{"weights": [1, 2, 3]}', "begins with"),
        (b"<!DOCTYPE html><html>Not Found</html>", "begins with b'<!DOCTYP'"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file"),
        (struct.pack("<Q", 2**60) + b"{}", "is a damaged or cut off safetensors file .*header too large"),
        (b"PK\x03\x04" + bytes(99), "is a damaged or cut off PyTorch checkpoint"),
        (b"\x80\x02" + bytes(99), "is damaged, or no PyTorch checkpoint"),
    ],
)
def test_other_content(tmp_path, content, message):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)
    refusal(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    assert f"is a {'JPEG' if suffix == '.jpg' else 'PNG'} picture; expected a safetensors file" in refusal(path)


def test_missing_file_and_folder(tmp_path):
    assert refusal(tmp_path / "a.pth") == f"no such file: {tmp_path / 'a.pth'}"
    assert "is a folder; give the checkpoint file in it" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission(tmp_path):
    path = tmp_path / "a.pth"
    path.touch(mode=0o000)
    assert "cannot be read: Permission denied" in refusal(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "holds a list, but expected a state dict"),
        (torch.ones(2), "holds a Tensor, but expected a state dict"),
        ({}, "holds no state dict, .*; it has: nothing"),
        ({"epoch": 3, "weights": {"a": torch.ones(2)}}, "nor under state_dict, model, net; it has: epoch, weights"),
        ({1: torch.ones(2)}, "holds no state dict"),
        ({"a": torch.ones(1).expand(10**6, 10**6)}, "holds fewer values than its tensors have"),
    ],
)
def test_pytorch_files_without_a_state_dict(tmp_path, content, message):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "a.pth")


def test_a_state_dict_within_itself_ends(tmp_path):
    loop = {"epoch": 1}
    loop["net"] = loop
    torch.save(loop, tmp_path / "a.pth")
    assert "holds no state dict" in refusal(tmp_path / "a.pth")


@pytest.mark.filterwarnings("ignore:.*TorchScript|.*torch.jit:")
def test_a_torchscript_program(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "a.pt")
    assert "is a TorchScript program, not a checkpoint" in refusal(tmp_path / "a.pt")
