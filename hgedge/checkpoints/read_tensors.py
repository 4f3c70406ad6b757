"""The tensors in a weights file, whichever of the two formats it has. Nothing in the file is ever run."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from hgedge.errors import CheckpointError

PYTORCH_MAGIC = (b"PK\x03\x04", b"\x80\x02")  # zip archive; the pickle that was written before PyTorch 1.6
FOREIGN_MAGIC = {b"\xff\xd8\xff": "a JPEG picture", b"\x89PNG": "a PNG picture", b"\x89HDF": "an HDF5 file"}
PREFIXES = ("module.", "model.")  # DataParallel's, and a trainer's that holds the network as its model
WRAPPERS = ("state_dict", "model", "net")  # where training programs put the state dict; may be nested
STATE_DICT_ALONE = "save its state dict alone with torch.save(net.state_dict(), FILE) where it was trained"


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str] | None]:
    """Read a weights file.

    Args:
        path: A safetensors file, or what `torch.save` wrote: a state dict, or one inside a training checkpoint.

    Returns:
        tensors: By name, on the CPU, without the `PREFIXES` that wrappers put before all names.
        metadata: Of a safetensors file; None for PyTorch.

    Raises:
        CheckpointError: The file is missing, damaged, of another format, or holds more than tensors.
    """
    head = _head(path)
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head.startswith(PYTORCH_MAGIC):
        tensors = _state_dict(_read_pytorch(path), path)
        if sum(tensor.numel() for tensor in tensors.values()) > path.stat().st_size:  # views that repeat few values
            raise CheckpointError(f"{path} holds fewer values than its tensors have; {STATE_DICT_ALONE}")
        return _without_prefixes(tensors), None
    kind = next((kind for magic, kind in FOREIGN_MAGIC.items() if head.startswith(magic)), None)
    if kind is None and len(head) < 9:
        kind = f"cut off after {len(head)} bytes" if head else "empty"
    found = f"is {kind}" if kind else f"begins with {head[:8]!r}"
    raise CheckpointError(f"{path} {found}; expected a safetensors file or a PyTorch checkpoint")


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; give the checkpoint file in it")
    try:
        with open(path, "rb") as file:
            return file.read(16)
    except FileNotFoundError:
        raise CheckpointError(f"no such file: {path}") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except Exception as error:  # the library's own type, OSError, and KeyError for dtypes that torch lacks
        raise CheckpointError(
            f"{path} is a damaged or cut off safetensors file ({_first_line(error)}); fetch it again"
        ) from error


def _read_pytorch(path: Path) -> Any:
    unpacked = _unpacked_bytes(path)
    if unpacked > path.stat().st_size:  # PyTorch never compresses
        raise CheckpointError(f"{path} would unpack to {unpacked} bytes, which PyTorch did not write; fetch it again")
    try:
        with open(path, "rb") as file:  # given a name, torch goes by its suffix
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its text recommends loading the file unsafely, so it is not passed on
        name = re.search(r"GLOBAL ([\w.]+)", str(error))
        if name:
            raise CheckpointError(
                f"{path} holds {name[1]}, not tensors alone; it could run code when loaded, so it is refused: "
                f"{STATE_DICT_ALONE}"
            ) from None
        raise CheckpointError(f"{path} is damaged, or no PyTorch checkpoint; fetch it again") from None
    except Exception as error:  # a damaged file makes torch raise anything: EOFError, struct.error, RuntimeError, ...
        if "TorchScript" in str(error):
            raise CheckpointError(f"{path} is a TorchScript program, not a checkpoint; {STATE_DICT_ALONE}") from None
        raise CheckpointError(
            f"{path} is a damaged or cut off PyTorch checkpoint ({_first_line(error)}); fetch it again"
        ) from error


def _unpacked_bytes(path: Path) -> int:
    """What the entries of a zip archive claim to hold together; 0 for one that cannot be read, as torch.load tells."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except Exception:  # a damaged file makes it raise many kinds
        return 0


def _state_dict(loaded: Any, path: Path) -> dict[str, Tensor]:
    for _ in WRAPPERS:
        inner = next((loaded[key] for key in WRAPPERS if key in loaded), None) if isinstance(loaded, dict) else None
        loaded = inner if isinstance(inner, dict) else loaded
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, but expected a state dict; {STATE_DICT_ALONE}")
    if not loaded or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items()):
        raise CheckpointError(
            f"{path} holds no state dict, neither at its top nor under {', '.join(WRAPPERS)}; "
            f"it has: {', '.join(map(str, list(loaded)[:6])) or 'nothing'}; {STATE_DICT_ALONE}"
        )
    return dict(loaded)


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].split(". ")[0]
