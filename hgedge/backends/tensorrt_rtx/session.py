"""Run a TensorRT-RTX engine: its runtime is TensorRT's, but compiles kernels when it is first loaded on a GPU."""

from __future__ import annotations

from pathlib import Path

from hgedge.backends.base import DeviceSession
from hgedge.backends.tensorrt.session import TensorRTSession
from hgedge.backends.tensorrt_rtx.build import BACKEND
from hgedge.spec import Manifest


def load(folder: Path, manifest: Manifest) -> DeviceSession:
    """Load the engine of a bundle whose hashes hold."""
    return TensorRTSession(folder, manifest, BACKEND)
