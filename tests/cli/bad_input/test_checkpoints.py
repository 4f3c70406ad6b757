"""Weights files that lie."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'hgedge[export]'")
safetensors = pytest.importorskip("safetensors.torch", reason="needs safetensors: pip install 'hgedge[export]'")

from hgedge.checkpoints.header import METADATA_KEY  # noqa: E402
from hgedge.checkpoints.key_maps import ANIBALI  # noqa: E402
from hgedge.models.hourglass import HourglassConfig  # noqa: E402

CONFIG = HourglassConfig(num_stacks=2, num_features=32, depth=4, num_keypoints=14)
FIRST = "conv1.weight"


@pytest.fixture(scope="module")
def published(tiny_checkpoint):
    """The tiny network under the names of the published lineage."""
    theirs = ANIBALI.theirs(CONFIG)
    return {theirs[name]: tensor for name, tensor in safetensors.load_file(tiny_checkpoint).items()}


def saved(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


class RunsCode:
    """Unpickled, it writes a file."""

    def __reduce__(self):
        return (Path.write_text, (Path("it-ran"), "code"))


def legacy(content):
    return saved(content, _use_new_zipfile_serialization=False)


def cut(data):
    return data[: len(data) * 2 // 3]


def quantised(tensor):
    with pytest.warns(UserWarning, match="deprecated"):
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


def swollen(state):
    """A file of kilobytes that holds 40 MB of zeros."""
    whole, bomb = io.BytesIO(saved({**state, FIRST: torch.zeros(10**7)})), io.BytesIO()
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    return bomb.getvalue()


def changed(change):
    return lambda state: saved({**state, FIRST: change(state[FIRST])})


NO_STATE = "holds no state dict, neither at its top nor under state_dict, model, net; it has: "
FLOATS = "a.pth: conv1.weight must hold floats, but is "
CASES = {
    "cut off": (lambda state: cut(saved(state)), "a.pth is a damaged or cut off PyTorch checkpoint"),
    "old format, cut off": (lambda state: cut(legacy(state)), "a.pth is a damaged or cut off PyTorch checkpoint"),
    "code": (lambda state: pickle.dumps({"state_dict": RunsCode()}), "a.pth"),
    "code in a torch file": (lambda state: saved({FIRST: RunsCode()}), "it could run code when loaded, so it is refus"),
    "wrong shape": (
        changed(lambda weight: weight[:, :, 0]),
        "wrong shape: conv1.weight is (8, 3, 7), not (8, 3, 7, 7)",
    ),
    "not a number": (changed(lambda weight: weight * float("nan")), "a.pth: conv1.weight holds NaN or Inf"),
    "infinite": (changed(lambda weight: weight / 0), "a.pth: conv1.weight holds NaN or Inf"),
    "integers": (changed(lambda weight: weight.int()), f"{FLOATS}int32"),
    "quantised": (changed(quantised), f"{FLOATS}qint8, strided; give the checkpoint before quantisation"),
    "8-bit floats": (changed(lambda weight: weight.to(torch.float8_e4m3fn)), f"{FLOATS}float8_e4m3fn"),
    "complex": (changed(lambda weight: weight + 1j), f"{FLOATS}complex64"),
    "sparse": (changed(lambda weight: weight.to_sparse()), f"{FLOATS}float32, sparse_coo"),
    "a view of one number": (changed(lambda weight: weight[:1, :1, :1, :1].expand(9**5, 9**5, 9, 9)), "fewer values"),
    "another network": (
        lambda state: saved(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)).state_dict()),
        "not a stacked hourglass that hgedge knows; the nearest is anibali (1 stacks, 256 features, 16 keypoints): "
        "missing: conv1.weight, conv1.bias, bn1.weight and 159 more; not expected: 0.weight, 0.bias, 1.weight and 3",
    ),
    "one missing, one strange": (
        lambda state: saved({("strange" if name == FIRST else name): tensor for name, tensor in state.items()}),
        "the nearest is anibali (2 stacks, 32 features, 14 keypoints): missing: conv1.weight; not expected: strange",
    ),
    "empty": (lambda state: saved({}), NO_STATE + "nothing"),
    "empty within": (lambda state: saved({"state_dict": {}}), NO_STATE + "nothing"),
    "nested oddly": (lambda state: saved({"epoch": 3, "weights": {"a": state}}), NO_STATE + "epoch, weights"),
    "a list": (
        lambda state: saved([state]),
        "a.pth holds a list, but expected a state dict; save its state dict alone",
    ),
    "a number": (lambda state: saved(3), "a.pth holds a int, but expected a state dict"),
    "numbers for names": (lambda state: saved(dict(enumerate(state.values()))), NO_STATE + "0, 1, 2"),
    "a swollen archive": (swollen, "a.pth would unpack to 4"),
    "no bytes": (lambda state: b"", "a.pth is empty; expected a safetensors file or a PyTorch checkpoint"),
}


@pytest.mark.parametrize("case", CASES)
def test_pytorch(refused, published, tmp_path, case):
    content, message = CASES[case]
    (tmp_path / "a.pth").write_bytes(content(published))
    refused(("build", "a.pth"), 2, message)


def header_says(data, **changes):
    """A safetensors file with another entry for its first tensor."""
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    name = next(key for key in header if key != "__metadata__")
    header[name].update(changes)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[end:]


def length(data, more):
    return struct.pack("<Q", struct.unpack("<Q", data[:8])[0] + more) + data[8:]


DAMAGED = "a.safetensors is a damaged or cut off safetensors file"
FILES = {
    "cut off": (cut, DAMAGED),
    "header longer than the file": (lambda data: length(data, 1 << 40), DAMAGED),
    "header longer than it is": (lambda data: length(data, 100), DAMAGED),
    "header shorter than it is": (lambda data: length(data, -5), DAMAGED),
    "no header": (lambda data: bytes(8) + data[8:], DAMAGED),
    "huge shape": (lambda data: header_says(data, shape=[10**6, 10**6]), DAMAGED),
    "huge offset": (lambda data: header_says(data, data_offsets=[0, 10**15]), DAMAGED),
    "unknown type": (lambda data: header_says(data, dtype="Q9"), DAMAGED),
    "integers": (lambda data: header_says(data, dtype="I32"), "must hold floats, but is int32"),
}


@pytest.mark.parametrize("case", FILES)
def test_safetensors(refused, tiny_checkpoint, tmp_path, case):
    content, message = FILES[case]
    (tmp_path / "a.safetensors").write_bytes(content(tiny_checkpoint.read_bytes()))
    refused(("build", "a.safetensors"), 2, message)


BROKEN = "a.safetensors has broken metadata: "
LIES = {
    "config.num_stacks": (1, "a.safetensors holds the weights of HourglassConfig(num_stacks=2"),
    "config.num_features": ("many", BROKEN + "header: 'config.num_features' must be int, but is 'many'"),
    "config.depth": (60, BROKEN + "header: hw must be multiples of"),
    "config.num_featurs": (32, BROKEN + "header: unknown key 'num_featurs'"),
    "input.hw": ([1 << 20, 1 << 20], BROKEN + "header: hw must be height and width in pixels, at most 4096"),
    "input.mean": ([1e300] * 3, BROKEN + "header: mean and std are of pixels divided by 255"),
    "input.std": ([1e-300] * 3, BROKEN + "header: mean and std are of pixels divided by 255"),
    "decode.shift": (1e9, BROKEN + "header: decode must have a positive stride, a shift of 0 to 1 cells"),
    "decode.stride": (-4.0, BROKEN + "header: decode must have a positive stride"),
    "decode.convention": ("corners", BROKEN + "header: decode must have a positive stride, a shift of 0 to 1 cells"),
    "keypoints.skeleton": ([[0, 99]], BROKEN + "header: skeleton of 'lsp14' names a keypoint outside 0..13"),
    "keypoints.flip_indices": ([0] * 14, BROKEN + "header: flip_indices of 'lsp14' must be a permutation"),
    "name": ("../../etc", BROKEN + "header: name must be letters, digits"),
}


@pytest.mark.parametrize("key", LIES)
def test_metadata_of_our_own_files(refused, tiny_checkpoint, tmp_path, key):
    value, message = LIES[key]
    with safetensors.safe_open(tiny_checkpoint, "pt") as file:
        header = json.loads(file.metadata()[METADATA_KEY])
    *parts, last = key.split(".")
    place = header[parts[0]] if parts else header
    place[last] = value
    tensors = safetensors.load_file(tiny_checkpoint)
    safetensors.save_file(tensors, tmp_path / "a.safetensors", metadata={METADATA_KEY: json.dumps(header)})
    refused(("build", "a.safetensors"), 2, message, "fetch or write it again")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_no_metadata(refused, tiny_checkpoint, tmp_path, metadata):
    safetensors.save_file(safetensors.load_file(tiny_checkpoint), tmp_path / "a.safetensors", metadata=metadata)
    refused(("build", "a.safetensors"), 2, "a.safetensors has no metadata 'hgedge', so its network and keypoints")


@pytest.mark.parametrize(
    ("model", "message"),
    [("nowhere.pth", "no such file: 'nowhere.pth'"), ("hg2", "not shipped"), ("defualt", "did you mean 'default'?")],
)
def test_no_file(refused, model, message):
    refused(("build", model), 2, message)
