"""Input that lies, given to the real program: one line that says what to do, the contract's exit code, nothing left."""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
from pathlib import Path

import pytest


class RunsCode:
    """Unpickled, it writes a file."""

    def __reduce__(self):
        return (Path.write_text, (Path("it-ran"), "code"))


def text_named_jpg(folder, given):
    (folder / "picture.jpg").write_text("this is no picture")


def truncated_jpeg(folder, given):
    data = given["astronaut"].read_bytes()
    (folder / "picture.jpg").write_bytes(data[: len(data) // 2])


def empty_picture(folder, given):
    (folder / "picture.jpg").write_bytes(b"")


def empty_video(folder, given):
    (folder / "video.mp4").write_bytes(b"")


def junk_video(folder, given):
    (folder / "video.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 40)


def empty_folder(folder, given):
    (folder / "pictures").mkdir()


def pickle_that_runs_code(folder, given):
    (folder / "weights.pth").write_bytes(pickle.dumps({"state_dict": RunsCode()}))


def torch_file_that_runs_code(folder, given):
    import torch

    buffer = io.BytesIO()
    torch.save({"state_dict": {"conv1.weight": RunsCode()}}, buffer)
    (folder / "weights.pth").write_bytes(buffer.getvalue())


def checkpoint_of_another_network(folder, given):
    import torch

    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 4, 1))
    torch.save(layers.state_dict(), folder / "weights.pth")


def truncated_checkpoint(folder, given):
    data = given["tiny"].read_bytes()
    (folder / "weights.safetensors").write_bytes(data[: len(data) // 2])


def copied_bundle(folder, given):
    shutil.copytree(given["bundle"], folder / "bundle")
    return folder / "bundle"


def flipped_byte(folder, given):
    path = copied_bundle(folder, given) / "engine.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def missing_file(folder, given):
    (copied_bundle(folder, given) / "engine.xml").unlink()


def nothing(folder, given):
    """Only what the command names."""


RUN = ("run", "--no-window", "--save", "out")
CASES = [
    (nothing, (*RUN, "--source", "nowhere.jpg"), 2, "no such file or folder: nowhere.jpg"),
    (text_named_jpg, (*RUN, "--source", "picture.jpg"), 2, "picture.jpg is not a picture or video"),
    (truncated_jpeg, (*RUN, "--source", "picture.jpg"), 2, "picture.jpg is a JPEG that is cut off"),
    (empty_picture, (*RUN, "--source", "picture.jpg"), 2, "picture.jpg is empty"),
    (empty_video, (*RUN, "--source", "video.mp4"), 2, "video.mp4 is empty"),
    (junk_video, (*RUN, "--source", "video.mp4"), 2, "video.mp4 is not a picture or video"),
    (empty_folder, (*RUN, "--source", "pictures"), 2, "pictures holds no picture"),
    (nothing, (*RUN, "--camera", "7"), 3, "camera 7"),
    (pickle_that_runs_code, ("build", "weights.pth"), 2, "weights.pth"),
    (torch_file_that_runs_code, ("build", "weights.pth"), 2, "weights.pth"),
    (
        checkpoint_of_another_network,
        ("build", "weights.pth"),
        2,
        "weights.pth is not a stacked hourglass that hgedge knows",
    ),
    (truncated_checkpoint, ("build", "weights.safetensors"), 2, "weights.safetensors"),
    (nothing, ("build", "nowhere.pth"), 2, "no such file"),
    (nothing, ("build", "hg2"), 2, "not shipped"),
    (empty_folder, ("build", "pictures"), 2, "pictures has no manifest.json, so it is no bundle"),
    (flipped_byte, ("inspect", "bundle"), 2, "engine.bin is not the file that was built"),
    (
        flipped_byte,
        (*RUN, "--source", "ASTRONAUT", "--engine", "bundle"),
        2,
        "engine.bin is not the file that was built",
    ),
    (missing_file, (*RUN, "--source", "ASTRONAUT", "--engine", "bundle"), 2, "lacks engine.xml"),
    (empty_folder, ("evaluate", "BUNDLE", "--data", "pictures"), 2, "pictures holds no data set that hgedge knows"),
    (nothing, ("evaluate", "BUNDLE", "--data", "nowhere"), 2, "no such data folder: nowhere"),
    (nothing, ("build", "TINY", "--calibration", "nowhere"), 2, "no such calibration folder, recipe or table: nowhere"),
    (nothing, ("build", "TINY", "--precision", "int8"), 2, "give pictures like those that it will see"),
    (nothing, ("build", "TINY", "--precision", "int7"), 2, "precision must be one of fp32, fp16, bf16, int8"),
    (nothing, ("build", "TINY", "--backend", "openvion"), 2, "backend must be auto or one of"),
    (nothing, ("export", "TINY", "-o", "no/folder.onnx"), 2, "cannot write no/folder.onnx"),
]


def tree(folder):
    """Every file under a folder, with its hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    ("prepare", "arguments", "code", "message"),
    CASES,
    ids=[f"{case[1][0]}-{case[0].__name__}-{i}" for i, case in enumerate(CASES)],
)
def test_it_is_refused(hgedge, tmp_path, astronaut, bundle, tiny_checkpoint, prepare, arguments, code, message):
    prepare(tmp_path, {"astronaut": astronaut, "bundle": bundle, "tiny": tiny_checkpoint})
    before = tree(tmp_path)
    places = {"ASTRONAUT": astronaut, "BUNDLE": bundle, "TINY": tiny_checkpoint}
    done = hgedge(*(places.get(word, word) for word in arguments), "-q")
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert message in done.stderr and done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr
    assert tree(tmp_path) == before
