"""Bundles that lie."""

from __future__ import annotations

import json
import os
import shlex
import shutil

import pytest

NAME = "engines/tiny-fp32-openvino"
RUN = ("run", "--no-window", "--source", "ASTRONAUT", "--jsonl", "poses.jsonl", "--engine", NAME)
FILES = ("engine.bin", "engine.xml", "golden.npz", "model.onnx", "source.onnx")
GONE = object()


@pytest.fixture
def copy(bundle, tmp_path):
    """A copy of a bundle, in an engines/ of its own."""
    return shutil.copytree(bundle, tmp_path / NAME)


def change(copy, key, value):
    """Write another value into the manifest; a key such as "input.hw"."""
    manifest = json.loads((copy / "manifest.json").read_text())
    *parts, last = key.split(".", 1)
    place = manifest[parts[0]] if parts else manifest
    if value is GONE:
        del place[last]
    else:
        place[last] = {**place[last], **value} if isinstance(value, dict) and value else value
    (copy / "manifest.json").write_text(json.dumps(manifest))


def test_the_files_are_all_that_there_are(copy):
    assert sorted(path.name for path in copy.iterdir()) == sorted((*FILES, "manifest.json"))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", [RUN, ("inspect", NAME), ("verify", NAME), ("build", NAME, "--precision", "fp32")])
def test_a_flipped_byte_is_found(refused, copy, name, command):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    refused(command, 2, f"{name} is not the file that was built: its sha256 differs; rebuild: hgedge build")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(refused, copy, name):
    (copy / name).unlink()
    refused(RUN, 2, f"{NAME} lacks {name}, which its manifest names; rebuild: hgedge build")


def test_files_that_are_cut_off_or_are_folders(refused, copy):
    (copy / "engine.bin").write_bytes((copy / "engine.bin").read_bytes()[:100])
    refused(RUN, 2, "engine.bin is not the file that was built")
    (copy / "engine.bin").unlink()
    (copy / "engine.bin").mkdir()
    refused(RUN, 2, f"{NAME} lacks engine.bin")


def test_a_file_too_many_is_none_of_the_bundles(program, copy):
    (copy / "notes.txt").write_text("words")
    assert program(*RUN).returncode == 0
    assert "notes.txt" not in json.loads(program("inspect", NAME, "--json").stdout)["files"]


OUTSIDE = "which lies outside the bundle; rebuild: hgedge build"


def test_a_link_out_of_the_folder_is_refused(refused, copy, tmp_path):
    (copy / "engine.bin").rename(tmp_path / "engine.bin")
    (copy / "engine.bin").symlink_to(tmp_path / "engine.bin")
    refused(RUN, 2, f"{NAME}/manifest.json names 'engine.bin', {OUTSIDE}")


@pytest.mark.parametrize("name", ["../engine.bin", "/etc/hostname", "", ".", "a/../../b", "below/engine.bin"])
def test_a_name_out_of_the_folder_is_refused(refused, copy, name):
    change(copy, "files", {name: "0" * 64})
    refused(RUN, 2, f"manifest.json names {name!r}, {OUTSIDE}")


BROKEN = f"{NAME}/manifest.json: "
AGAIN = "rebuild the bundle with hgedge build MODEL --force"
VALUES = [
    ("format_version", 99, (f"{NAME}/manifest.json has format 99, but this hgedge reads up to ", "upgrade hgedge")),
    ("format_version", "1", (f"{NAME}/manifest.json has no format_version", "rebuild the bundle")),
    ("format_version", GONE, (f"{NAME}/manifest.json has no format_version", "rebuild the bundle")),
    ("precision", 8, (BROKEN + "'precision' must be str, but is 8", AGAIN)),
    ("measured", "yes", (BROKEN + "'measured' must be bool, but is 'yes'", AGAIN)),
    ("decode", GONE, (BROKEN + "'decode' is missing", AGAIN)),
    ("input.hw", [64], (BROKEN + "'input.hw' must be tuple[int, int], but is [64]", AGAIN)),
    ("input.color", "gray", (BROKEN + "gray needs 1 values of mean and std", AGAIN)),
    ("input.mean", "many", (BROKEN + "'input.mean' must be tuple[float, ...], but is 'many'", AGAIN)),
    ("keypoints.names", ["a"], (BROKEN + "flip_indices of 'lsp14' must be a permutation of 1", AGAIN)),
    ("files", [], (BROKEN + "'files' must be dict[str, str], but is []", AGAIN)),
    ("files", {"engine.bin": 3}, (BROKEN + "'files' must be dict[str, str]", AGAIN)),
    ("pecision", "fp32", (BROKEN + "unknown key 'pecision'; did you mean 'precision'?", AGAIN)),
    ("backend.name", "magic", ("unknown backend 'magic'; known: openvino,",)),
    ("backend", None, (f"{NAME} is a portable half without an engine; make one with: hgedge build {NAME}",)),
    ("device", None, (f"{NAME} is a portable half without an engine",)),
]


@pytest.mark.parametrize(("key", "value", "messages"), VALUES, ids=[f"{row[0]}-{i}" for i, row in enumerate(VALUES)])
def test_a_lying_manifest_is_refused(refused, copy, key, value, messages):
    change(copy, key, value)
    refused(RUN, 2, *messages)


@pytest.mark.parametrize("content", [b"", b"words", b"{", b"\xff\xfe", b"[]", b"3", b"null", b'{"format_version": 1}'])
def test_what_is_no_manifest_is_refused(refused, copy, content):
    (copy / "manifest.json").write_bytes(content)
    refused(RUN, 2, f"{NAME}/manifest.json", "rebuild the bundle")


FOREIGN = {  # what was built, what is here
    "device.architecture": ("s390x", "s390x), but this machine has "),
    "device.features": (["avx1024"], " without avx1024; rebuild: "),
    "device.system": ("plan9", "(plan9, "),
    "backend.version": ("1999.1", "was built with openvino 1999.1, but this machine has "),
}


@pytest.mark.parametrize("key", FOREIGN)
def test_the_command_for_a_foreign_bundle_rebuilds_it(refused, program, copy, tmp_path, key):
    value, message = FOREIGN[key]
    change(copy, key, value)
    refused(RUN, 2, f"{NAME} was built ", message)
    told = program(*RUN).stderr.strip().rpartition("rebuild: ")[2]
    name, *words = shlex.split(told)
    assert name == "hgedge" and program(*words, "-q").returncode == 0
    assert program(*RUN).returncode == 0
    assert len((tmp_path / "poses.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("command", [RUN[:-1], ("inspect",), ("verify",), ("build", "--precision", "fp32")])
def test_no_bundle(refused, tmp_path, command):
    (tmp_path / "empty").mkdir()
    refused((*command, "empty"), 2, "empty has no manifest.json, so it is no bundle; make one with: hgedge build")
    refused((*command, "nowhere"), 2, "no such file: 'nowhere'" if command[0] == "build" else "nowhere does not exist")


@pytest.mark.parametrize("command", [RUN[:-1], ("inspect",), ("verify",), ("build",)])
def test_a_bundle_that_is_a_file(refused, tmp_path, command):
    (tmp_path / "file").write_text("words")
    expected = (
        "expected a safetensors file or a PyTorch checkpoint"
        if command[0] == "build"
        else "file is a file, not a bundle's folder"
    )
    refused((*command, "file"), 2, expected)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_bundle_that_may_not_be_read(refused, copy):
    (copy / "engine.bin").chmod(0)
    refused(RUN, 2, "engine.bin: Permission denied")


NONSENSE = {
    "format_version": -1,
    "precision": "int3",
    "batch": [],
    "files": {},
    "files.engine.bin": GONE,
    "input.hw": [128, 128],
    "input.mean": [1e300] * 3,
    "decode.stride": 0.0,
    "decode.stride ": 8.0,
    "decode.shift": 1e9,
    "decode.convention": "corners",
}


@pytest.mark.parametrize("key", NONSENSE)
def test_a_manifest_of_nonsense_is_refused(refused, copy, key):
    change(copy, key.strip(), NONSENSE[key])
    refused(RUN, 2, f"{NAME}/manifest.json")


@pytest.mark.parametrize("change_it", [lambda copy: (copy / "manifest.json").write_text("[" * 100_000),
                                       lambda copy: change(copy, "files", {"a\0b": "0" * 64})])  # fmt: skip
def test_no_fault_of_our_own(refused, copy, change_it):
    change_it(copy)
    refused(RUN, 2, f"{NAME}/manifest.json")
