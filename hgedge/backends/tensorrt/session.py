"""Run a TensorRT engine: not there yet, and said so."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from hgedge.errors import BackendUnavailable
from hgedge.spec import Manifest


def load(folder: Path, manifest: Manifest) -> NoReturn:
    """Raise BackendUnavailable."""
    raise BackendUnavailable(
        f"{folder} holds a TensorRT engine, which needs an NVIDIA GPU and a session that this hgedge has not "
        f"got yet; build for this machine's CPU: hgedge build {folder} --backend openvino"
    )
